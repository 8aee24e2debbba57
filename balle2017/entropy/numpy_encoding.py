"""What the encoder of `numpy_coder` does to all lanes: escape codes, sizes of intervals, digits of the code."""

import numpy as np

DIGIT = 2.0**16
# More bits than any latent has in the escape code.
MAX_BITS = 30


def escape_codes(excess, escapes):
    """Elias gamma codes, and signs, of symbols outside of their tables.

    Args:
      excess: int64 `[n]`.
      escapes: int64 `[n]`, the symbols from which on a table has none.

    Returns:
      The number of binary digits of each, int64 `[n]`; all digits, int64.
    """
    sign = excess < 0
    gamma = np.where(sign, -excess, excess - escapes + 1)
    # n bits of value take n - 1 zeros in front, and a sign behind.
    bits = 2 * np.searchsorted(2 ** np.arange(MAX_BITS), gamma, side="right")
    word = np.repeat(2 * gamma + sign, bits)
    shift = np.repeat(np.cumsum(bits), bits) - 1 - np.arange(len(word))
    return bits, word >> shift & 1


def write_digits(lower, upper, steps):
    """Writes what a range encoder writes.

    Args:
      lower, upper: float64 `[steps, lanes]`, ends of the coded values' intervals.
      steps: int64 `[lanes]`, the steps that count.

    Returns:
      A list of the bytes of each lane.
    """
    lanes = len(steps)
    term, shifted, size = _encode_loop(lower, upper)
    # Each step adds a term of two digits to the code, one digit further on after each shift.
    shifts = np.sum(shifted, 0)
    digits = shifts + 2
    ends = np.cumsum(digits)
    begins = ends - digits
    place = (np.cumsum(shifted, 0) - shifted + begins).ravel()
    term = term.ravel().astype(np.int64)
    code = np.bincount(place, term >> 16, ends[-1]) + np.bincount(place + 1, term & 0xFFFF, ends[-1])
    code = _carry(code.astype(np.int64))

    # Any number of the last interval will do: the one with the fewest bytes is written.
    number, is_zero = last_number(65536 * code[ends - 2] + code[ends - 1], size)
    # What exceeds its digit is carried.
    code[ends - 2], code[ends - 1] = number >> 16, 0
    code = _carry(code)

    data = np.stack([code >> 8, code & 255], 1).astype(np.uint8).ravel()
    strings = []
    for lane in range(lanes):
        string = data[2 * begins[lane] : 2 * ends[lane]].tobytes()
        # The decoder reads zeros behind the end. Only what is zero from here on is not cut short.
        strings.append(string[: 2 * shifts[lane]] if is_zero[lane] else string.rstrip(b"\0"))
    return strings


def _encode_loop(lower, upper):
    """Follows the size of the encoder's interval.

    Returns:
      What each step adds to the interval's base, float64 `[steps, lanes]`, and whether a digit is
      complete after it, bool `[steps, lanes]`; the last size, float64 `[lanes]`.
    """
    digit = np.full(lower.shape[1], DIGIT)
    size = digit * digit
    terms, shifted = np.empty_like(lower), np.empty(lower.shape, bool)
    for begin, end, term, small in zip(lower, upper, terms, shifted):
        np.multiply(begin, size, term)
        np.floor(term, term)
        size = size * end
        np.floor(size, size)
        size -= term
        np.less_equal(size, digit, small)
        (which,) = small.nonzero()
        if which.size:
            size[which] *= DIGIT
    return terms, shifted, size


def _carry(code):
    """Takes what exceeds 16 bits of a digit, int64 `[n]`, to the digit in front of it."""
    while np.any(code > 0xFFFF):
        code = (code & 0xFFFF) + np.append(code[1:] >> 16, 0)
    return code


def last_number(base, size):
    """What the encoder writes of its last interval: the number with the fewest bytes.

    Args:
      base: int64, below 2^32.
      size: float64.

    Returns:
      The number int64, of which the last 32 bits are written and what exceeds them is carried;
      bool, where the interval begins with zero and so has nothing to write.
    """
    last = base + size.astype(np.int64) - 1
    is_zero = base == 0
    coarse, fine = ((((base - 1) >> bits) + 1) << bits for bits in (24, 16))
    number = np.where(coarse <= last, coarse, fine)
    # An interval that goes beyond has its roundest number there.
    number = np.where(last >= 2**32, 2**32, number)
    return np.where(is_zero, 0, number), is_zero
