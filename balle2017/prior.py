"""The prior of the latents and its coding tables (paper: section 3, the density of ỹ).

The density of each latent channel is tfc's `NoisyDeepFactorized`: a monotone network for the
cumulative distribution, convolved with the unit uniform distribution of the quantization noise.
Training minimizes the rate of this factorized prior, as the paper does.

The code that is written afterwards adapts to the picture, as the paper's does (its rates are those
of a context-adaptive code). Here the coding tables compete: latents fall into K classes by
position, each class has tables of its own, and the encoder sends which one it takes (Brummer &
De Vleeschouwer 2021, "End-to-end optimized image compression with competition of prior
distributions"). Chosen and sent, instead of inferred from what was decoded before, classes leave
all latents of a slice decodable at once.
"""

import numpy as np
import scipy.sparse
import tensorflow as tf
import tensorflow_compression as tfc

from balle2017.rate_point import CodingTables

# Keeps log p finite; a latent as improbable as this costs 30 bits.
LIKELIHOOD_BOUND = 1e-9
# Positions from which the classes of competing tables are found.
_SAMPLE = 2**17


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
        cdfs.append(_quantized(with_escape)[np.newaxis])
    return CodingTables(np.array(offsets, np.int32), cdfs, np.array(constants, np.int32))


def _quantized(pmf):
    cdf = tfc.pmf_to_quantized_cdf(pmf.astype(np.float32), precision=CodingTables.PRECISION)
    return cdf.numpy().astype(np.int32)


def competing_tables(tables, images, num_classes, iterations=12, confidence=100.0, seed=0):
    """Splits coding tables into classes that compete for each latent position.

    Lloyd's algorithm with code lengths for distances: each position goes to the class that codes it
    in the fewest bits, and each class's tables become the frequencies of what went there.

    Args:
      tables: `rate_point.CodingTables` of a single class.
      images: List of integer arrays `[h, w, num_latents]`, rounded latents of the training set.
      num_classes: K.
      iterations: Rounds of the algorithm, on a sample of the images.
      confidence: Weight of the single class's table in each class's own, in observations.
      seed: Of the sample.

    Returns:
      `rate_point.CodingTables` with the same values in its tables. Classes are in the order of the
      bits that a position takes.
    """
    if num_classes == 1 or not tables.active.size:
        return tables
    channels = [tables.cdfs[channel][0] for channel in tables.active]
    sizes = np.array([len(cdf) - 1 for cdf in channels])
    shared = np.concatenate([np.diff(cdf) for cdf in channels]) / 2.0**CodingTables.PRECISION
    begins = np.cumsum(sizes) - sizes
    # What nearly all latents are: counts of it follow from those of all other values.
    zero = begins + np.clip(-tables.offsets[tables.active], 0, sizes - 1)

    def occurrences(latents):
        """Sparse `[positions, bins of all channels]`, without the bins of zero."""
        symbols = latents.reshape(-1, latents.shape[-1])[:, tables.active] - tables.offsets[tables.active]
        bins = begins + np.where((symbols < 0) | (symbols >= sizes - 1), sizes - 1, symbols)
        row, channel = np.nonzero(bins != zero)
        ones = np.ones(len(row), np.float32)
        return scipy.sparse.csr_matrix((ones, (row, bins[row, channel])), (len(bins), len(shared)))

    def bits(occurrences, pmfs):
        """What each class takes for each position, `[positions, K]`."""
        cost = -np.log2(pmfs)
        more = cost - np.repeat(cost[:, zero], sizes, 1)
        return occurrences @ more.T.astype(np.float32) + cost[:, zero].sum(1)

    def counted(occurrences, classes):
        """Frequencies of all bins in each class, `[K, bins]`."""
        members = scipy.sparse.csr_matrix(
            (np.ones(len(classes), np.float32), (classes, np.arange(len(classes)))),
            (num_classes, len(classes)),
        )
        counts = (members @ occurrences).toarray().astype(np.float64)
        others = np.add.reduceat(counts, begins, 1)
        counts[:, zero] = np.bincount(classes, minlength=num_classes)[:, np.newaxis] - others
        return counts

    def posterior(counts):
        total = np.repeat(np.add.reduceat(counts, begins, 1), sizes, 1)
        return (counts + confidence * shared) / (total + confidence)

    order = np.random.default_rng(seed).permutation(len(images))
    positions = np.cumsum([images[i].shape[0] * images[i].shape[1] for i in order])
    sample = order[: 1 + np.searchsorted(positions, _SAMPLE)]
    x = scipy.sparse.vstack([occurrences(images[i]) for i in sample]).tocsr()
    taken = bits(x, shared[np.newaxis])[:, 0]
    classes = np.searchsorted(np.quantile(taken, np.arange(1, num_classes) / num_classes), taken)
    for _ in range(iterations):
        pmfs = posterior(counted(x, classes))
        share = np.bincount(classes, minlength=num_classes) + 1.0
        prior_bits = -np.log2(share / share.sum())
        costs = bits(x, pmfs) + prior_bits
        classes = np.argmin(costs, 1)
    means = [np.mean(costs[classes == k, k]) if np.any(classes == k) else np.inf for k in range(num_classes)]
    rank = np.argsort(means)
    pmfs, prior_bits = pmfs[rank], prior_bits[rank]

    counts = np.zeros_like(pmfs)
    # Row 0: all positions, as the first of a slice may be any; then by the class before.
    follows = np.ones([num_classes + 1, num_classes])
    for latents in images:
        x = occurrences(latents)
        classes = np.argmin(bits(x, pmfs) + prior_bits, 1)
        counts += counted(x, classes)
        np.add.at(follows, (0, classes), 1)
        np.add.at(follows, (1 + classes[:-1], classes[1:]), 1)
    pmfs = posterior(counts)
    cdfs = list(tables.cdfs)
    for channel, begin, size in zip(tables.active, begins, sizes):
        cdfs[channel] = np.stack([_quantized(pmf[begin : begin + size]) for pmf in pmfs])
    class_cdfs = np.stack([_quantized(row / row.sum()) for row in follows])
    return CodingTables(tables.offsets, cdfs, tables.constants, class_cdfs)


def merged_tables(tables):
    """The single set of tables that all classes make together, each by its share of the positions."""
    if tables.class_cdfs is None:
        return tables
    share = np.diff(tables.class_cdfs[0]) / 2.0**CodingTables.PRECISION
    cdfs = [
        None if cdf is None else _quantized(share @ np.diff(cdf) / 2.0**CodingTables.PRECISION)[np.newaxis]
        for cdf in tables.cdfs
    ]
    return CodingTables(tables.offsets, cdfs, tables.constants)


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
