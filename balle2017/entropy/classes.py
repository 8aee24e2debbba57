"""Which class codes each latent position: the one that takes the fewest bits, its own among them. In NumPy.

A class is coded given that of the position before, so that it has a say in what the next one costs.
"""

import numpy as np


def choose_classes(bits, class_bits, is_first):
    """Chooses the class of each position, as all encoders do.

    Args:
      bits: What the symbols of each position cost in each class, `[positions, K]`.
      class_bits: What the classes cost, `[K + 1, K]`, in the rows of `CodingTables.class_cdfs`, in the same unit.
      is_first: Which positions are the first of their slice, bool `[positions]`.

    Returns:
      int64 `[positions]`.
    """
    # Behind the last position nothing follows, as behind the last of any slice.
    is_last = np.append(is_first[1:], True)
    classes = np.argmin(bits + class_bits[0], 1)
    onwards = np.pad(class_bits[1:].T, [[0, 1], [0, 0]])
    odd = np.arange(len(classes)) % 2 == 1
    # Each is chosen again between its neighbours.
    for chosen in (odd, ~odd, odd, ~odd):
        following = np.where(is_last, class_bits.shape[1], np.roll(classes, -1))
        around = class_bits[class_rows(classes, is_first)] + onwards[following]
        classes = np.where(chosen, np.argmin(bits + around, 1), classes)
    return classes


def class_rows(classes, is_first):
    """The row of `CodingTables.class_cdfs` that codes each position's class, int64 `[positions]`."""
    return np.where(is_first, 0, 1 + np.roll(classes, 1))


def first_of(counts):
    """Which positions are the first of their slice, bool `[positions]`, of the positions in each slice."""
    first = np.zeros(np.sum(counts), bool)
    first[np.cumsum(counts) - counts] = True
    return first
