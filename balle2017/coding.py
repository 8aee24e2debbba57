"""Entropy coding of latents in a graph, with tensorflow-compression's range coder.

A coder turns latents `[positions, N]` into slices and back. A slice is a run of
positions coded on its own: position by position, and at each position through
the active channels in ascending order. Slices come as the bytes of all of them
in one vector, and the length of each.
"""

import numpy as np
import tensorflow as tf

# What the names of a rate point's arrays begin with in an exported graph.
CONSTANT = "rate_point/"
# No symbol of a real slice is so far from its table; tfc's encoder does not end beyond 2**30.
MAX_SYMBOL = 2**24


class Coder:
    """What all coders share: between latents of all channels and symbols of the active ones.

    Attributes:
      active: Indices of the coded channels, int32 `[A]`.
    """

    def __init__(self, tables):
        self.active = tables.active
        self._offsets = tables.offsets[self.active].astype(np.int32)
        num_latents, num_active = len(tables.cdfs), len(self.active)
        # Column A stands for all inactive channels: zeros, to which their constants are added.
        self._columns = np.full(num_latents, num_active, np.int32)
        self._columns[self.active] = np.arange(num_active)
        self._shift = tables.constants.astype(np.int32).copy()
        self._shift[self.active] = self._offsets

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
        symbols = tf.gather(latents, self.active, axis=1) - self._offsets
        return self._encode_symbols(symbols, counts)

    def decode(self, payload, lengths, counts):
        """Inverse of `encode`.

        Returns:
          Latents int32 `[positions, N]`; bool `[slices]`, whether each slice
          is one that `encode` writes. The latents of others mean nothing.
        """
        if not self.active.size:
            symbols, valid = tf.zeros([tf.reduce_sum(counts), 0], tf.int32), tf.equal(lengths, 0)
        else:
            symbols, valid = self._decode_symbols(payload, lengths, counts)
        symbols = tf.pad(symbols, [[0, 0], [0, 1]])
        latents = tf.gather(symbols, self._columns, axis=1) + self._shift
        return tf.ensure_shape(latents, [None, self._columns.size]), valid

    def _encode_symbols(self, symbols, counts):
        raise NotImplementedError

    def _decode_symbols(self, payload, lengths, counts):
        raise NotImplementedError


class TfcCoder(Coder):
    """The range coder of tensorflow-compression: fast, but its ops must be loaded."""

    def __init__(self, tables):
        super().__init__(tables)
        from tensorflow_compression.python.ops import gen_ops

        self._ops = gen_ops
        # All of them, so that the tables can be read back from the graph.
        arrays = {
            "coder/active_channels": tables.active,
            "coder/offsets": tables.offsets,
            "coder/constants": tables.constants,
            "coder/lookup": tables.lookup(),
        }
        self._tables = named_constants({key: np.int32(value) for key, value in arrays.items()})

    def _encode_symbols(self, symbols, counts):
        long, short, rows, starts = _split_lanes(counts)
        strings = self._encode_lanes(tf.gather(symbols, rows))

        def encode_one(lane):
            start = starts[lane]
            return self._encode_lanes(symbols[tf.newaxis, start : start + counts[lane]])[0]

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
            ones = tf.strings.reduce_join(tf.repeat(b"\x55" * 3, 64 + length * self.active.size))
            endless = tf.strings.join([strings, b"\0" * 64, ones])
            handle = self._ops.create_range_decoder(endless, self._tables()["coder/lookup"])
            shape = tf.stack([length, self.active.size])
            _, symbols = self._ops.entropy_decode_channel(handle, shape, tf.int32)
            symbols = tf.clip_by_value(symbols, -MAX_SYMBOL, MAX_SYMBOL)
            return symbols, tf.equal(self._encode_lanes(symbols), strings)

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

    def _encode_lanes(self, symbols):
        """int32 `[slices, positions, A]` to strings `[slices]`."""
        handle = self._ops.create_range_encoder(
            tf.shape(symbols)[:1], self._tables()["coder/lookup"]
        )
        handle = self._ops.entropy_encode_channel(handle, symbols)
        return self._ops.entropy_encode_finalize(handle)


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
