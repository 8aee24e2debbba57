"""Coding tables that compete: how the code that is written adapts to the picture.

A factorized prior, the paper's, spends the same bits on sky as on grass; the code need not, and what
training minimizes need not either (`model.competing_prior`). Latents fall into K classes by position, each
class has tables of its own, and the encoder sends which one it takes (Brummer & De Vleeschouwer 2021,
"End-to-end optimized image compression with competition of prior distributions"). Chosen and sent, instead
of inferred from what was decoded before, classes leave all latents of a slice decodable at once.
"""

import numpy as np
import scipy.sparse

from balle2017.entropy.classes import choose_classes, class_rows, first_of
from balle2017.entropy.fitting import quantized_cdf
from balle2017.entropy.tables import CodingTables, bin_shares

# Positions from which the classes are found first.
_SAMPLE = 2**17


def competing_tables(tables, images, num_classes, choose=None, iterations=40, rounds=24, confidence=20.0, seed=0):
    """Splits coding tables into classes that compete for each latent position.

    Lloyd's algorithm with code lengths for distances: each position goes to the class that codes it
    in the fewest bits, and each class's tables become the frequencies of what went there. First on a sample, each
    position by itself; then on all, with the bits of the classes given the class before, as encoders choose.

    Args:
      tables: `CodingTables` of a single class.
      images: List of integer arrays `[h, w, num_latents]`, rounded latents of the training set.
      num_classes: K.
      choose: Function of one of these arrays to the classes of its positions, `[h, w]`, from which the algorithm
        starts, too, as it ends where it is nearest: of two ends, the one with fewer bits counts.
      iterations: Rounds of the algorithm on the sample.
      rounds: Those on all images.
      confidence: Weight of the single class's table in each class's own, in observations.
      seed: Of the sample.

    Returns:
      `CodingTables` with the same values in its tables. Classes are in the order of the
      bits that a position takes.
    """
    if num_classes == 1 or not tables.active.size:
        return tables
    bins = _Bins(tables, num_classes, confidence)
    x = [bins.occurrences(image) for image in images]
    order = np.random.default_rng(seed).permutation(len(images))
    sample = order[: 1 + np.searchsorted(np.cumsum([x[i].shape[0] for i in order]), _SAMPLE)]
    starts = [None] if choose is None else [None, np.concatenate([np.ravel(choose(images[i])) for i in sample])]
    pmfs, class_bits = _by_itself(bins, scipy.sparse.vstack([x[i] for i in sample]).tocsr(), starts, iterations)
    is_first = first_of(np.array([part.shape[0] for part in x]))
    x = scipy.sparse.vstack(x).tocsr()
    for _ in range(rounds):
        classes = choose_classes(bins.bits(x, pmfs), class_bits, is_first)
        pmfs, follows = bins.posterior(bins.counted(x, classes)), _transitions(classes, is_first, num_classes)
        class_bits = -np.log2(follows)
    return bins.tables(pmfs, follows)


def _by_itself(bins, x, starts, iterations):
    """Lloyd's algorithm with one price for each class, whatever the class before.

    Args:
      bins: `_Bins`.
      x: Occurrences.
      starts: Lists of classes to start from; `None` for classes by the bits that positions take in the single class.
      iterations: Rounds from each.

    Returns:
      Of the best end: the probabilities of bins `[K, bins]`, classes in the order of the bits that a position takes;
      the prices `[K + 1, K]`, all rows alike.
    """
    k = bins.num_classes
    best = np.inf
    for classes in starts:
        if classes is None:
            taken = bins.bits(x, bins.shared[np.newaxis])[:, 0]
            classes = np.searchsorted(np.quantile(taken, np.arange(1, k) / k), taken)
        for _ in range(iterations):
            pmfs = bins.posterior(bins.counted(x, classes))
            share = np.bincount(classes, minlength=k) + 1.0
            prior_bits = -np.log2(share / share.sum())
            costs = bins.bits(x, pmfs) + prior_bits
            classes = np.argmin(costs, 1)
        total = costs.min(1).sum()
        if total < best:
            best = total
            means = [np.mean(costs[classes == i, i]) if np.any(classes == i) else np.inf for i in range(k)]
            rank = np.argsort(means)
            found = pmfs[rank], np.tile(prior_bits[rank], [k + 1, 1])
    return found


def _transitions(classes, is_first, num_classes):
    """Probabilities `[K + 1, K]` of classes: of all positions, as any may be a slice's first; by the class before."""
    follows = np.ones([num_classes + 1, num_classes])
    np.add.at(follows, (0, classes), 1)
    later = ~is_first
    np.add.at(follows, (class_rows(classes, is_first)[later], classes[later]), 1)
    return follows / follows.sum(1, keepdims=True)


class _Bins:
    """The bins of all active channels in one row, and how often they occur.

    Attributes:
      num_classes: K.
      shared: Their probabilities in the single class, float64 `[bins]`.
    """

    def __init__(self, tables, num_classes, confidence):
        self.num_classes = num_classes
        self._tables = tables
        self._confidence = confidence
        channels = [tables.cdfs[channel][0] for channel in tables.active]
        self._offsets = tables.offsets[tables.active]
        self._sizes = np.array([len(cdf) - 1 for cdf in channels])
        self._begins = np.cumsum(self._sizes) - self._sizes
        # What nearly all latents are: counts of it follow from those of all other values.
        self._zero = self._begins + np.clip(-self._offsets, 0, self._sizes - 1)
        self.shared = np.concatenate([bin_shares(cdf) for cdf in channels])

    def occurrences(self, latents):
        """Sparse `[positions, bins]` of `[h, w, num_latents]`, without the bins of zero."""
        symbols = latents.reshape(-1, latents.shape[-1])[:, self._tables.active] - self._offsets
        escapes = self._sizes - 1
        found = self._begins + np.where((symbols < 0) | (symbols >= escapes), escapes, symbols)
        row, channel = np.nonzero(found != self._zero)
        ones = np.ones(len(row), np.float32)
        return scipy.sparse.csr_matrix((ones, (row, found[row, channel])), (len(found), len(self.shared)))

    def bits(self, occurrences, pmfs):
        """What each class takes for each position, `[positions, K]`."""
        cost = -np.log2(pmfs)
        more = cost - np.repeat(cost[:, self._zero], self._sizes, 1)
        return occurrences @ more.T.astype(np.float32) + cost[:, self._zero].sum(1)

    def counted(self, occurrences, classes):
        """Frequencies of all bins in each class, `[K, bins]`."""
        members = scipy.sparse.csr_matrix(
            (np.ones(len(classes), np.float32), (classes, np.arange(len(classes)))),
            (self.num_classes, len(classes)),
        )
        counts = (members @ occurrences).toarray().astype(np.float64)
        others = np.add.reduceat(counts, self._begins, 1)
        counts[:, self._zero] = np.bincount(classes, minlength=self.num_classes)[:, np.newaxis] - others
        return counts

    def posterior(self, counts):
        """Probabilities of all bins in each class, `[K, bins]`."""
        total = np.repeat(np.add.reduceat(counts, self._begins, 1), self._sizes, 1)
        return (counts + self._confidence * self.shared) / (total + self._confidence)

    def tables(self, pmfs, follows):
        """`CodingTables` of probabilities of bins `[K, bins]` and of classes `[K + 1, K]`."""
        cdfs = list(self._tables.cdfs)
        for channel, begin, size in zip(self._tables.active, self._begins, self._sizes):
            cdfs[channel] = np.stack([quantized_cdf(pmf[begin : begin + size]) for pmf in pmfs])
        class_cdfs = np.stack([quantized_cdf(row) for row in follows])
        return CodingTables(self._tables.offsets, cdfs, self._tables.constants, class_cdfs)


def merged_tables(tables):
    """The single set of tables that all classes make together, each by its share of the positions."""
    if tables.class_cdfs is None:
        return tables
    share = bin_shares(tables.class_cdfs[0])
    cdfs = [None if cdf is None else quantized_cdf(share @ bin_shares(cdf))[np.newaxis] for cdf in tables.cdfs]
    return CodingTables(tables.offsets, cdfs, tables.constants)
