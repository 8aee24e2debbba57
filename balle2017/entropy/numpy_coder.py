"""The range coder of tensorflow-compression, bit for bit, in NumPy alone.

All slices run side by side, as lanes of one vectorized loop, as in `stock_coder`, whose arithmetic
this is: sizes of intervals are float64, which is exact; the encoder's loop knows only the size of
the interval, and its base is summed up afterwards; the decoder follows the distance of the code
value from the interval's base; the tables of all classes stand in one sorted row, each shifted by
one more. What costs is NumPy's overhead for each operation of a step, so these are few, on contiguous
vectors of one type.

Reference: G. N. N. Martin, "Range coding: an algorithm for removing redundancy
from a digitised message", 1979.
"""

import numpy as np

from balle2017.entropy.classes import choose_classes, class_rows, first_of
from balle2017.entropy.numpy_decoding import DecoderTables, decode_lanes
from balle2017.entropy.numpy_encoding import DIGIT, escape_codes, write_digits
from balle2017.entropy.tables import bin_units

# An encoder takes some hundred bytes of memory for each.
_SYMBOLS_AT_ONCE = 2**20


class NumpyCoder:
    """Codes latents with the bytes of `coder.Coder`, and decodes them.

    Args:
      tables: `tables.CodingTables`.
      slice_length: Latent positions in a slice that `encode` makes.
    """

    def __init__(self, tables, slice_length):
        self._slice_length = slice_length
        self._active = tables.active
        self._constants = np.asarray(tables.constants, np.int32)
        self._offsets = np.asarray(tables.offsets, np.int32)[self._active]
        self._num_classes = tables.num_classes
        self._cdfs = [np.asarray(tables.cdfs[channel], np.int64) for channel in self._active]
        self._class_cdfs = None if self._num_classes == 1 else np.asarray(tables.class_cdfs, np.int64)
        # The last bin of a channel's tables, the escape.
        self._escapes = np.array([cdf.shape[1] - 2 for cdf in self._cdfs], np.int64)
        self._decoder = None

    def encode(self, latents):
        """Codes latents.

        Args:
          latents: int32 `[positions, N]`, at least one position.

        Returns:
          A list of bytes, the slices.
        """
        counts = _slice_counts(len(latents), self._slice_length)
        if not self._active.size:
            return [b""] * len(counts)
        symbols = np.asarray(latents, np.int64)[:, self._active] - self._offsets
        classes = self._choose_classes(symbols, counts)
        slices = []
        lanes = max(1, _SYMBOLS_AT_ONCE // (self._slice_length * self._active.size))
        for first in range(0, len(counts), lanes):
            here = slice(first * self._slice_length, (first + lanes) * self._slice_length)
            steps = self._steps(symbols[here], classes[here], counts[first : first + lanes])
            slices += write_digits(*steps)
        return slices

    def decode(self, slices, slice_length, num_positions):
        """Inverse of `encode`.

        Args:
          slices: Bytes of each slice.
          slice_length: Positions of each but the last.
          num_positions: Positions of all.

        Returns:
          Latents int32 `[num_positions, N]`; bool `[slices]`, whether each slice is one that an
          encoder writes. The latents of others mean nothing.
        """
        latents = np.empty([num_positions, len(self._constants)], np.int32)
        latents[:] = self._constants
        if not self._active.size:
            return latents, np.array([not s for s in slices])
        if self._decoder is None:
            self._decoder = DecoderTables.make(self._cdfs, self._class_cdfs)
        counts = _slice_counts(num_positions, slice_length)
        symbols, valid = decode_lanes(self._decoder, slices, counts)
        latents[:, self._active] = symbols + self._offsets
        return latents, valid

    def _choose_classes(self, symbols, counts):
        """Classes int64 `[positions]`, as `coder.Coder.choose_classes` chooses them."""
        if self._num_classes == 1:
            return np.zeros(len(symbols), np.int64)
        return choose_classes(self._symbol_bits(symbols), bin_units(self._class_cdfs), first_of(counts))

    def _symbol_bits(self, symbols):
        """What the symbols of each position cost in each class, int64 `[positions, K]`, in `tables.UNITS`.

        Escape codes are left out, as they cost the same in all classes.
        """
        bits = np.zeros([len(symbols), self._num_classes], np.int64)
        for column, escape, offset, cdf in zip(symbols.T, self._escapes, self._offsets, self._cdfs):
            cost = bin_units(cdf).T
            # Most latents are zero, so only what others cost more or less has to be looked up.
            zero = np.clip(-offset, 0, escape)
            cells = np.where((column >= 0) & (column < escape), column, escape)
            others = np.flatnonzero(cells != zero)
            bits += cost[zero]
            bits[others] += (cost - cost[zero])[cells[others]]
        return bits

    def _steps(self, symbols, classes, counts):
        """Lists what the encoder does in each step.

        Args:
          symbols: int64 `[positions, A]`.
          classes: int64 `[positions]`.
          counts: int64 `[slices]`.

        Returns:
          Both ends of the values' intervals, float64 `[steps, lanes]`; the number of steps of each
          slice, int64 `[slices]`.
        """
        escaped = (symbols < 0) | (symbols >= self._escapes)
        values = np.where(escaped, self._escapes, symbols)
        low, high = np.empty([2, *symbols.shape])
        for channel, cdf in enumerate(self._cdfs):
            low[:, channel] = cdf[classes, values[:, channel]]
            high[:, channel] = cdf[classes, values[:, channel] + 1]
        where = np.flatnonzero(escaped)
        bits, bit_digits = escape_codes(symbols.ravel()[where], self._escapes[where % len(self._cdfs)])
        steps = np.ones(symbols.size, np.int64)
        steps[where] += bits
        ends = np.cumsum(steps)
        lane_ends = ends[np.cumsum(counts) * len(self._cdfs) - 1]
        sizes = np.diff(lane_ends, prepend=0)
        # Where each symbol's first step goes in the matrix of steps and lanes.
        lane = np.repeat(np.arange(len(counts)), counts * len(self._cdfs))
        row = ends - steps - (lane_ends - sizes)[lane]
        parts = []
        if self._class_cdfs is not None:
            # The classes of a slice come before its latents.
            row += counts[lane]
            sizes = sizes + counts
            rows = class_rows(classes, first_of(counts))
            class_lane = np.repeat(np.arange(len(counts)), counts)
            class_row = np.arange(len(classes)) - (np.cumsum(counts) - counts)[class_lane]
            ends_of_classes = (self._class_cdfs[rows, classes + k] for k in (0, 1))
            parts.append((class_row, class_lane, *ends_of_classes))
        parts.append((row, lane, low.ravel(), high.ravel()))
        owner = np.repeat(np.arange(len(bits)), bits)
        bit_row = row[where][owner] + 1 + np.arange(len(owner)) - (np.cumsum(bits) - bits)[owner]
        parts.append((bit_row, lane[where][owner], bit_digits * 2**15, (bit_digits + 1) * 2**15))
        # A lane that has ended codes what is certain.
        lower = np.zeros([int(np.max(sizes)), len(counts)])
        upper = np.ones_like(lower)
        for rows, lanes, begin, end in parts:
            lower[rows, lanes] = begin / DIGIT
            upper[rows, lanes] = end / DIGIT
        return lower, upper, sizes


def _slice_counts(num_positions, slice_length):
    """Positions of each slice, int64 `[slices]`; only the last may have fewer."""
    starts = np.arange(0, num_positions, slice_length)
    return np.minimum(num_positions - starts, slice_length)
