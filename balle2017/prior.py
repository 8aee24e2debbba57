"""The prior of the latents and its coding tables (paper: section 3, the density of ỹ).

The density of each latent channel is tfc's `NoisyDeepFactorized`: a monotone network for the
cumulative distribution, convolved with the unit uniform distribution of the quantization noise.
Training minimizes the rate of this factorized prior, as the paper does.
"""

import numpy as np
import tensorflow as tf
import tensorflow_compression as tfc

from balle2017.rate_point import CodingTables

# Keeps log p finite; a latent as improbable as this costs 30 bits.
LIKELIHOOD_BOUND = 1e-9


class FactorizedPrior(tfc.NoisyDeepFactorized):
    """`NoisyDeepFactorized` whose log-density evaluates the network once instead of four times."""

    def _log_prob(self, y):
        # p(y) = c(y + ½) − c(y − ½); on the side where c is small the difference is exact.
        logits = self.base._logits_cumulative(tf.stack([y - 0.5, y + 0.5]))
        lower, upper = logits[0], logits[1]
        sign = tf.stop_gradient(-tf.sign(lower + upper))
        likelihood = tf.abs(tf.sigmoid(sign * upper) - tf.sigmoid(sign * lower))
        return tf.math.log(tf.maximum(likelihood, LIKELIHOOD_BOUND))


def latent_histogram(latents_of_images, num_latents, bound=1024):
    """Counts the values that rounded latents take.

    Args:
      latents_of_images: Iterable of integer arrays `[..., num_latents]`.
      num_latents: M.
      bound: Values beyond ±bound are counted at the bound.

    Returns:
      int64 `[num_latents, 2 * bound + 1]`; column k counts the value k − bound.
    """
    counts = np.zeros([num_latents, 2 * bound + 1], np.int64)
    for latents in latents_of_images:
        flat = np.clip(np.asarray(latents).reshape(-1, num_latents), -bound, bound) + bound
        for channel in range(num_latents):
            counts[channel] += np.bincount(flat[:, channel], minlength=2 * bound + 1)
    return counts


def coding_tables(prior, counts, tail_mass=2.0**-17, confidence=1000.0):
    """Quantized cumulative distributions for range coding.

    The prior's density was fitted to noisy latents; the counts are of rounded ones. Each table is
    their posterior mean, the density weighing as much as `confidence` observations. With 16 bits
    of precision and next to no tail a channel that carries nothing costs nothing, and a channel
    that never left one value on the training set is not coded at all.

    Args:
      prior: `FactorizedPrior` of M channels.
      counts: int64 `[M, 2 * bound + 1]`, what `latent_histogram` returned.
      tail_mass: Probability outside of a table, left to the escape code.
      confidence: Weight of the density, in observations.

    Returns:
      `rate_point.CodingTables` of a single class.
    """
    bound = counts.shape[1] // 2
    values = np.arange(-bound, bound + 1, dtype=np.float32)
    density = np.exp(prior.log_prob(tf.tile(values[:, None], [1, len(counts)])).numpy().T.astype(np.float64))
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
        first = min(np.searchsorted(cumulative, tail_mass / 2), seen[0])
        last = max(np.searchsorted(cumulative, 1.0 - tail_mass / 2), seen[-1])
        inside = pmf[first : last + 1]
        with_escape = np.append(inside, max(1.0 - inside.sum(), 2.0**-CodingTables.PRECISION))
        offsets.append(int(first - bound))
        cdfs.append(quantized_cdf(with_escape)[np.newaxis])
    return CodingTables(np.array(offsets, np.int32), cdfs, np.array(constants, np.int32))


def quantized_cdf(pmf):
    """Integers from 0 to `2**precision` of probabilities `[bins]`, no bin empty: int32 `[bins + 1]`."""
    cdf = tfc.pmf_to_quantized_cdf(pmf.astype(np.float32), precision=CodingTables.PRECISION)
    return cdf.numpy().astype(np.int32)


def table_bits(tables, latents, classes=None):
    """Bits that tables spend on latents, coded as one slice; escapes' own bits are not included.

    Args:
      tables: `rate_point.CodingTables`.
      latents: Integers `[positions, num_latents]`.
      classes: Integers `[positions]`; not needed with a single class.

    Returns:
      Total in bits, a float.
    """
    cost = lambda cdfs: CodingTables.PRECISION - np.log2(np.diff(cdfs))
    classes = np.zeros(len(latents), int) if classes is None else classes
    total = 0.0
    for channel in tables.active:
        bits = cost(tables.cdfs[channel])
        escape = bits.shape[1] - 1
        symbols = latents[:, channel] - tables.offsets[channel]
        bins = np.where((symbols < 0) | (symbols > escape), escape, symbols)
        total += float(bits[classes, bins].sum())
    if tables.class_cdfs is not None:
        rows = np.concatenate([[0], 1 + classes[:-1]])
        total += float(cost(tables.class_cdfs)[rows, classes].sum())
    return total


def prior_parameters(prior):
    """The prior's trainable parameters by name, as NumPy arrays."""
    return {variable.name.split("/")[-1].split(":")[0]: variable.numpy() for variable in prior.variables}


def set_prior_parameters(prior, parameters):
    """Assigns what `prior_parameters` returned."""
    for variable in prior.variables:
        variable.assign(parameters[variable.name.split("/")[-1].split(":")[0]])
