"""Entropy coding of latents in a graph, with tensorflow-compression's range coder.

A coder turns latents `[positions, N]` into slices and back. A slice is a run of
positions coded on its own: first the class of each position, if there is more
than one, and then position by position the latents of the active channels in
ascending order, with the tables of the position's class. Slices come as the
bytes of all of them in one vector, and the length of each.
"""

import numpy as np
import tensorflow as tf

from balle2017.rate_point import CodingTables

# What the names of a rate point's arrays begin with in an exported graph.
CONSTANT = "rate_point/"
# No symbol of a real slice is so far from its table; tfc's encoder does not end beyond 2**30.
MAX_SYMBOL = 2**24
# Bits are counted in these units, as integers: a sum is then the same in any order.
_BIT = 2**10
# Positions whose classes are chosen at once.
_CHOSEN_AT_ONCE = 2048


class Coder:
    """What all coders share: the choice of classes, and between latents and symbols of active channels.

    Attributes:
      active: Indices of the coded channels, int32 `[A]`.
      num_classes: K.
    """

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
        self._escapes = np.array(
            [tables.cdfs[channel].shape[1] - 2 for channel in self.active], np.int32
        )
        # Where each table's distribution begins in `CodingTables.lookup`, behind its precision: of
        # the channels in the first class, of a class as a whole, and of the classes themselves.
        sizes = self._escapes + 3
        self._begins = (np.cumsum(sizes) - sizes + 1).astype(np.int32)
        self._class_size = int(np.sum(sizes))
        self._class_begin = self.num_classes * self._class_size + 1
        # All of them, so that the tables can be read back from the graph.
        arrays = {
            "coder/active_channels": tables.active,
            "coder/offsets": tables.offsets,
            "coder/constants": tables.constants,
            "coder/lookup": tables.lookup(),
        }
        self._tables = named_constants({key: np.int32(value) for key, value in arrays.items()})

    def encode(self, latents, counts):
        """Codes latents.

        Args:
          latents: int32 `[positions, N]`.
          counts: int32 `[slices]`, at least one: positions in each, positive.

        Returns:
          uint8 `[bytes]`, the slices one after the other; int32 `[slices]`,
          their lengths in bytes.
        """
        if not self.active.size:
            return tf.zeros([0], tf.uint8), tf.zeros_like(counts)
        symbols = self._symbols(latents)
        return self._encode_symbols(symbols, self._choose_classes(symbols, counts), counts)

    def decode(self, payload, lengths, counts):
        """Inverse of `encode`.

        Returns:
          Latents int32 `[positions, N]`; bool `[slices]`, whether each slice
          is one that an encoder writes. The latents of others mean nothing.
        """
        if not self.active.size:
            symbols, valid = tf.zeros([tf.reduce_sum(counts), 0], tf.int32), tf.equal(lengths, 0)
        else:
            symbols, valid = self._decode_symbols(payload, lengths, counts)
        symbols = tf.pad(symbols, [[0, 0], [0, 1]])
        latents = tf.gather(symbols, self._columns, axis=1) + self._shift
        return tf.ensure_shape(latents, [None, self._columns.size]), valid

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
        bits = tf.gather(self._class_bits(), self._class_rows(classes, self._is_first(counts)))
        return classes, tf.cast(tf.gather(bits, classes, batch_dims=1), tf.float32) / _BIT

    def _symbols(self, latents):
        return tf.gather(latents, self.active, axis=1) - self._offsets

    def _choose_classes(self, symbols, counts):
        if self.num_classes == 1:
            return tf.zeros_like(symbols[:, 0])
        bits, class_bits = self._symbol_bits(symbols), self._class_bits()
        is_first = self._is_first(counts)
        # Behind the last position nothing follows, as behind the last of any slice.
        is_last = tf.concat([is_first[1:], [True]], 0)
        classes = tf.argmin(bits + class_bits[0], 1, tf.int32)
        onwards = tf.pad(tf.transpose(class_bits[1:]), [[0, 1], [0, 0]])
        odd = tf.equal(tf.range(tf.size(classes)) % 2, 1)
        # A class has a say in what the next one costs: each is chosen again between its neighbours.
        for chosen in (odd, ~odd, odd, ~odd):
            following = tf.where(is_last, self.num_classes, tf.roll(classes, -1, 0))
            around = tf.gather(class_bits, self._class_rows(classes, is_first))
            around += tf.gather(onwards, following)
            classes = tf.where(chosen, tf.argmin(bits + around, 1, tf.int32), classes)
        return classes

    def _symbol_bits(self, symbols):
        """What the symbols of each position cost in each class, int32 `[positions, K]`, in `_BIT`.

        Escape codes are left out, as they cost the same in all classes.
        """
        rows = tf.reshape(
            self._lookup()[: self.num_classes * self._class_size], [self.num_classes, -1]
        )
        cost = _bits(rows[:, 1:] - rows[:, :-1])
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

        bits = tf.map_fn(
            chunk_bits, tf.range(chunks), fn_output_signature=tf.int32, parallel_iterations=1
        )
        bits = tf.reshape(bits, [-1, self.num_classes])[:positions]
        return bits + tf.reduce_sum(zero_cost, 1)

    def _class_bits(self):
        """Costs of the classes after each row of `CodingTables.class_cdfs`, int32 `[K + 1, K]`."""
        rows = tf.reshape(self._lookup()[self._class_begin - 1 :], [self.num_classes + 1, -1])[:, 1:]
        return _bits(rows[:, 1:] - rows[:, :-1])

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
        """`CodingTables.lookup` in a graph."""
        return self._tables()["coder/lookup"]

    def _encode_symbols(self, symbols, classes, counts):
        raise NotImplementedError

    def _decode_symbols(self, payload, lengths, counts):
        raise NotImplementedError


class TfcCoder(Coder):
    """The range coder of tensorflow-compression: fast, but its ops must be loaded."""

    def __init__(self, tables):
        super().__init__(tables)
        from tensorflow_compression.python.ops import gen_ops

        self._ops = gen_ops

    def _encode_symbols(self, symbols, classes, counts):
        long, short, rows, starts = _split_lanes(counts)
        strings = self._encode_lanes(tf.gather(symbols, rows), tf.gather(classes, rows))

        def encode_one(lane):
            here = slice(starts[lane], starts[lane] + counts[lane])
            return self._encode_lanes(symbols[tf.newaxis, here], classes[tf.newaxis, here])[0]

        short_strings = tf.map_fn(encode_one, short, fn_output_signature=tf.string)
        strings = tf.dynamic_stitch([long, short], [strings, short_strings])
        return tf.io.decode_raw(tf.strings.reduce_join(strings), tf.uint8), tf.strings.length(
            strings
        )

    def _decode_symbols(self, payload, lengths, counts):
        def decode(strings, length):
            # Past its end a string reads as zeros, and where it ends in an escape the op would
            # count them for ever. An end that brings ones, later than any real slice reads,
            # stops that; what is decoded then does not encode to the same string.
            ones = tf.strings.reduce_join(
                tf.repeat(b"\x55" * 3, 64 + length * (1 + self.active.size))
            )
            endless = tf.strings.join([strings, b"\0" * 64, ones])
            handle = self._ops.create_range_decoder(endless, self._lookup())
            handle, classes = self._decode_classes(handle, tf.size(strings), length)
            index, shape = self._table_index(classes), tf.stack([length, self.active.size])
            _, symbols = self._ops.entropy_decode_index(handle, index, shape, tf.int32)
            symbols = tf.clip_by_value(symbols, -MAX_SYMBOL, MAX_SYMBOL)
            return symbols, tf.equal(self._encode_lanes(symbols, classes), strings)

        strings = split_strings(payload, lengths)
        long, short, rows, starts = _split_lanes(counts)
        symbols, valid = decode(tf.gather(strings, long), tf.reduce_max(counts))
        symbols = tf.scatter_nd(
            tf.reshape(rows, [-1, 1]),
            tf.reshape(symbols, [-1, self.active.size]),
            tf.stack([tf.reduce_sum(counts), self.active.size]),
        )

        def decode_one(state, lane):
            start = starts[lane]
            one, one_valid = decode(strings[tf.newaxis, lane], counts[lane])
            indices = tf.range(start, start + counts[lane])[:, tf.newaxis]
            return (
                tf.tensor_scatter_nd_update(state[0], indices, one[0]),
                tf.tensor_scatter_nd_update(state[1], lane[tf.newaxis, tf.newaxis], one_valid),
            )

        valid = tf.dynamic_stitch([long, short], [valid, tf.zeros_like(short, tf.bool)])
        return tf.foldl(decode_one, short, (symbols, valid))

    def _encode_lanes(self, symbols, classes):
        """int32 `[slices, positions, A]` and `[slices, positions]` to strings `[slices]`."""
        handle = self._ops.create_range_encoder(tf.shape(symbols)[:1], self._lookup())
        if self.num_classes > 1:
            rows = tf.concat([tf.zeros_like(classes[:, :1]), 1 + classes[:, :-1]], 1)
            index = self.num_classes * self.active.size + rows
            handle = self._ops.entropy_encode_index(handle, index, classes)
        handle = self._ops.entropy_encode_index(handle, self._table_index(classes), symbols)
        return self._ops.entropy_encode_finalize(handle)

    def _decode_classes(self, handle, lanes, length):
        """Classes int32 `[slices, length]`, one position of all slices after the other."""
        if self.num_classes == 1:
            return handle, tf.zeros([lanes, length], tf.int32)
        none = tf.zeros([0], tf.int32)

        def step(position, handle, row, classes):
            index = self.num_classes * self.active.size + row
            handle, value = self._ops.entropy_decode_index(handle, index, none, tf.int32)
            return position + 1, handle, 1 + value, classes.write(position, value)

        classes = tf.TensorArray(tf.int32, length, element_shape=[None])
        _, handle, _, classes = tf.while_loop(
            lambda position, *_: position < length,
            step,
            (tf.constant(0), handle, tf.zeros([lanes], tf.int32), classes),
            parallel_iterations=1,
        )
        return handle, tf.transpose(classes.stack())

    def _table_index(self, classes):
        """Which row of the lookup codes each latent: `[..., positions]` to `[..., positions, A]`."""
        return classes[..., tf.newaxis] * self.active.size + np.arange(self.active.size, dtype=np.int32)


def _bits(frequencies):
    """What bins of these integer sizes cost, int32 in units of `_BIT`."""
    share = tf.cast(tf.maximum(frequencies, 1), tf.float32) / 2.0**CodingTables.PRECISION
    return tf.cast(tf.round(tf.math.log(share) * (-_BIT / np.log(2))), tf.int32)


def named_constants(arrays):
    """A function of a graph that gives a dict of arrays as constants.

    A graph holds it once, however many functions call it, and each constant
    can be found there by its name: `CONSTANT` and then its key.
    """

    def constants():
        return {key: tf.constant(value, name=CONSTANT + key) for key, value in arrays.items()}

    return tf.function(constants, [], autograph=False)


def require(condition, message, tensors):
    """Passes `tensors` on if `condition` holds, and is an `INVALID_ARGUMENT` otherwise.

    Whatever must not be computed from wrong input has to use the result.
    """
    check = tf.debugging.Assert(condition, [message])
    with tf.control_dependencies([] if check is None else [check]):
        return tf.nest.map_structure(tf.identity, tensors)


def _split_lanes(counts):
    """Slices of full length can be coded together, shorter ones one by one.

    Returns:
      Indices of the full slices, indices of the others, the positions `[full
      slices, length]` of the former, and where each slice starts.
    """
    starts = tf.cumsum(counts, exclusive=True)
    longest = tf.reduce_max(counts)
    is_long = tf.equal(counts, longest)
    long = tf.reshape(tf.cast(tf.where(is_long), tf.int32), [-1])
    short = tf.reshape(tf.cast(tf.where(~is_long), tf.int32), [-1])
    rows = tf.gather(starts, long)[:, tf.newaxis] + tf.range(longest)
    return long, short, rows, starts


_CHARACTERS = np.array([bytes([value]) for value in range(256)], object)


def to_string(data):
    """Makes a string of bytes: uint8 or int32 `[n]` to string `[]`."""
    return tf.strings.reduce_join(tf.gather(tf.constant(_CHARACTERS), tf.cast(data, tf.int32)))


def split_strings(payload, lengths):
    """Makes strings of consecutive runs of bytes: uint8 `[bytes]`, int32 `[n]` to string `[n]`."""
    characters = tf.gather(tf.constant(_CHARACTERS), tf.cast(payload, tf.int32))
    count = tf.size(lengths)
    return tf.strings.unsorted_segment_join(characters, tf.repeat(tf.range(count), lengths), count)
