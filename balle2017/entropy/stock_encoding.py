"""The encoder's arithmetic of `stock_coder`: sizes of intervals, and the digits of all slices at once."""

import numpy as np
import tensorflow as tf

# Steps in an iteration of a loop.
UNROLL = 16
DIGIT = 2.0**16


def interval_sizes(lower, upper):
    """Sizes of the encoder's interval before each step: float64 `[steps, lanes]`, as the bounds."""
    shape = tf.shape(lower)
    low, high = (tf.reshape(bound, [-1, UNROLL, shape[1]]) for bound in (lower, upper))
    iterations = tf.shape(low)[0]

    def iterate(index, sizes, size):
        before = []
        for step_low, step_high in zip(tf.unstack(low[index]), tf.unstack(high[index])):
            before.append(size)
            size = tf.floor(size * step_high) - tf.floor(size * step_low)
            # 2^16 up to that size, and 1 above. A comparison and a choice would take longer.
            size *= tf.maximum(tf.minimum((DIGIT + 1 - size) * DIGIT, DIGIT), 1)
        return index + 1, sizes.write(index, tf.stack(before)), size

    sizes = tf.TensorArray(tf.float64, iterations, element_shape=[UNROLL, None])
    _, sizes, _ = tf.while_loop(
        lambda index, *_: index < iterations,
        iterate,
        (tf.constant(0), sizes, tf.fill([shape[1]], tf.constant(2.0**32, tf.float64))),
        parallel_iterations=1,
    )
    return tf.reshape(sizes.stack(), shape)


def write_digits(lower, upper, size, steps):
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
    shifted = tf.cast((after <= DIGIT) & used, tf.int32)
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
    size = tf.where(size <= DIGIT, size * DIGIT, size)
    base = 65536 * tf.gather(code, ends - 2) + tf.gather(code, ends - 1)
    number, is_zero = last_number(base, size)
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

    return tf.while_loop(lambda code: tf.reduce_any(code > 0xFFFF), carry, (code,), parallel_iterations=1)[0]


def last_number(base, size):
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
        tf.bitwise.left_shift(tf.bitwise.right_shift(base - 1, bits) + 1, bits) for bits in (np.int64(24), np.int64(16))
    )
    number = tf.where(coarse <= last, coarse, fine)
    # An interval that goes beyond has its roundest number there.
    number = tf.where(last >= 2**32, tf.constant(2**32, tf.int64), number)
    return tf.where(is_zero, tf.zeros_like(base), number), is_zero
