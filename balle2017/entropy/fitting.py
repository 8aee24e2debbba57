"""Coding tables from a density and from the values that latents took on the training set."""

import numpy as np
import tensorflow as tf
import tensorflow_compression as tfc

from balle2017.entropy.tables import CodingTables


def latent_histogram(latents_of_images, num_latents, bound=1024):
    """Counts the values that rounded latents take.

    Args:
      latents_of_images: Iterable of integer arrays `[..., num_latents]`.
      num_latents: M.
      bound: Values beyond ±bound are counted at the bound.

    Returns:
      int64 `[num_latents, 2 * bound + 1]`; column k counts the value k − bound.
    """
    counts = np.zeros(num_latents * (2 * bound + 1), np.int64)
    rows = (2 * bound + 1) * np.arange(num_latents)
    for latents in latents_of_images:
        flat = np.clip(np.asarray(latents).reshape(-1, num_latents), -bound, bound) + bound
        counts += np.bincount((flat + rows).ravel(), minlength=len(counts))
    return counts.reshape(num_latents, -1)


# How the counts alone are spread over neighbouring values, where no density says it.
_SPREAD = np.exp(-2.0 * np.abs(np.arange(-20, 21)))


def coding_tables(prior, counts, tail_mass=2.0**-16, confidence=1000.0):
    """Quantized cumulative distributions for range coding.

    The prior's density was fitted to noisy latents; the counts are of rounded ones. Each table is
    their posterior mean, the density weighing as much as `confidence` observations. With 16 bits
    of precision and next to no tail a channel that carries nothing costs nothing, and a channel
    that never left one value on the training set is not coded at all.

    Args:
      prior: What has the `log_prob` of M channels, such as a `FactorizedPrior` or a `CompetingPrior`; with
        `None` the density is that of the counts, a little spread.
      counts: int64 `[M, 2 * bound + 1]`, what `latent_histogram` returned.
      tail_mass: Probability outside of a table, left to the escape code.
      confidence: Weight of the density, in observations.

    Returns:
      `CodingTables` of a single class.
    """
    bound = counts.shape[1] // 2
    if prior is None:
        density = np.stack([np.convolve(count + 1e-6, _SPREAD, "same") for count in counts])
    else:
        values = np.arange(-bound, bound + 1, dtype=np.float32)
        logs = prior.log_prob(tf.tile(values[:, None], [1, len(counts)]))
        density = np.exp(logs.numpy().T.astype(np.float64))
    offsets, cdfs, constants = [], [], []
    for count, p in zip(counts, density):
        seen = np.flatnonzero(count)
        constants.append(int(seen[0] - bound) if len(seen) == 1 else 0)
        if len(seen) == 1:
            offsets.append(0)
            cdfs.append(None)
            continue
        pmf = (count + confidence * p / p.sum()) / (count.sum() + confidence)
        cumulative = np.cumsum(pmf)
        # Wherever a value was seen once is too far: each bin takes its 2^-16 from all others, in every class.
        first, last = np.searchsorted(cumulative, [tail_mass / 2, 1.0 - tail_mass / 2])
        inside = pmf[first : last + 1]
        with_escape = np.append(inside, max(1.0 - inside.sum(), 2.0**-CodingTables.PRECISION))
        offsets.append(int(first - bound))
        cdfs.append(quantized_cdf(with_escape)[np.newaxis])
    return CodingTables(np.array(offsets, np.int32), cdfs, np.array(constants, np.int32))


def quantized_cdf(pmf):
    """Integers from 0 to `2**precision` of probabilities `[bins]`, no bin empty: int32 `[bins + 1]`."""
    cdf = tfc.pmf_to_quantized_cdf(pmf.astype(np.float32), precision=CodingTables.PRECISION)
    return cdf.numpy().astype(np.int32)
