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

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from balle2017.coding import MAX_SYMBOL, Coder, require

# Steps in an iteration of a loop.
_UNROLL = 16
# With a multiple of so many lanes the rows of a tensor are aligned, and so need not be copied.
_LANES = 8
_DIGIT = 2.0**16
# More bits than any latent has in the escape code.
_MAX_BITS = 30
# The distribution of a bit of escape codes.
_BIT_CDF = np.array([0, 2**15, 2**16], np.int32)
# The code value's unknown continuation: just below the next integer.
_FRACTION = 1 - 2.0**-16


class StockCoder(Coder):
    """A `coding.Coder` that runs in any TensorFlow."""

    def __init__(self, tables):
        super().__init__(tables)
        cdfs = [tables.cdfs[channel] for channel in self.active]
        self._decoder_table, self._decoder_escapes, self._thresholds = _decoder_tables(
            cdfs, self.num_classes
        )
        self._class_cdfs = tables.class_cdfs

    def _encode_symbols(self, symbols, classes, counts):
        codes, sizes = self._steps(symbols, classes, counts)
        table = tf.cast(tf.concat([_BIT_CDF, self._lookup()], 0), tf.float64) / _DIGIT
        lower, upper = tf.gather(table, codes), tf.gather(table, codes + 1)
        return _write_digits(lower, upper, _interval_sizes(lower, upper), sizes)

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
        bits = tf.searchsorted(2 ** np.arange(_MAX_BITS, dtype=np.int32), gamma, side="right")
        word = 2 * tf.cast(gamma, tf.int64) + tf.cast(sign, tf.int64)

        steps = tf.tensor_scatter_nd_add(
            tf.ones([tf.size(symbols)], tf.int32), where[:, tf.newaxis], 2 * bits
        )
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

        height = _round_up(tf.reduce_max(sizes), _UNROLL)
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
        message = (
            "The files of the batch have slices of too different lengths: decode them one by one."
        )
        lanes, counts = require(fair, message, (lanes, counts))
        padding = [[0, _round_up(lanes, _LANES) - lanes]]
        lengths = tf.pad(lengths, padding)
        words, begins, limits = _read_words(payload, lengths)
        symbols, state, bad = self._decode_lanes(
            words, begins, limits, tf.pad(counts, padding)[tf.newaxis]
        )
        valid = _check_end(words, begins, lengths, state) & ~bad
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
          Symbols int32 `[positions, at least A, lanes]`; the final `_State`;
          bool `[1, lanes]`, lanes with an escape code that cannot be.
        """
        groups, unroll = self._decoder_table.shape[:2]
        upper, bounds, width = _search_tables(self._decoder_table)
        thresholds = tf.constant(self._thresholds)
        escapes = tf.constant(self._decoder_escapes)
        refills = _refills(words)
        state, classes = self._decode_classes(_first_state(words, begins), refills, limits, counts)

        def decode_group(group, state, row):
            """Goes through a group of channels, for the time being without escape codes."""
            values = []
            for table in zip(
                tf.unstack(upper[group]), tf.unstack(bounds[group]), tf.unstack(thresholds[group])
            ):
                value, state = _decode_step(state, refills, *table, row)
                values.append(value)
            return _within_row(tf.concat(values, 0), row, width), state

        def decode_group_slowly(group, state, row, bad, active):
            values = tf.TensorArray(tf.int32, unroll, element_shape=[1, None])

            def step(channel, values, state, bad):
                value, state = _decode_step(
                    state,
                    refills,
                    upper[group, channel],
                    bounds[group, channel],
                    thresholds[group, channel],
                    row,
                )
                value = _within_row(value, row, width)
                escape = escapes[group, channel]
                escaped = tf.equal(value, escape) & active
                excess, state, hopeless = _decode_escapes(state, refills, limits, escaped)
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
            state = _State(*(tf.where(active, new, old) for new, old in zip(after, state)))
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
          The next `_State`; classes float64 `[positions, 1, lanes]`, or `None` with a single class.
        """
        if self.num_classes == 1:
            return state, None
        upper, bounds, width = _search_tables(_padded(self._class_cdfs)[np.newaxis])
        positions = tf.reduce_max(counts)

        def step(position, classes, state, row):
            active = position < counts
            start = state._replace(pointer=tf.minimum(state.pointer, limits))
            threshold = tf.constant(_DIGIT, tf.float64)
            value, after = _decode_step(start, refills, upper[0], bounds[0], threshold, row)
            value = tf.cast(_within_row(value, row, width), tf.float64)
            state = _State(*(tf.where(active, new, old) for new, old in zip(after, state)))
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
      thresholds of `_decode_step`. The last channels may be such that they
      do nothing, to fill the last group.
    """
    groups = -(-len(cdfs) // _UNROLL)
    shape = groups, -(-len(cdfs) // max(groups, 1))
    longest = max((cdf.shape[1] - 1 for cdf in cdfs), default=1)
    table = np.full((*shape, num_classes, _round_up(longest, _LANES) + 1), 2**16, np.int32)
    table[..., 0] = 0
    escapes, thresholds = np.full(shape, -1, np.int32), np.zeros(shape)
    for index, cdf in zip(np.ndindex(*shape), cdfs):
        table[index] = _padded(cdf, table.shape[-1])
        escapes[index] = cdf.shape[1] - 2
        thresholds[index] = _DIGIT
    return table, escapes, thresholds


def _padded(cdf, size=0):
    """Rows of distributions as int32 `[rows, size]`; behind its end a row holds intervals of no size."""
    size = size or _round_up(cdf.shape[1] - 1, _LANES) + 1
    return np.pad(cdf.astype(np.int32), [[0, 0], [0, size - cdf.shape[1]]], mode="edge")


def _search_tables(table):
    """Tables for `_decode_step`, of distributions int32 `[..., rows, values + 1]`.

    Returns:
      float64 `[..., 1, rows * values]`, upper ends of intervals, to which the
      number of their row is added; float64 `[..., 2, rows * values]`, both
      ends; the number of values in a row.
    """
    *shape, rows, size = table.shape
    edges = tf.cast(tf.constant(table), tf.float64) / _DIGIT
    both = tf.stack([edges[..., :-1], edges[..., 1:]], len(shape))
    shifted = edges[..., 1:] + np.arange(rows)[:, np.newaxis]
    return (
        tf.reshape(shifted, [*shape, 1, rows * (size - 1)]),
        tf.reshape(both, [*shape, 2, rows * (size - 1)]),
        size - 1,
    )


def _within_row(value, row, width):
    """The value in its row of the table, of one in all rows."""
    return value if row is None else value - tf.cast(row, tf.int32) * width


def _round_up(value, multiple):
    return -(-value // multiple) * multiple


def _interval_sizes(lower, upper):
    """Sizes of the encoder's interval before each step: float64 `[steps, lanes]`, as the bounds."""
    shape = tf.shape(lower)
    bounds = tf.reshape(tf.stack([lower, upper], 1), [-1, _UNROLL, 2, shape[1]])
    iterations = tf.shape(bounds)[0]

    def iterate(index, sizes, size):
        before = []
        for pair in tf.unstack(bounds[index]):
            before.append(size)
            low, high = tf.unstack(tf.floor(size * pair))
            size = high - low
            small = tf.cast(size <= _DIGIT, tf.int32)
            size *= tf.gather(tf.constant([1, _DIGIT], tf.float64), small)
        return index + 1, sizes.write(index, tf.stack(before)), size

    sizes = tf.TensorArray(tf.float64, iterations, element_shape=[_UNROLL, None])
    _, sizes, _ = tf.while_loop(
        lambda index, *_: index < iterations,
        iterate,
        (tf.constant(0), sizes, tf.fill([shape[1]], tf.constant(2.0**32, tf.float64))),
        parallel_iterations=1,
    )
    return tf.reshape(sizes.stack(), shape)


def _write_digits(lower, upper, size, steps):
    """Writes what a range encoder writes.

    Args:
      lower, upper: float64 `[steps, lanes]`, bounds of the coded values.
      size: float64 `[steps, lanes]`, sizes of the interval before each step.
      steps: int32 `[slices]`, the steps that count; there may be more lanes.

    Returns:
      uint8 `[bytes]`, int32 `[slices]`, see `Coder.encode`.
    """
    lanes = tf.size(steps)
    term = tf.floor(size * lower)
    after = tf.floor(size * upper) - term
    used = tf.sequence_mask(tf.pad(steps, [[0, tf.shape(size)[1] - lanes]]), tf.shape(size)[0])
    used = tf.transpose(used)
    shifted = tf.cast((after <= _DIGIT) & used, tf.int32)
    # Each step adds a term of two digits to the code, one digit further on after each shift.
    place = tf.cumsum(shifted, exclusive=True)
    shifts = tf.reduce_sum(shifted, 0)[:lanes]
    digits = shifts + 2
    ends = tf.cumsum(digits)
    begins = ends - digits
    place = tf.boolean_mask(place[:, :lanes] + begins, used[:, :lanes])
    term = tf.cast(tf.boolean_mask(term[:, :lanes], used[:, :lanes]), tf.int64)
    total = ends[-1]
    code = tf.math.unsorted_segment_sum(
        tf.concat([tf.bitwise.right_shift(term, np.int64(16)), term & 0xFFFF], 0),
        tf.concat([place, place + 1], 0),
        total,
    )
    code = _carry(code)

    # Any number of the last interval will do: the one with the fewest bytes is written.
    last_step = tf.stack([steps - 1, tf.range(lanes)], 1)
    size = tf.gather_nd(after, last_step)
    size = tf.where(size <= _DIGIT, size * _DIGIT, size)
    base = 65536 * tf.gather(code, ends - 2) + tf.gather(code, ends - 1)
    number, is_zero = _last_number(base, size)
    # What exceeds its digit is carried.
    code = tf.tensor_scatter_nd_update(
        code,
        tf.concat([ends - 2, ends - 1], 0)[:, tf.newaxis],
        tf.concat([tf.bitwise.right_shift(number, np.int64(16)), tf.zeros_like(number)], 0),
    )
    code = _carry(code)

    data = tf.reshape(tf.stack([tf.bitwise.right_shift(code, np.int64(8)), code & 255], 1), [-1])
    place = tf.range(2 * total) - tf.repeat(2 * begins, 2 * digits)
    lane = tf.repeat(tf.range(lanes), 2 * digits)
    # The decoder reads zeros behind the end. Only what is zero from here on is not cut short.
    nonzero = tf.where(tf.equal(data, 0), 0, place + 1)
    lengths = tf.maximum(tf.math.unsorted_segment_max(nonzero, lane, lanes), 0)
    lengths = tf.where(is_zero, 2 * shifts, lengths)
    return tf.cast(tf.boolean_mask(data, place < tf.gather(lengths, lane)), tf.uint8), lengths


def _carry(code):
    """Takes what exceeds 16 bits of a digit, int64 `[n]`, to the digit in front of it."""

    def carry(code):
        return (code & 0xFFFF) + tf.concat([tf.bitwise.right_shift(code[1:], np.int64(16)), [0]], 0)

    return tf.while_loop(
        lambda code: tf.reduce_any(code > 0xFFFF), carry, (code,), parallel_iterations=1
    )[0]


class _State(NamedTuple):
    """Where a range decoder stands, each `[1, lanes]`.

    Attributes:
      distance: float64, from the interval's base to the code value, of which
        only the first 32 bits of the interval are known, and almost one more.
      size: float64, of the interval: an integer above 2^16, at most 2^32.
      pointer: int32, twice the index of the next digit.
    """

    distance: tf.Tensor
    size: tf.Tensor
    pointer: tf.Tensor


def _first_state(words, begins):
    first = tf.cast(tf.gather(words, begins), tf.float64)
    second = tf.cast(tf.gather(words, begins + 1), tf.float64)
    distance = first * _DIGIT + second + _FRACTION
    return _State(distance, tf.ones_like(distance) * 2.0**32, 2 * (begins + 2))


def _refills(words):
    """What `_decode_step` adds to the distance: at `2 k` nothing, at `2 k + 1` digit k.

    With a digit the distance's fraction is scaled up, and has to be put right.
    """
    digits = tf.cast(words, tf.float64) + (_FRACTION - _DIGIT * _FRACTION)
    return tf.reshape(tf.stack([tf.zeros_like(digits), digits], 1), [-1])


def _decode_step(state, refills, upper, bounds, threshold, row=None):
    """Decodes one value in each lane.

    Args:
      state: A `_State`.
      refills: See `_refills`.
      upper, bounds: See `_search_tables`.
      threshold: float64 `[]`, up to which an interval is small enough for the
        next digit.
      row: float64 `[1, lanes]`, which row of the table each lane decodes from,
        if there are several.

    Returns:
      Values of all rows, int32 `[1, lanes]`, the next `_State`.
    """
    # Exact, since the quotient's distance from a bound of 16 bits is zero or at least 2^-48, and
    # its error up to row 31 half of that.
    quotient = state.distance / state.size
    quotient = quotient if row is None else quotient + row
    value = tf.raw_ops.UpperBound(sorted_inputs=upper, values=quotient)
    low, high = tf.unstack(tf.floor(state.size * tf.gather(bounds, value, axis=1)))
    size, distance = high - low, state.distance - low
    small = tf.cast(size <= threshold, tf.int32)
    scale = tf.gather(tf.constant([1, _DIGIT], tf.float64), small)
    # Two steps through the pairs of nothing and a digit, or none.
    pointer = state.pointer + small
    distance = distance * scale + tf.gather(refills, pointer)
    return value, _State(distance, size * scale, pointer + small)


def _decode_bit(state, refills, limits, mask):
    """Decodes a bit of escape codes in the lanes of `mask`: int32 `[1, lanes]`, `_State`."""
    start = state._replace(pointer=tf.minimum(state.pointer, limits))
    upper = tf.constant([[0.5, 1.0]], tf.float64)
    bounds = tf.constant([[0.0, 0.5], [0.5, 1.0]], tf.float64)
    bit, after = _decode_step(start, refills, upper, bounds, tf.constant(_DIGIT, tf.float64))
    return bit, _State(*(tf.where(mask, new, old) for new, old in zip(after, state)))


def _decode_escapes(state, refills, limits, mask):
    """Decodes an escape code in the lanes of `mask`.

    Returns:
      Signed values int32 `[1, lanes]`, the next `_State`, and in which lanes
      there is no end to the code.
    """
    none = tf.zeros_like(mask, tf.int32)

    def count_zero(state, bits, waiting):
        bit, state = _decode_bit(state, refills, limits, waiting)
        waiting &= tf.equal(bit, 0) & (bits < _MAX_BITS - 1)
        return state, bits + tf.cast(waiting, tf.int32), waiting

    state, bits, _ = tf.while_loop(
        lambda state, bits, waiting: tf.reduce_any(waiting),
        count_zero,
        (state, none, mask),
        parallel_iterations=1,
    )
    hopeless = bits >= _MAX_BITS - 1

    def read_bit(index, state, value):
        wanted = mask & (index < bits)
        bit, state = _decode_bit(state, refills, limits, wanted)
        return index + 1, state, tf.where(wanted, 2 * value + bit, value)

    _, state, value = tf.while_loop(
        lambda index, state, value: index < tf.reduce_max(bits),
        read_bit,
        (tf.constant(0), state, none + 1),
        parallel_iterations=1,
    )
    sign, state = _decode_bit(state, refills, limits, mask)
    return tf.where(tf.equal(sign, 1), -value, value), state, hopeless


def _read_words(payload, lengths):
    """Splits slices into digits of 16 bits.

    Args:
      payload: uint8 `[bytes]`.
      lengths: int32 `[lanes]`.

    Returns:
      Digits int32 `[words]`, with enough zeros behind each lane for all that
      an iteration can read; begins and limits `[1, lanes]` of `_decode_lanes`.
    """
    # So far that a pointer that has gone too far does not look as if it had not.
    used = (lengths + 1) // 2 + 3
    reserved = used + _UNROLL + 1
    begins = tf.cumsum(reserved, exclusive=True)
    lane = tf.repeat(tf.range(tf.size(lengths)), lengths)
    shift = 2 * begins - tf.cumsum(lengths, exclusive=True)
    cells = tf.range(tf.size(payload)) + tf.gather(shift, lane)
    data = tf.scatter_nd(
        cells[:, tf.newaxis], tf.cast(payload, tf.int32), [2 * tf.reduce_sum(reserved)]
    )
    words = tf.linalg.matvec(tf.reshape(data, [-1, 2]), tf.constant([256, 1]))
    return words, begins[tf.newaxis], 2 * (begins + used)[tf.newaxis]


def _check_end(words, begins, lengths, state):
    """Whether each lane is what the encoder writes for what was decoded, bool `[1, lanes]`."""
    shifts = state.pointer // 2 - begins - 2
    first, second = (tf.cast(tf.gather(words, begins + shifts + k), tf.int64) for k in (0, 1))
    code = 65536 * first + second
    base = (code - tf.cast(tf.floor(state.distance), tf.int64)) % 2**32
    number, is_zero = _last_number(base, state.size)
    # No zeros are written at the end, unless there is nothing else.
    last_byte = tf.gather(words, begins + tf.maximum(lengths - 1, 0) // 2)
    last_byte = tf.where(tf.equal(lengths % 2, 0), last_byte & 255, last_byte // 256)
    read = (lengths <= 2 * shifts + 4) & (lengths > 0) & (last_byte > 0)
    complete = tf.where(is_zero, tf.equal(lengths, 2 * shifts), read)
    return complete & tf.equal(code, number % 2**32)


def _last_number(base, size):
    """What the encoder writes of its last interval: the number with the fewest bytes.

    Args:
      base: int64, below 2^32.
      size: float64.

    Returns:
      The number int64, of which the last 32 bits are written and what exceeds
      them is carried; bool, where the interval begins with zero and so has
      nothing to write.
    """
    last = base + tf.cast(size, tf.int64) - 1
    is_zero = tf.equal(base, 0)
    coarse, fine = (
        tf.bitwise.left_shift(tf.bitwise.right_shift(base - 1, bits) + 1, bits)
        for bits in (np.int64(24), np.int64(16))
    )
    number = tf.where(coarse <= last, coarse, fine)
    # An interval that goes beyond has its roundest number there.
    number = tf.where(last >= 2**32, tf.constant(2**32, tf.int64), number)
    return tf.where(is_zero, tf.zeros_like(base), number), is_zero
