"""The range coder of tensorflow-compression, bit for bit, in TensorFlow's core ops.

All slices run side by side, as lanes of one `tf.while_loop`, since an op costs
about as much for one lane as for a hundred. What costs is the number of ops in
a step of the loop, and that is as small as it gets here:

* Sizes of intervals are float64. They are integers of at most 32 bits, their
  products with 16 bits of probability are exact.
* The encoder's loop knows only the size of the interval. Its base is a sum of
  terms at known places, which is taken afterwards, for all steps at once, and
  then its carries go through all digits at once.
* The decoder follows the distance of the code value from the interval's base,
  so it needs no base either.
* The tables of all classes stand in one sorted row, the k-th shifted by k, so
  that one search serves lanes of different classes.
* The loop does many steps in each iteration, because iterations cost as well.
  The decoder does them as if there were no escape codes, and does them again,
  more slowly, if there were.

Reference: G. N. N. Martin, "Range coding: an algorithm for removing redundancy
from a digitised message", 1979.
"""

import numpy as np
import tensorflow as tf

from balle2017.entropy.coder import Coder
from balle2017.entropy.graph import require
from balle2017.entropy.stock_decoding import (
    MAX_BITS,
    State,
    check_end,
    decode_escapes,
    decode_step,
    first_state,
    read_words,
    refills_of,
)
from balle2017.entropy.stock_encoding import DIGIT, UNROLL, interval_sizes, write_digits
from balle2017.entropy.tables import MAX_SYMBOL

# With a multiple of so many lanes the rows of a tensor are aligned, and so need not be copied.
_LANES = 8
# The distribution of a bit of escape codes.
_BIT_CDF = np.array([0, 2**15, 2**16], np.int32)


class StockCoder(Coder):
    """A `coder.Coder` that runs in any TensorFlow."""

    def __init__(self, tables):
        super().__init__(tables)
        cdfs = [tables.cdfs[channel] for channel in self.active]
        self._decoder_table, self._decoder_escapes, self._thresholds = _decoder_tables(cdfs, self.num_classes)
        self._class_cdfs = tables.class_cdfs

    def _encode_symbols(self, symbols, classes, counts):
        codes, sizes = self._steps(symbols, classes, counts)
        table = tf.cast(tf.concat([_BIT_CDF, self._lookup()], 0), tf.float64) / DIGIT
        lower, upper = tf.gather(table, codes), tf.gather(table, codes + 1)
        return write_digits(lower, upper, interval_sizes(lower, upper), sizes)

    def _steps(self, symbols, classes, counts):
        """Lists what the encoder does in each step.

        Args:
          symbols: int32 `[positions, A]`.
          classes: int32 `[positions]`.
          counts: int32 `[slices]`.

        Returns:
          Where the values' intervals begin in the encoder's table, int32
          `[steps, lanes]`; the number of steps in each slice, int32 `[slices]`.
        """
        escape = self._escapes
        escaped = (symbols < 0) | (symbols >= escape)
        codes = tf.where(escaped, escape, symbols) + self._begins + len(_BIT_CDF)
        codes += classes[:, tf.newaxis] * self._class_size
        # Elias gamma code: n bits of value take n - 1 zeros in front, and a sign behind.
        where = tf.cast(tf.where(tf.reshape(escaped, [-1])), tf.int32)[:, 0]
        excess = tf.gather(tf.reshape(symbols, [-1]), where)
        limit = tf.gather(escape, where % escape.size)
        sign = excess < 0
        gamma = tf.where(sign, -excess, excess - limit + 1)
        bits = tf.searchsorted(2 ** np.arange(MAX_BITS, dtype=np.int32), gamma, side="right")
        word = 2 * tf.cast(gamma, tf.int64) + tf.cast(sign, tf.int64)

        steps = tf.tensor_scatter_nd_add(tf.ones([tf.size(symbols)], tf.int32), where[:, tf.newaxis], 2 * bits)
        ends = tf.cumsum(steps)
        lanes = tf.size(counts)
        lane_ends = tf.gather(ends, tf.cumsum(counts) * escape.size - 1)
        sizes = lane_ends - tf.concat([[0], lane_ends[:-1]], 0)
        # Where each symbol's first step goes in the matrix of steps and lanes.
        lane = tf.repeat(tf.range(lanes), counts * escape.size)
        row = ends - steps - tf.gather(lane_ends - sizes, lane)
        width = _round_up(lanes, _LANES)
        class_codes = class_cells = tf.zeros([0], tf.int32)
        if self.num_classes > 1:
            # The classes of a slice come before its latents.
            row += tf.gather(counts, lane)
            sizes += counts
            class_row = self._class_rows(classes, self._is_first(counts))
            class_codes = class_row * (self.num_classes + 2) + classes
            class_codes += self._class_begin + len(_BIT_CDF)
            class_lane = tf.repeat(tf.range(lanes), counts)
            starts = tf.gather(tf.cumsum(counts, exclusive=True), class_lane)
            class_cells = (tf.range(tf.size(classes)) - starts) * width + class_lane
        cells = row * width + lane

        digit = tf.range(tf.reduce_sum(2 * bits))
        owner = tf.repeat(tf.range(tf.size(bits)), 2 * bits)
        digit -= tf.gather(tf.cumsum(2 * bits, exclusive=True), owner)
        shift = tf.cast(tf.gather(2 * bits, owner) - 1 - digit, tf.int64)
        bit = tf.bitwise.right_shift(tf.gather(word, owner), shift) & 1
        bit_cells = tf.gather(tf.gather(cells, where), owner) + (1 + digit) * width

        height = _round_up(tf.reduce_max(sizes), UNROLL)
        matrix = tf.scatter_nd(
            tf.concat([class_cells, cells, bit_cells], 0)[:, tf.newaxis],
            # The table begins with the values of a bit.
            tf.concat([class_codes, tf.reshape(codes, [-1]), tf.cast(bit, tf.int32)], 0),
            tf.reshape(height * width, [1]),
        )
        return tf.reshape(matrix, [height, width]), sizes

    def _decode_symbols(self, payload, lengths, counts):
        lanes = tf.size(counts)
        # All lanes go on as long as the longest: a few long ones among many short ones would
        # take memory that no file needs by itself.
        needed = tf.cast(lanes, tf.int64) * tf.cast(tf.reduce_max(counts), tf.int64)
        fair = needed <= 4 * tf.reduce_sum(tf.cast(counts, tf.int64)) + 2**18
        message = "The files of the batch have slices of too different lengths: decode them one by one."
        lanes, counts = require(fair, message, (lanes, counts))
        padding = [[0, _round_up(lanes, _LANES) - lanes]]
        lengths = tf.pad(lengths, padding)
        words, begins, limits = read_words(payload, lengths)
        symbols, state, bad = self._decode_lanes(words, begins, limits, tf.pad(counts, padding)[tf.newaxis])
        valid = check_end(words, begins, lengths, state) & ~bad
        # From steps of lanes to lanes of positions.
        symbols = tf.transpose(symbols[:, : self.active.size], [2, 0, 1])[:lanes]
        mask = tf.sequence_mask(counts, tf.shape(symbols)[1])
        return tf.boolean_mask(symbols, mask), valid[0, :lanes]

    def _decode_lanes(self, words, begins, limits, counts):
        """Decodes all lanes.

        Args:
          words: int32 `[words]`, the digits of all lanes.
          begins: int32 `[1, lanes]`, where each lane's digits begin.
          limits: int32 `[1, lanes]`, as far as a lane's pointer may have come
            before an iteration; there and behind are only zeros.
          counts: int32 `[1, lanes]`, positions of each lane.

        Returns:
          Symbols int32 `[positions, at least A, lanes]`; the final `State`;
          bool `[1, lanes]`, lanes with an escape code that cannot be.

        It is one long function, since it is one loop of the graph, whose parts share its tables.
        """
        groups, unroll = self._decoder_table.shape[:2]
        upper, bounds, width = _search_tables(self._decoder_table)
        thresholds = tf.constant(self._thresholds)
        escapes = tf.constant(self._decoder_escapes)
        refills = refills_of(words)
        state, classes = self._decode_classes(first_state(words, begins), refills, limits, counts)

        def decode_group(group, state, row):
            """Goes through a group of channels, for the time being without escape codes."""
            values = []
            tables = [tf.unstack(table[group]) for table in (upper, *bounds, thresholds)]
            for shifted, low, high, threshold in zip(*tables):
                value, state = decode_step(state, refills, shifted, (low, high), threshold, row)
                values.append(value)
            return _within_row(tf.concat(values, 0), row, width), state

        def decode_group_slowly(group, state, row, bad, active):
            values = tf.TensorArray(tf.int32, unroll, element_shape=[1, None])

            def step(channel, values, state, bad):
                value, state = decode_step(
                    state,
                    refills,
                    upper[group, channel],
                    [bound[group, channel] for bound in bounds],
                    thresholds[group, channel],
                    row,
                )
                value = _within_row(value, row, width)
                escape = escapes[group, channel]
                escaped = tf.equal(value, escape) & active
                excess, state, hopeless = decode_escapes(state, refills, limits, escaped)
                # Positive values go on where the table ends.
                excess += tf.where(excess > 0, escape - 1, 0)
                value = tf.where(escaped, excess, value)
                bad |= hopeless | (tf.abs(value) > MAX_SYMBOL)
                return channel + 1, values.write(channel, value), state, bad

            _, values, state, bad = tf.while_loop(
                lambda channel, *_: channel < unroll,
                step,
                (tf.constant(0), values, state, bad),
                parallel_iterations=1,
            )
            return values.concat(), state, bad

        def iterate(index, symbols, state, bad):
            position, group = index // groups, index % groups
            active = position < counts
            start = state._replace(pointer=tf.minimum(state.pointer, limits))
            row = None if classes is None else classes[position]
            values, after = decode_group(group, start, row)
            escaped = tf.reduce_any(tf.equal(values, escapes[group][:, tf.newaxis]) & active)
            values, after, bad = tf.cond(
                escaped,
                lambda: decode_group_slowly(group, start, row, bad, active),
                lambda: (values, after, bad),
            )
            # A lane that has ended stays at its final state.
            state = State(*(tf.where(active, new, old) for new, old in zip(after, state)))
            return index + 1, symbols.write(index, values), state, bad

        iterations = groups * tf.reduce_max(counts)
        symbols = tf.TensorArray(tf.int32, iterations, element_shape=[unroll, None])
        _, symbols, state, bad = tf.while_loop(
            lambda index, *_: index < iterations,
            iterate,
            (tf.constant(0), symbols, state, tf.zeros_like(counts, tf.bool)),
            parallel_iterations=1,
        )
        symbols = tf.reshape(symbols.stack(), [-1, groups * unroll, tf.size(counts)])
        return symbols, state, bad

    def _decode_classes(self, state, refills, limits, counts):
        """Decodes what comes before the latents.

        Returns:
          The next `State`; classes float64 `[positions, 1, lanes]`, or `None` with a single class.
        """
        if self.num_classes == 1:
            return state, None
        upper, bounds, width = _search_tables(_padded(self._class_cdfs)[np.newaxis])
        positions = tf.reduce_max(counts)

        def step(position, classes, state, row):
            active = position < counts
            start = state._replace(pointer=tf.minimum(state.pointer, limits))
            threshold = tf.constant(DIGIT, tf.float64)
            value, after = decode_step(start, refills, upper[0], [b[0] for b in bounds], threshold, row)
            value = tf.cast(_within_row(value, row, width), tf.float64)
            state = State(*(tf.where(active, new, old) for new, old in zip(after, state)))
            return position + 1, classes.write(position, value), state, value + 1

        _, classes, state, _ = tf.while_loop(
            lambda position, *_: position < positions,
            step,
            (
                tf.constant(0),
                tf.TensorArray(tf.float64, positions, element_shape=[1, None]),
                state,
                tf.zeros_like(state.size),
            ),
            parallel_iterations=1,
        )
        return state, classes.stack()


def _decoder_tables(cdfs, num_classes):
    """Tables of the channels, in groups that an iteration goes through.

    Returns:
      int32 `[groups, channels, classes, values + 1]`, the distributions; int32
      `[groups, channels]`, their escapes; float64 `[groups, channels]`, the
      thresholds of `decode_step`. The last channels may be such that they
      do nothing, to fill the last group.
    """
    groups = -(-len(cdfs) // UNROLL)
    shape = groups, -(-len(cdfs) // max(groups, 1))
    longest = max((cdf.shape[1] - 1 for cdf in cdfs), default=1)
    table = np.full((*shape, num_classes, _round_up(longest, _LANES) + 1), 2**16, np.int32)
    table[..., 0] = 0
    escapes, thresholds = np.full(shape, -1, np.int32), np.zeros(shape)
    for index, cdf in zip(np.ndindex(*shape), cdfs):
        table[index] = _padded(cdf, table.shape[-1])
        escapes[index] = cdf.shape[1] - 2
        thresholds[index] = DIGIT
    return table, escapes, thresholds


def _padded(cdf, size=0):
    """Rows of distributions as int32 `[rows, size]`; behind its end a row holds intervals of no size."""
    size = size or _round_up(cdf.shape[1] - 1, _LANES) + 1
    return np.pad(cdf.astype(np.int32), [[0, 0], [0, size - cdf.shape[1]]], mode="edge")


def _search_tables(table):
    """Tables for `decode_step`, of distributions int32 `[..., rows, values + 1]`.

    Returns:
      float64 `[..., 1, rows * values]`, upper ends of intervals, to which the
      number of their row is added; lower and upper ends, each float64
      `[..., rows * values]`; the number of values in a row.
    """
    *shape, rows, size = table.shape
    edges = tf.cast(tf.constant(table), tf.float64) / DIGIT
    shifted = edges[..., 1:] + np.arange(rows)[:, np.newaxis]
    return (
        tf.reshape(shifted, [*shape, 1, rows * (size - 1)]),
        [tf.reshape(ends, [*shape, rows * (size - 1)]) for ends in (edges[..., :-1], edges[..., 1:])],
        size - 1,
    )


def _within_row(value, row, width):
    """The value in its row of the table, of one in all rows."""
    return value if row is None else value - tf.cast(row, tf.int32) * width


def _round_up(value, multiple):
    return -(-value // multiple) * multiple
