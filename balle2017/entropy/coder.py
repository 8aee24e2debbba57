"""Entropy coding of latents in a graph: what all coders share, first of all the choice of classes.

A coder turns latents `[positions, N]` into slices and back. A slice is a run of
positions coded on its own: first the class of each position, if there is more
than one, and then position by position the latents of the active channels in
ascending order, with the tables of the position's class. A coder has slices in
the form that its ops make and take; whoever calls it converts them where another is needed.
"""

import numpy as np
import tensorflow as tf

from balle2017.entropy.graph import join_strings, named_constants, split_strings
from balle2017.entropy.tables import UNITS, CodingTables, bin_units

# Positions whose classes are chosen at once.
_CHOSEN_AT_ONCE = 2048


class Coder:
    """What all coders share: the choice of classes, and between latents and symbols of active channels.

    Attributes:
      SLICES: What slices are here, a tuple of `tf.TensorSpec`s: the bytes of all of them in one
        vector and the length of each, or the strings.
      active: Indices of the coded channels, int32 `[A]`.
      num_classes: K.
    """

    SLICES = tf.TensorSpec([None], tf.uint8), tf.TensorSpec([None], tf.int32)

    def __init__(self, tables):
        self.active = tables.active
        self.num_classes = tables.num_classes
        self._offsets = tables.offsets[self.active].astype(np.int32)
        num_latents, num_active = len(tables.cdfs), len(self.active)
        # Column A stands for all inactive channels: zeros, to which their constants are added.
        self._columns = np.full(num_latents, num_active, np.int32)
        self._columns[self.active] = np.arange(num_active)
        self._shift = tables.constants.astype(np.int32).copy()
        self._shift[self.active] = self._offsets
        # The last bin of a channel's tables, the escape.
        self._escapes = np.array([tables.cdfs[channel].shape[1] - 2 for channel in self.active], np.int32)
        # Where each table's distribution begins in `CodingTables.lookup`, behind its precision: of
        # the channels in the first class, of a class as a whole, and of the classes themselves.
        sizes = self._escapes + 3
        self._begins = (np.cumsum(sizes) - sizes + 1).astype(np.int32)
        self._class_size = int(np.sum(sizes))
        self._class_begin = self.num_classes * self._class_size + 1
        # What the classes cost after each row of `CodingTables.class_cdfs`, int32 `[K + 1, K]`.
        self._class_bits = None if self.num_classes == 1 else np.int32(bin_units(tables.class_cdfs))
        # All of them, so that the tables can be read back from the graph.
        self._tables = named_constants(tables.arrays())

    def encode(self, latents, counts):
        """Codes latents.

        Args:
          latents: int32 `[positions, N]`.
          counts: int32 `[slices]`, at least one: positions in each, positive.

        Returns:
          The slices, as `SLICES` says.
        """
        if not self.active.size:
            return self.of_bytes(tf.zeros([0], tf.uint8), tf.zeros_like(counts))
        symbols = self._symbols(latents)
        return self._encode_symbols(symbols, self._choose_classes(symbols, counts), counts)

    def decode(self, slices, counts):
        """Inverse of `encode`.

        Args:
          slices: As `SLICES` says.
          counts: int32 `[slices]`.

        Returns:
          Latents int32 `[positions, N]`; bool `[slices]`, whether each slice
          is one that an encoder writes. The latents of others mean nothing.
        """
        if not self.active.size:
            symbols = tf.zeros([tf.reduce_sum(counts), 0], tf.int32)
            valid = tf.equal(self.to_bytes(*slices)[1], 0)
        else:
            symbols, valid = self._decode_symbols(*slices, counts)
        symbols = tf.pad(symbols, [[0, 0], [0, 1]])
        latents = tf.gather(symbols, self._columns, axis=1) + self._shift
        return tf.ensure_shape(latents, [None, self._columns.size]), valid

    @staticmethod
    def of_bytes(payload, lengths):
        """Slices of the bytes of all, uint8 `[bytes]`, and the length of each, int32 `[slices]`."""
        return payload, lengths

    @staticmethod
    def of_strings(strings):
        """Slices of strings `[slices]`."""
        return join_strings(strings)

    @staticmethod
    def to_bytes(payload, lengths):
        """Inverse of `of_bytes`."""
        return payload, lengths

    @staticmethod
    def to_strings(payload, lengths):
        """Inverse of `of_strings`."""
        return split_strings(payload, lengths)

    def choose_classes(self, latents, counts):
        """The classes that code latents in few bits, which is what `encode` takes.

        Args:
          latents: int32 `[positions, N]`.
          counts: int32 `[slices]`.

        Returns:
          int32 `[positions]`; the bits that the classes themselves take, float32 `[positions]`.
        """
        if self.num_classes == 1 or not self.active.size:
            return tf.zeros_like(latents[:, 0]), tf.zeros_like(latents[:, 0], tf.float32)
        classes = self._choose_classes(self._symbols(latents), counts)
        bits = tf.gather(self._class_bits, self._class_rows(classes, self._is_first(counts)))
        return classes, tf.cast(tf.gather(bits, classes, batch_dims=1), tf.float32) / UNITS

    def _symbols(self, latents):
        return tf.gather(latents, self.active, axis=1) - self._offsets

    def _choose_classes(self, symbols, counts):
        if self.num_classes == 1:
            return tf.zeros_like(symbols[:, 0])
        bits, class_bits = self._symbol_bits(symbols), self._class_bits
        is_first = self._is_first(counts)
        # Behind the last position nothing follows, as behind the last of any slice.
        is_last = tf.concat([is_first[1:], [True]], 0)
        classes = tf.argmin(bits + class_bits[0], 1, tf.int32)
        onwards = np.pad(class_bits[1:].T, [[0, 1], [0, 0]])
        odd = tf.equal(tf.range(tf.size(classes)) % 2, 1)
        # A class has a say in what the next one costs: each is chosen again between its neighbours.
        for chosen in (odd, ~odd, odd, ~odd):
            following = tf.where(is_last, self.num_classes, tf.roll(classes, -1, 0))
            around = tf.gather(class_bits, self._class_rows(classes, is_first))
            around += tf.gather(onwards, following)
            classes = tf.where(chosen, tf.argmin(bits + around, 1, tf.int32), classes)
        return classes

    def _symbol_bits(self, symbols):
        """What the symbols of each position cost in each class, int32 `[positions, K]`, in `tables.UNITS`.

        Escape codes are left out, as they cost the same in all classes.
        """
        rows = tf.reshape(self._lookup()[: self.num_classes * self._class_size], [self.num_classes, -1])
        cost = units_of_sizes(rows[:, 1:] - rows[:, :-1])
        # Most latents are zero, so only what others cost more or less has to be looked up.
        zero = np.clip(-self._offsets, 0, self._escapes) + self._begins
        zero_cost = tf.gather(cost, zero, axis=1)
        cost = tf.transpose(cost)
        positions = tf.shape(symbols)[0]
        chunks = -(-positions // _CHOSEN_AT_ONCE)

        def chunk_bits(index):
            begin = index * _CHOSEN_AT_ONCE
            chunk = symbols[begin : begin + _CHOSEN_AT_ONCE]
            inside = (chunk >= 0) & (chunk < self._escapes)
            cells = tf.where(inside, chunk, self._escapes) + self._begins
            others = tf.cast(tf.where(tf.not_equal(cells, zero)), tf.int32)
            more = tf.gather(cost, tf.gather_nd(cells, others))
            more -= tf.gather(tf.transpose(zero_cost), others[:, 1])
            return tf.math.unsorted_segment_sum(more, others[:, 0], _CHOSEN_AT_ONCE)

        bits = tf.map_fn(chunk_bits, tf.range(chunks), fn_output_signature=tf.int32, parallel_iterations=1)
        bits = tf.reshape(bits, [-1, self.num_classes])[:positions]
        return bits + tf.reduce_sum(zero_cost, 1)

    @staticmethod
    def _is_first(counts):
        """Which positions are the first of their slice, bool `[positions]`."""
        starts = tf.cumsum(counts, exclusive=True)[:, tf.newaxis]
        return tf.scatter_nd(starts, tf.ones_like(counts, tf.bool), [tf.reduce_sum(counts)])

    @staticmethod
    def _class_rows(classes, is_first):
        """The row of `CodingTables.class_cdfs` that codes each position's class, int32 `[positions]`."""
        return tf.where(is_first, 0, 1 + tf.roll(classes, 1, 0))

    def _lookup(self):
        """`CodingTables.lookup` in a graph, `tables.lookup_of` what is stored."""
        lookup = tf.cast(self._tables()["coder/lookup"], tf.int32)
        begins, ends = tf.unstack(tf.reshape(tf.where(tf.equal(lookup, 0)), [-1, 2]), axis=1)
        signs = tf.cast(tf.gather(lookup, begins - 1) < 2**15, tf.int32) - 1
        changes = 2**CodingTables.PRECISION * tf.concat([signs, tf.ones_like(signs)], 0)
        return tf.tensor_scatter_nd_add(lookup, tf.concat([begins - 1, ends], 0)[:, tf.newaxis], changes)

    def _encode_symbols(self, symbols, classes, counts):
        raise NotImplementedError

    def _decode_symbols(self, *slices_and_counts):
        raise NotImplementedError


def units_of_sizes(frequencies):
    """`tables.bin_units` of bins of these integer sizes, int32, in the graph: stored, they would double its tables."""
    # With float32, logarithms differ between processors and libraries enough to round otherwise.
    share = tf.cast(tf.maximum(frequencies, 1), tf.float64) / 2.0**CodingTables.PRECISION
    return tf.cast(tf.round(tf.math.log(share) * (-UNITS / np.log(2))), tf.int32)
