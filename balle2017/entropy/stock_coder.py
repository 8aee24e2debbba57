"""The range coder of tensorflow-compression, bit for bit, in TensorFlow's core ops.

All slices run side by side, as lanes of one `tf.while_loop`, since an op costs
about as much for one lane as for a hundred. What costs is the number of ops in
a step of the loop, and that is as small as it gets here:

* Sizes of intervals are float64. They are integers of at most 32 bits, their
  products with 16 bits of probability are exact. They are negative, which saves
  an op where an interval is compared with the smallest.
* The encoder's loop knows only the size of the interval. Its base is a sum of
  terms at known places, which is taken afterwards, for all steps at once, and
  then its carries go through all digits at once.
* The decoder follows the distance of the code value from the interval's base,
  so it needs no base either.
* The tables of all classes stand in one sorted row, each shifted by one more, so
  that one search serves lanes of different classes.
* The loop does many steps in each iteration, because iterations cost as well:
  the decoder all channels of a position. It does them as if there were no escape codes,
  and does them again, more slowly, if there were.
* The steps of an iteration are a function that TensorFlow runs op after op.

Reference: G. N. N. Martin, "Range coding: an algorithm for removing redundancy
from a digitised message", 1979.
"""

import numpy as np
import tensorflow as tf

from balle2017.entropy.coder import Coder
from balle2017.entropy.graph import one_by_one, require
from balle2017.entropy.stock_decoding import (
    MAX_BITS,
    Search,
    State,
    check_end,
    decode_escapes,
    decode_step,
    first_state,
    flat,
    read_words,
    refills_of,
    search_tables,
)
from balle2017.entropy.stock_encoding import UNROLL, divisors, interval_sizes, write_digits
from balle2017.entropy.tables import MAX_SYMBOL, row_numbers

# With a multiple of so many lanes the rows of a tensor are aligned, and so need not be copied.
_LANES = 8
# The distribution of a bit of escape codes.
_BIT_CDF = np.array([0, 2**15, 2**16], np.int32)


class StockCoder(Coder):
    """A `coder.Coder` that runs in any TensorFlow."""

    def __init__(self, tables):
        super().__init__(tables)
        # Lengths of the distributions in a row of `CodingTables.lookup`, with the number before each.
        self._lengths = self._escapes + 3

    def _encode_symbols(self, symbols, classes, counts):
        codes, sizes = self._steps(symbols, classes, counts)
        table = divisors(tf.concat([_BIT_CDF, self._lookup()], 0))
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
        lane = tf.repeat(tf.range(lanes), counts)
        begin = lane_ends - sizes
        width = _round_up(lanes, _LANES)
        class_codes = class_cells = tf.zeros([0], tf.int32)
        if self.num_classes > 1:
            # The classes of a slice come before its latents.
            begin -= counts
            sizes += counts
            class_row = self._class_rows(classes, self._is_first(counts))
            class_codes = class_row * (self.num_classes + 2) + classes
            class_codes += self._class_begin + len(_BIT_CDF)
            starts = tf.gather(tf.cumsum(counts, exclusive=True), lane)
            class_cells = (tf.range(tf.size(classes)) - starts) * width + lane
        first = lane - tf.gather(begin, lane) * width
        cells = tf.reshape(ends - steps, tf.shape(symbols)) * width + first[:, tf.newaxis]
        cells = tf.reshape(cells, [-1])

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
        words, begins, limits = read_words(payload, lengths, self.active.size)
        symbols, state, bad = self._decode_lanes(words, begins, limits, tf.pad(counts, padding)[tf.newaxis])
        valid = check_end(words, begins, lengths, state) & ~bad
        # From steps of lanes to lanes of positions.
        symbols = tf.transpose(symbols, [2, 0, 1])[:lanes]
        mask = tf.sequence_mask(counts, tf.shape(symbols)[1])
        return tf.boolean_mask(symbols, mask), valid[0, :lanes]

    def _decode_lanes(self, words, begins_of_words, limits, counts):
        """Decodes all lanes.

        Args:
          words: int32 `[words]`, the digits of all lanes.
          begins_of_words: int32 `[1, lanes]`, where each lane's digits begin.
          limits: int32 `[1, lanes]`, as far as a lane's pointer may have come
            before an iteration; there and behind are only zeros.
          counts: int32 `[1, lanes]`, positions of each lane.

        Returns:
          Symbols int32 `[positions, A, lanes]`; the final `State`;
          bool `[1, lanes]`, lanes with an escape code that cannot be.

        It is one long function, since it is one loop of the graph, whose parts share its tables.
        """
        lookup = self._lookup()
        rows = tf.reshape(lookup[: self.num_classes * self._class_size], [self.num_classes, -1])
        tables = search_tables(rows, self._lengths)
        stacks, widths = self._stacks(tables)
        begins, lengths, escapes = (tf.constant(a) for a in (self._begins - 1, self._lengths, self._escapes))
        refills = refills_of(words)
        state, classes = self._decode_classes(lookup, first_state(words, begins_of_words), refills, limits, counts)

        stacked = [table for _, stack in stacks for table in stack]
        has_numbers = [] if classes is None else [classes[0]]
        like = [*state, refills, *stacked, *has_numbers]

        def decode_quickly(distance, size, pointer, refills, *others):
            """Goes through the channels as if there were no escape codes."""
            stacked, number = others[: len(others) - len(has_numbers)], others[-1] if has_numbers else None
            searches = {}
            for (channels, _), *stack in zip(stacks, stacked[::2], stacked[1::2]):
                searches.update(zip(channels, zip(*map(tf.unstack, stack))))
            state, values = State(distance, size, pointer), []
            for channel in range(self.active.size):
                value, state = decode_step(state, refills, Search(*searches[channel]), number)
                values.append(value)
            return [_within_row(tf.concat(values, 0), number, widths, self.num_classes), *state]

        decode_position = one_by_one(decode_quickly, [tf.TensorSpec(t.shape, t.dtype) for t in like])

        def decode_position_slowly(state, number, bad, active):
            values = tf.TensorArray(tf.int32, self.active.size, element_shape=[1, None])

            def step(channel, values, state, bad):
                here, length = begins[channel], lengths[channel]
                search = flat(Search(*(table[:, here : here + length] for table in tables)))
                value, state = decode_step(state, refills, search, number)
                value = _within_row(value, number, length, self.num_classes)
                escaped = tf.equal(value, escapes[channel]) & active

                def go_beyond():
                    excess, after, hopeless = decode_escapes(state, refills, limits, escaped)
                    # Positive values go on where the table ends.
                    excess += tf.where(excess > 0, escapes[channel] - 1, 0)
                    found = tf.where(escaped, excess, value)
                    return found, after, bad | hopeless | (tf.abs(found) > MAX_SYMBOL)

                # Nearly all channels of such a position have none.
                value, state, bad = tf.cond(tf.reduce_any(escaped), go_beyond, lambda: (value, state, bad))
                return channel + 1, values.write(channel, value), state, bad

            _, values, state, bad = tf.while_loop(
                lambda channel, *_: channel < self.active.size,
                step,
                (tf.constant(0), values, state, bad),
                parallel_iterations=1,
            )
            return values.concat(), state, bad

        def iterate(position, symbols, state, bad):
            active = position < counts
            start = state._replace(pointer=tf.minimum(state.pointer, limits))
            number = None if classes is None else classes[position]
            values, *after = decode_position(*start, refills, *stacked, *([] if number is None else [number]))
            after = State(*after)
            escaped = tf.reduce_any(tf.equal(values, escapes[:, tf.newaxis]) & active)
            values, after, bad = tf.cond(
                escaped,
                lambda: decode_position_slowly(start, number, bad, active),
                lambda: (values, after, bad),
            )
            # A lane that has ended stays at its final state.
            state = State(*(tf.where(active, new, old) for new, old in zip(after, state)))
            return position + 1, symbols.write(position, values), state, bad

        positions = tf.reduce_max(counts)
        symbols = tf.TensorArray(tf.int32, positions, element_shape=[self.active.size, None])
        _, symbols, state, bad = tf.while_loop(
            lambda position, *_: position < positions,
            iterate,
            (tf.constant(0), symbols, state, tf.zeros_like(counts, tf.bool)),
            parallel_iterations=1,
        )
        return symbols.stack(), state, bad

    def _stacks(self, tables):
        """Stacks the tables of channels of about the same length: loops pass few large tensors on quicker than many.

        Args:
          tables: Of `search_tables`.

        Returns:
          For each stack the channels in it and `Search`es of them, one above the other; the bins in a row of
          each channel's, int32 `[A, 1]`.
        """
        widths = np.maximum(2 ** np.ceil(np.log2(self._lengths)).astype(np.int32), _LANES)
        stacks = []
        for width in np.unique(widths):
            channels = np.flatnonzero(widths == width)
            # What fills up a row repeats its end, where no value falls.
            within = np.minimum(np.arange(width), self._lengths[channels, np.newaxis] - 1)
            cells = within + self._begins[channels, np.newaxis] - 1
            ends = tf.transpose(tf.gather(tables.ends, cells, axis=1), [1, 0, 2])
            bounds = tf.transpose(tf.gather(tables.bounds, cells, axis=1), [1, 0, 2, 3])
            shape = [len(channels), 1, self.num_classes * width]
            stacks.append((channels, Search(tf.reshape(ends, shape), tf.reshape(bounds, [shape[0], shape[2], 2]))))
        return stacks, widths[:, np.newaxis]

    def _decode_classes(self, lookup, state, refills, limits, counts):
        """Decodes what comes before the latents.

        Returns:
          The next `State`; numbers of the classes' rows, float64 `[positions, 1, lanes]`, `None` with a single class.
        """
        if self.num_classes == 1:
            return state, None
        length = self.num_classes + 2
        rows = tf.reshape(lookup[self.num_classes * self._class_size :], [self.num_classes + 1, length])
        search = flat(search_tables(rows, [length]))
        positions = tf.reduce_max(counts)
        first_class, first_number = (row_numbers(count)[0] for count in (self.num_classes, self.num_classes + 1))

        def step(position, classes, state, number):
            active = position < counts
            start = state._replace(pointer=tf.minimum(state.pointer, limits))
            value, after = decode_step(start, refills, search, number)
            value = tf.cast(_within_row(value, number, length, self.num_classes + 1), tf.float64)
            state = State(*(tf.where(active, new, old) for new, old in zip(after, state)))
            return position + 1, classes.write(position, value + first_class), state, value + (first_number + 1)

        _, classes, state, _ = tf.while_loop(
            lambda position, *_: position < positions,
            step,
            (
                tf.constant(0),
                tf.TensorArray(tf.float64, positions, element_shape=[1, None]),
                state,
                tf.ones_like(state.size) * first_number,
            ),
            parallel_iterations=1,
        )
        return state, classes.stack()


def _within_row(value, number, length, rows):
    """The value that a bin stands for, of a `Search` of `rows` with `length` bins in each, and its row's number."""
    return value - 1 - (0 if number is None else tf.cast(number - row_numbers(rows)[0], tf.int32) * length)


def _round_up(value, multiple):
    return -(-value // multiple) * multiple
