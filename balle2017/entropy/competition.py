"""Coding tables that compete: how the code that is written adapts to the picture.

A factorized prior spends the same bits on sky as on grass. Training keeps to it, as the paper does;
the code need not. Latents fall into K classes by position, each class has tables of its own, and
the encoder sends which one it takes (Brummer & De Vleeschouwer 2021, "End-to-end optimized image
compression with competition of prior distributions"). Chosen and sent, instead of inferred from what
was decoded before, classes leave all latents of a slice decodable at once.
"""

import numpy as np
import scipy.sparse

from balle2017.entropy.fitting import quantized_cdf
from balle2017.entropy.tables import CodingTables, bin_shares

# Positions from which the classes are found.
_SAMPLE = 2**17


def competing_tables(tables, images, num_classes, choose=None, iterations=40, confidence=300.0, seed=0):
    """Splits coding tables into classes that compete for each latent position.

    Lloyd's algorithm with code lengths for distances: each position goes to the class that codes it
    in the fewest bits, and each class's tables become the frequencies of what went there.

    Args:
      tables: `CodingTables` of a single class.
      images: List of integer arrays `[h, w, num_latents]`, rounded latents of the training set.
      num_classes: K.
      choose: Function of one of these arrays to the classes of its positions, `[h, w]`, from which the algorithm
        starts, too, as it ends where it is nearest: of two ends, the one with fewer bits counts.
      iterations: Rounds of the algorithm, on a sample of the images.
      confidence: Weight of the single class's table in each class's own, in observations.
      seed: Of the sample.

    Returns:
      `CodingTables` with the same values in its tables. Classes are in the order of the
      bits that a position takes.

    It is one long function, since all of its steps work on the same concatenation of the channels' bins.
    """
    if num_classes == 1 or not tables.active.size:
        return tables
    channels = [tables.cdfs[channel][0] for channel in tables.active]
    sizes = np.array([len(cdf) - 1 for cdf in channels])
    shared = np.concatenate([bin_shares(cdf) for cdf in channels])
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
    starts = [np.searchsorted(np.quantile(taken, np.arange(1, num_classes) / num_classes), taken)]
    if choose is not None:
        starts.append(np.concatenate([np.ravel(choose(images[i])) for i in sample]))
    best = np.inf
    for classes in starts:
        for _ in range(iterations):
            pmfs = posterior(counted(x, classes))
            share = np.bincount(classes, minlength=num_classes) + 1.0
            prior_bits = -np.log2(share / share.sum())
            costs = bits(x, pmfs) + prior_bits
            classes = np.argmin(costs, 1)
        total = costs.min(1).sum()
        if total < best:
            best = total
            means = [np.mean(costs[classes == k, k]) if np.any(classes == k) else np.inf for k in range(num_classes)]
            rank = np.argsort(means)
            found = pmfs[rank], prior_bits[rank]
    pmfs, prior_bits = found

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
        cdfs[channel] = np.stack([quantized_cdf(pmf[begin : begin + size]) for pmf in pmfs])
    class_cdfs = np.stack([quantized_cdf(row / row.sum()) for row in follows])
    return CodingTables(tables.offsets, cdfs, tables.constants, class_cdfs)


def merged_tables(tables):
    """The single set of tables that all classes make together, each by its share of the positions."""
    if tables.class_cdfs is None:
        return tables
    share = bin_shares(tables.class_cdfs[0])
    cdfs = [None if cdf is None else quantized_cdf(share @ bin_shares(cdf))[np.newaxis] for cdf in tables.cdfs]
    return CodingTables(tables.offsets, cdfs, tables.constants)
