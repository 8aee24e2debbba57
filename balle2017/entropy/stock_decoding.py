"""The decoder's arithmetic of `stock_coder`: single steps of all lanes, and where slices begin and end."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from balle2017.entropy.stock_encoding import DIGIT, divisors, last_number, scale_of
from balle2017.entropy.tables import row_numbers

# More bits than any latent has in the escape code.
MAX_BITS = 30
# The code value's unknown continuation: just below the next integer.
_FRACTION = 1 - 2.0**-16


class State(NamedTuple):
    """Where a range decoder stands, each `[1, lanes]`.

    Attributes:
      distance: float64, from the code value to the interval's base, so at most zero. Of the value
        only the first 32 bits of the interval are known, and almost one more.
      size: float64, of the interval, negative: an integer below -2^16, at least -2^32.
      pointer: int32, twice the index of the next digit.
    """

    distance: tf.Tensor
    size: tf.Tensor
    pointer: tf.Tensor


class Search(NamedTuple):
    """Distributions as `decode_step` takes them: rows one behind the other, of bins from 0 to 1.

    Attributes:
      ends: float64 `[1, rows * bins]`, upper ends of the bins, to which their row's number in `row_numbers` is added.
      bounds: float64 `[rows * bins, 2]`, `divisors` of the bins' lower and upper ends: side by side, since
        the tables of all channels are larger than a processor's nearest caches.
    """

    ends: tf.Tensor
    bounds: tf.Tensor


def search_tables(rows, sizes):
    """Tables of each distribution, with a bin before and one behind its own that no value falls into.

    Args:
      rows: int32 `[rows, sum(sizes)]`, in each row distributions one behind the other: a number that
        does not matter, and then bounds from 0 to 2^16.
      sizes: The lengths of the distributions, with that number.

    Returns:
      A `Search` of all of them, its tensors `[rows, sum(sizes)]` and `[rows, sum(sizes), 2]`.
    """
    last = np.zeros(sum(sizes), bool)
    last[np.cumsum(sizes) - 1] = True
    following = tf.where(last, tf.constant(2**16), tf.roll(rows, -1, 1))
    ends = tf.cast(following, tf.float64) / DIGIT + row_numbers(rows.shape[0])[:, np.newaxis]
    return Search(ends, divisors(tf.stack([rows, following], 2)))


def flat(search):
    """A part of `search_tables`' result, as `decode_step` takes it."""
    return Search(tf.reshape(search.ends, [1, -1]), tf.reshape(search.bounds, [-1, 2]))


def first_state(words, begins):
    first = tf.cast(tf.gather(words, begins), tf.float64)
    second = tf.cast(tf.gather(words, begins + 1), tf.float64)
    distance = -(first * DIGIT + second + _FRACTION)
    return State(distance, tf.ones_like(distance) * -(2.0**32), 2 * (begins + 2))


def refills_of(words):
    """What `decode_step` adds to the distance: at `2 k` nothing, at `2 k + 1` digit k.

    With a digit the distance's fraction is scaled up, and has to be put right.
    """
    digits = tf.cast(words, tf.float64) + (_FRACTION - DIGIT * _FRACTION)
    return tf.reshape(tf.stack([tf.zeros_like(digits), -digits], 1), [-1])


def decode_step(state, refills, search, number=None):
    """Decodes one value in each lane.

    Args:
      state: A `State`.
      refills: See `refills_of`.
      search: A `Search`.
      number: float64 `[1, lanes]`, that in `row_numbers` of the row that each lane decodes from, if there are several.

    Returns:
      The bin among those of all rows, int32 `[1, lanes]`, the next `State`.
    """
    # Exact, since the quotient's distance from a bound of 16 bits is zero or at least 2^-48, and its error
    # with numbers from -32 to 31 at most 2^-49 + 2^-54, about half of that. With 32 it would be too much.
    quotient = state.distance / state.size
    quotient = quotient if number is None else quotient + number
    value = tf.raw_ops.UpperBound(sorted_inputs=search.ends, values=quotient)
    # One by one, since an op on two shapes takes several times as long.
    bounds = tf.unstack(tf.gather(search.bounds, value), axis=2)
    low, high = (tf.math.floordiv(state.size, divisor) for divisor in bounds)
    size, distance = low - high, state.distance + low
    small, scale = scale_of(size)
    # Two steps through the pairs of nothing and a digit, or none.
    pointer = state.pointer + small
    distance = distance * scale + tf.gather(refills, pointer)
    return value, State(distance, size * scale, pointer + small)


def _decode_bit(state, refills, limits, mask):
    """Decodes a bit of escape codes in the lanes of `mask`: int32 `[1, lanes]`, `State`."""
    start = state._replace(pointer=tf.minimum(state.pointer, limits))
    bit, after = decode_step(start, refills, flat(search_tables(tf.constant([[0, 0, 2**15, 2**16]]), [4])))
    return bit - 1, State(*(tf.where(mask, new, old) for new, old in zip(after, state)))


def decode_escapes(state, refills, limits, mask):
    """Decodes an escape code in the lanes of `mask`.

    Returns:
      Signed values int32 `[1, lanes]`, the next `State`, and in which lanes
      there is no end to the code.
    """
    none = tf.zeros_like(mask, tf.int32)

    def count_zero(state, bits, waiting):
        bit, state = _decode_bit(state, refills, limits, waiting)
        waiting &= tf.equal(bit, 0) & (bits < MAX_BITS - 1)
        return state, bits + tf.cast(waiting, tf.int32), waiting

    state, bits, _ = tf.while_loop(
        lambda state, bits, waiting: tf.reduce_any(waiting),
        count_zero,
        (state, none, mask),
        parallel_iterations=1,
    )
    hopeless = bits >= MAX_BITS - 1

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


def read_words(payload, lengths, steps):
    """Splits slices into digits of 16 bits.

    Args:
      payload: uint8 `[bytes]`.
      lengths: int32 `[lanes]`.
      steps: How many steps an iteration has at most.

    Returns:
      Digits int32 `[words]`, with enough zeros behind each lane for all that
      an iteration can read; begins and limits `[1, lanes]` of `_decode_lanes`.
    """
    # So far that a pointer that has gone too far does not look as if it had not.
    used = (lengths + 1) // 2 + 3
    reserved = used + steps + 1
    begins = tf.cumsum(reserved, exclusive=True)
    lane = tf.repeat(tf.range(tf.size(lengths)), lengths)
    shift = 2 * begins - tf.cumsum(lengths, exclusive=True)
    cells = tf.range(tf.size(payload)) + tf.gather(shift, lane)
    data = tf.scatter_nd(cells[:, tf.newaxis], tf.cast(payload, tf.int32), [2 * tf.reduce_sum(reserved)])
    words = tf.linalg.matvec(tf.reshape(data, [-1, 2]), tf.constant([256, 1]))
    return words, begins[tf.newaxis], 2 * (begins + used)[tf.newaxis]


def check_end(words, begins, lengths, state):
    """Whether each lane is what the encoder writes for what was decoded, bool `[1, lanes]`."""
    shifts = state.pointer // 2 - begins - 2
    first, second = (tf.cast(tf.gather(words, begins + shifts + k), tf.int64) for k in (0, 1))
    code = 65536 * first + second
    base = (code + tf.cast(tf.math.ceil(state.distance), tf.int64)) % 2**32
    number, is_zero = last_number(base, -state.size)
    # No zeros are written at the end, unless there is nothing else.
    last_byte = tf.gather(words, begins + tf.maximum(lengths - 1, 0) // 2)
    last_byte = tf.where(tf.equal(lengths % 2, 0), last_byte & 255, last_byte // 256)
    read = (lengths <= 2 * shifts + 4) & (lengths > 0) & (last_byte > 0)
    complete = tf.where(is_zero, tf.equal(lengths, 2 * shifts), read)
    return complete & tf.equal(code, number % 2**32)
