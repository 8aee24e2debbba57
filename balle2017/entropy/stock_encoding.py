"""The encoder's arithmetic of `stock_coder`: sizes of intervals, and the digits of all slices at once."""

import numpy as np
import tensorflow as tf

from balle2017.entropy.graph import one_by_one

# Steps in an iteration of the encoder's loop.
UNROLL = 64
DIGIT = 2.0**16


def divisors(bounds):
    """Of bounds int32, from 0 to 2^16, such that `size // divisor` of a negative size is the bound's share of it.

    One op in place of a product and its floor, and as exact: shares are multiples of 2^-16, and the
    quotient exceeds them by less, as they are at most 2^32.
    """
    return (1 - 2.0**-50) * -DIGIT / tf.cast(bounds, tf.float64)


def scale_of(size):
    """Whether intervals are small enough for the next digit, int32, and what they then grow by, float64.

    `size` is negative, so that a search takes the place of a comparison and of making a number of it.
    """
    small = tf.raw_ops.UpperBound(sorted_inputs=tf.constant([[-DIGIT - 0.5]], tf.float64), values=size)
    return small, tf.gather(tf.constant([1, DIGIT], tf.float64), small)


def interval_sizes(lower, upper):
    """Sizes of the encoder's interval before each step: float64 `[steps, lanes]`, negative.

    Args:
      lower, upper: float64 `[steps, lanes]`, `divisors` of the bounds of the coded values.
    """
    shape = tf.shape(lower)
    low, high = (tf.reshape(bound, [-1, UNROLL, 1, shape[1]]) for bound in (lower, upper))
    iterations = tf.shape(low)[0]

    def go_on(size, lower, upper):
        before = []
        for step_low, step_high in zip(tf.unstack(lower), tf.unstack(upper)):
            before.append(size)
            size = tf.math.floordiv(size, step_low) - tf.math.floordiv(size, step_high)
            size *= scale_of(size)[1]
        return [tf.concat(before, 0), size]

    step, steps = (tf.TensorSpec([*shape, 1, None], tf.float64) for shape in ([], [UNROLL]))
    go_on = one_by_one(go_on, [step, steps, steps])

    def iterate(index, sizes, size):
        before, size = go_on(size, low[index], high[index])
        return index + 1, sizes.write(index, before), size

    sizes = tf.TensorArray(tf.float64, iterations, element_shape=[UNROLL, None])
    _, sizes, _ = tf.while_loop(
        lambda index, *_: index < iterations,
        iterate,
        (tf.constant(0), sizes, tf.fill([1, shape[1]], tf.constant(-(2.0**32), tf.float64))),
        parallel_iterations=1,
    )
    return tf.reshape(sizes.stack(), shape)


def write_digits(lower, upper, size, steps):
    """Writes what a range encoder writes.

    Args:
      lower, upper: float64 `[steps, lanes]`, `divisors` of the bounds of the coded values.
      size: float64 `[steps, lanes]`, see `interval_sizes`.
      steps: int32 `[slices]`, the steps that count; there may be more lanes.

    Returns:
      uint8 `[bytes]`, int32 `[slices]`, see `Coder.encode`.
    """
    lanes = tf.size(steps)
    term = tf.math.floordiv(size, lower)
    after = tf.math.floordiv(size, upper) - term
    padded = tf.pad(steps, [[0, tf.shape(size)[1] - lanes]])
    used = tf.range(tf.shape(size)[0])[:, tf.newaxis] < padded
    shifted = tf.cast((after <= DIGIT) & used, tf.int32)
    # Each step adds a term of two digits to the code, one digit further on after each shift.
    place = tf.cumsum(shifted, exclusive=True)
    shifts = tf.reduce_sum(shifted, 0)[:lanes]
    digits = shifts + 2
    ends = tf.cumsum(digits)
    begins = ends - digits
    place = tf.where(used, place + tf.pad(begins, [[0, tf.size(padded) - lanes]]), -1)
    total = ends[-1]
    # As the base stays in its first interval of 32 bits until the next shift, so does their sum.
    terms = tf.cast(tf.math.unsorted_segment_sum(term, place, total), tf.int64)
    code = tf.bitwise.right_shift(terms, np.int64(16)) + tf.concat([[0], terms[:-1] & 0xFFFF], 0)
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
