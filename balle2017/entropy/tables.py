"""Coding tables: the prior as quantized cumulative distributions. Without TensorFlow."""

import dataclasses
from typing import Optional

import numpy as np

# No symbol of a real slice is so far from its table; tfc's encoder does not end beyond 2**30.
MAX_SYMBOL = 2**24
# Classes are chosen by bits in these units, as integers: a sum is then the same in any order.
UNITS = 2**10


@dataclasses.dataclass
class CodingTables:
    """The prior as quantized cumulative distributions of the latents: K of them for each channel.

    The distributions compete: each latent position belongs to one of K classes, which the encoder
    chooses and sends, and every channel has a table for each class (Brummer & De Vleeschouwer 2021,
    "End-to-end optimized image compression with competition of prior distributions").

    Attributes:
      offsets: The value of the first bin of each channel's tables, int32 `[N]`.
      cdfs: `cdfs[i]` is an int32 array `[K, bins + 1]`, whose rows go from 0 to `2**precision`; the
        last bin is the escape for values outside of the table. A channel that always takes the same
        value has `cdfs[i] = None`; it costs no bits, and the decoder fills in `constants[i]`.
      constants: int32 `[N]`.
      class_cdfs: Distributions of the classes, int32 `[K + 1, K + 1]`: row 0 for a slice's first
        position, row 1 + k for a position that follows one of class k. `None` with a single class,
        of which nothing is sent.

    Raises:
      ValueError: If there are more than `MAX_CLASSES`.
    """

    PRECISION = 16
    # The decoders' search tells 64 rows apart, and the classes' own table has one more.
    MAX_CLASSES = 63

    offsets: np.ndarray
    cdfs: list[Optional[np.ndarray]]
    constants: np.ndarray
    class_cdfs: Optional[np.ndarray] = None

    def __post_init__(self):
        if self.num_classes > self.MAX_CLASSES:
            raise ValueError(f"Coding tables have at most {self.MAX_CLASSES} classes, not {self.num_classes}.")

    @property
    def num_classes(self) -> int:
        """K."""
        return 1 if self.class_cdfs is None else self.class_cdfs.shape[1] - 1

    @property
    def active(self) -> np.ndarray:
        """Indices of the channels that are coded, ascending, int32 `[A]`."""
        return np.array([i for i, cdf in enumerate(self.cdfs) if cdf is not None], np.int32)

    def lookup(self) -> np.ndarray:
        """All tables as tfc's range coder takes them, int32.

        For each class and each active channel `[-precision, cdf...]`; the negative sign asks
        for escape coding of out-of-range values. Behind them, without a sign, those of the classes.
        """
        rows = [np.empty(0, np.int32)]
        for k in range(self.num_classes):
            for i in self.active:
                rows += [np.array([-self.PRECISION], np.int32), self.cdfs[i][k].astype(np.int32)]
        if self.class_cdfs is not None and self.active.size:
            for cdf in self.class_cdfs:
                rows += [np.array([self.PRECISION], np.int32), cdf.astype(np.int32)]
        return np.concatenate(rows)

    def arrays(self) -> dict[str, np.ndarray]:
        """The tables as arrays by the names that they are stored under."""
        return {
            "coder/active_channels": self.active,
            "coder/offsets": self.offsets.astype(np.int32),
            "coder/constants": self.constants.astype(np.int32),
            "coder/lookup": self.stored_lookup(),
        }

    def stored_lookup(self) -> np.ndarray:
        """`lookup` modulo 2¹⁶, uint16, as it is stored: -precision is then 65520, and the end of each row 0."""
        return self.lookup().astype(np.uint16)


def lookup_of(stored):
    """Inverse of `CodingTables.stored_lookup`: int32; a lookup that was stored as int32 stays as it is."""
    lookup = stored.astype(np.int32)
    # Rows go from 0 to 2¹⁶, and nothing between is a multiple of it.
    edges = np.flatnonzero(lookup % 2**CodingTables.PRECISION == 0)
    begins, ends = edges[::2], edges[1::2]
    lookup[ends] = 2**CodingTables.PRECISION
    lookup[begins - 1] = lookup[begins - 1].astype(np.int16)
    return lookup


def row_numbers(count):
    """What a decoder that searches the bins of many rows at once adds to each row's, float64 `[count]`.

    They lie on both sides of 0, where numbers are most exact.
    """
    return np.arange(count) - float(count // 2)


def bin_shares(cdfs):
    """The probability of each bin of cumulative distributions int `[..., bins + 1]`, float64 `[..., bins]`."""
    return np.diff(cdfs) / 2.0**CodingTables.PRECISION


def bin_bits(cdfs):
    """What each bin of cumulative distributions int `[..., bins + 1]` costs in bits, float64 `[..., bins]`."""
    return CodingTables.PRECISION - np.log2(np.diff(cdfs))


def bin_units(cdfs):
    """`bin_bits` in `UNITS` of a bit, int64 `[..., bins]`."""
    return np.rint(UNITS * bin_bits(cdfs)).astype(np.int64)


def table_bits(tables, latents, classes=None):
    """Bits that tables spend on latents, coded as one slice; escapes' own bits are not included.

    Args:
      tables: `CodingTables`.
      latents: Integers `[positions, num_latents]`.
      classes: Integers `[positions]`; not needed with a single class.

    Returns:
      Total in bits, a float.
    """
    classes = np.zeros(len(latents), int) if classes is None else classes
    total = 0.0
    for channel in tables.active:
        bits = bin_bits(tables.cdfs[channel])
        escape = bits.shape[1] - 1
        symbols = latents[:, channel] - tables.offsets[channel]
        bins = np.where((symbols < 0) | (symbols > escape), escape, symbols)
        total += float(bits[classes, bins].sum())
    if tables.class_cdfs is not None:
        rows = np.concatenate([[0], 1 + classes[:-1]])
        total += float(bin_bits(tables.class_cdfs)[rows, classes].sum())
    return total
