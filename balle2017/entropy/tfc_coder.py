"""Entropy coding with tensorflow-compression's range coder."""

import numpy as np
import tensorflow as tf

from balle2017.entropy.coder import Coder
from balle2017.entropy.graph import join_strings, split_strings
from balle2017.entropy.tables import MAX_SYMBOL


class TfcCoder(Coder):
    """The range coder of tensorflow-compression: fast, but its ops must be loaded. Slices are strings."""

    SLICES = (tf.TensorSpec([None], tf.string),)

    def __init__(self, tables):
        super().__init__(tables)
        from tensorflow_compression.python.ops import gen_ops

        self._ops = gen_ops

    @staticmethod
    def of_bytes(payload, lengths):
        return (split_strings(payload, lengths),)

    @staticmethod
    def of_strings(strings):
        return (strings,)

    @staticmethod
    def to_bytes(strings):
        return join_strings(strings)

    @staticmethod
    def to_strings(strings):
        return strings

    def _encode_symbols(self, symbols, classes, counts):
        # Outside of the loop, where it is computed once.
        lookup = self._lookup()
        long, short, rows, starts = _split_lanes(counts)
        strings = self._encode_lanes(tf.gather(symbols, rows), tf.gather(classes, rows), lookup)

        def encode_one(lane):
            here = slice(starts[lane], starts[lane] + counts[lane])
            return self._encode_lanes(symbols[tf.newaxis, here], classes[tf.newaxis, here], lookup)[0]

        short_strings = tf.map_fn(encode_one, short, fn_output_signature=tf.string)
        return (tf.dynamic_stitch([long, short], [strings, short_strings]),)

    def _decode_symbols(self, strings, counts):
        lookup = self._lookup()

        def decode(strings, length):
            # Past its end a string reads as zeros, and where it ends in an escape the op would
            # count them for ever. An end that brings ones, later than any real slice reads,
            # stops that; what is decoded then does not encode to the same string.
            ones = tf.strings.reduce_join(tf.repeat(b"\x55" * 3, 64 + length * (1 + self.active.size)))
            endless = tf.strings.join([strings, b"\0" * 64, ones])
            handle = self._ops.create_range_decoder(endless, lookup)
            handle, classes = self._decode_classes(handle, tf.size(strings), length)
            index, shape = self._table_index(classes), tf.stack([length, self.active.size])
            _, symbols = self._ops.entropy_decode_index(handle, index, shape, tf.int32)
            symbols = tf.clip_by_value(symbols, -MAX_SYMBOL, MAX_SYMBOL)
            return symbols, tf.equal(self._encode_lanes(symbols, classes, lookup), strings)

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

    def _encode_lanes(self, symbols, classes, lookup):
        """int32 `[slices, positions, A]` and `[slices, positions]` to strings `[slices]`."""
        handle = self._ops.create_range_encoder(tf.shape(symbols)[:1], lookup)
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
