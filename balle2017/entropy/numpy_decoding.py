"""What the decoder of `numpy_coder` does: one step of all lanes, escape codes, the check of the end."""

from typing import NamedTuple

import numpy as np

from balle2017.entropy.numpy_encoding import DIGIT, MAX_BITS, last_number
from balle2017.entropy.tables import MAX_SYMBOL, row_numbers

# The code value's unknown continuation: just below the next integer.
_FRACTION = 1 - 2.0**-16


class _Table(NamedTuple):
    """Distributions that a step decodes from, one for each row.

    Attributes:
      search: `searchsorted` of the upper ends of all intervals, to which their row's number in
        `row_numbers` is added.
      lower, upper: float64 `[rows * values]`, the intervals' ends.
      width: The number of values in a row.
    """

    search: object
    lower: np.ndarray
    upper: np.ndarray
    width: int


def _tables(cdfs):
    """A `_Table` of each of several distributions int `[rows, values + 1]`, of equally many rows."""
    # For all at once: there are hundreds of them, each of a few numbers.
    edges = np.concatenate(cdfs, 1) / DIGIT
    shifted = edges + row_numbers(len(edges))[:, np.newaxis]
    ends = np.cumsum([cdf.shape[1] for cdf in cdfs]).tolist()
    return [
        _Table(
            shifted[:, begin + 1 : end].ravel().searchsorted,
            edges[:, begin : end - 1].ravel(),
            edges[:, begin + 1 : end].ravel(),
            end - begin - 1,
        )
        for begin, end in zip([0, *ends], ends)
    ]


(_BIT_TABLE,) = _tables([np.array([[0, 2**15, 2**16]])])


class DecoderTables(NamedTuple):
    """All tables of a decoder.

    Attributes:
      channels: A `_Table` of each channel, with a row for each class.
      classes: The `_Table` of the classes, `None` with a single one.
      widths: int64 `[A]`, those of `channels`.
      numbers: float64 `[K]`, `row_numbers` of the classes.
    """

    channels: list
    classes: object
    widths: np.ndarray
    numbers: np.ndarray

    @classmethod
    def make(cls, cdfs, class_cdfs):
        channels = _tables(cdfs)
        classes = None if class_cdfs is None else _tables([class_cdfs])[0]
        return cls(channels, classes, np.array([table.width for table in channels]), row_numbers(len(cdfs[0])))


class _Lanes:
    """Where the range decoders of lanes stand.

    Attributes:
      distance: float64 `[lanes]`, from the interval's base to the code value, of which only the
        first 32 bits of the interval are known, and almost one more.
      size: float64 `[lanes]`, of the interval: an integer above 2^16, at most 2^32.
      pointer: int64 `[lanes]`, index of the next digit.
    """

    def __init__(self, distance, size, pointer, limits, refills):
        self.distance = distance
        self.size = size
        self.pointer = pointer
        self._limits = limits
        self._refills = refills
        self._digit = np.full(len(size), DIGIT)

    @classmethod
    def begin(cls, words, begins, limits):
        """At the beginning of digits int64 `[words]`; behind `limits` there are only zeros."""
        distance = words[begins] * DIGIT + words[begins + 1] + _FRACTION
        # With a digit the distance's fraction is scaled up, and has to be put right.
        refills = words + (_FRACTION - DIGIT * _FRACTION)
        return cls(distance, np.full(len(begins), 2.0**32), begins + 2, limits, refills)

    def select(self, which):
        """Some lanes, from which `put` brings back what becomes of them."""
        arrays = self.distance, self.size, self.pointer, self._limits
        return _Lanes(*(array[which] for array in arrays), self._refills)

    def put(self, which, lanes):
        """Takes what has become of lanes that were selected."""
        self.distance[which] = lanes.distance
        self.size[which] = lanes.size
        self.pointer[which] = lanes.pointer

    def stop_at_the_end(self):
        """Lets lanes that are beyond their end go no further."""
        np.minimum(self.pointer, self._limits, self.pointer)

    def decode(self, table, numbers=None):
        """Decodes one value in each lane.

        Args:
          table: A `_Table`.
          numbers: float64 `[lanes]`, those in `row_numbers` of the rows that the lanes decode from.

        Returns:
          int64 `[lanes]`, values of all rows.
        """
        # Exact, since the quotient's distance from a bound of 16 bits is zero or at least 2^-48, and its error
        # with numbers from -32 to 31 at most 2^-49 + 2^-54, about half of that. With 32 it would be too much.
        quotient = self.distance / self.size
        if numbers is not None:
            quotient += numbers
        value = table.search(quotient, "right")
        low = table.lower[value]
        low *= self.size
        np.floor(low, low)
        size = table.upper[value]
        size *= self.size
        np.floor(size, size)
        size -= low
        self.size = size
        self.distance -= low
        (small,) = (size <= self._digit).nonzero()
        if small.size:
            digit = self._digit[: len(small)]
            size[small] *= digit
            pointer = self.pointer[small]
            distance = self.distance[small]
            distance *= digit
            distance += self._refills[pointer]
            self.distance[small] = distance
            pointer += 1
            self.pointer[small] = pointer
        return value

    def decode_escapes(self, which):
        """Decodes an escape code in the lanes `which`.

        Returns:
          Signed values int64; and of which there is no end to the code.
        """
        lanes = self.select(which)
        zeros = np.zeros(len(which), np.int64)

        def bit(some):
            part = lanes.select(some)
            part.stop_at_the_end()
            value = part.decode(_BIT_TABLE)
            lanes.put(some, part)
            return value

        waiting = np.arange(len(which))
        while waiting.size:
            waiting = waiting[bit(waiting) == 0]
            zeros[waiting] += 1
            waiting = waiting[zeros[waiting] < MAX_BITS - 1]
        value = np.ones_like(zeros)
        for index in range(np.max(zeros)):
            wanted = np.flatnonzero(index < zeros)
            value[wanted] = 2 * value[wanted] + bit(wanted)
        sign = bit(np.arange(len(which)))
        self.put(which, lanes)
        return np.where(sign == 1, -value, value), zeros >= MAX_BITS - 1


def decode_lanes(tables, slices, counts):
    """Decodes slices.

    Returns:
      Symbols int64 `[positions, A]`; bool `[slices]`, which are valid.
    """
    lengths = np.array([len(s) for s in slices])
    words, begins, limits = _read_words(slices, lengths, len(tables.channels))
    lanes = _Lanes.begin(words, begins, limits)
    rows = _decode_classes(tables.classes, lanes, counts)
    symbols = np.zeros([counts[0], len(tables.channels), len(counts)], np.int64)
    bad = np.zeros(len(counts), bool)
    for position in range(counts[0]):
        going_on, part = _going_on(lanes, counts, position)
        row = None if rows is None else rows[position, going_on]
        symbols[position, :, going_on] = _decode_position(tables, part, row, bad[going_on])
        if part is not lanes:
            lanes.put(going_on, part)
    valid = _check_end(words, begins, lengths, lanes) & ~bad
    symbols = symbols.transpose(2, 0, 1).reshape(-1, len(tables.channels))
    # Only the last slice may be shorter, so nothing follows what it lacks.
    return symbols[: np.sum(counts)], valid


def _going_on(lanes, counts, position):
    """The lanes that have a position: a slice, and a copy of them if these are not all."""
    if position < counts[-1]:
        return slice(len(counts)), lanes
    going_on = slice(len(counts) - 1)
    return going_on, lanes.select(going_on)


def _decode_classes(table, lanes, counts):
    """Classes int64 `[positions, lanes]`, which come before the latents; `None` with a single one."""
    if table is None:
        return None
    classes = np.zeros([counts[0], len(counts)], np.int64)
    numbers = row_numbers(table.width + 1)
    rows = np.zeros(len(counts), np.int64)
    for position in range(counts[0]):
        going_on, part = _going_on(lanes, counts, position)
        part.stop_at_the_end()
        row = rows[going_on]
        classes[position, going_on] = part.decode(table, numbers[row]) - row * table.width
        rows = classes[position] + 1
        if part is not lanes:
            lanes.put(going_on, part)
    return classes


def _decode_position(tables, lanes, rows, bad):
    """Decodes one position, as if there were no escape codes, and again if there were.

    Args:
      tables: `DecoderTables`.
      lanes: `_Lanes`.
      rows: Classes int64 `[lanes]`, or `None`.
      bad: bool `[lanes]`; set where an escape code cannot be.

    Returns:
      Symbols int64 `[A, lanes]`.
    """
    lanes.stop_at_the_end()
    before = lanes.distance.copy(), lanes.size, lanes.pointer.copy()
    numbers = None if rows is None else tables.numbers[rows]
    symbols = np.array([lanes.decode(table, numbers) for table in tables.channels])
    if rows is not None:
        symbols -= tables.widths[:, np.newaxis] * rows
    escapes = tables.widths - 1
    if not np.any(symbols == escapes[:, np.newaxis]):
        return symbols
    lanes.distance, lanes.size, lanes.pointer = before
    for channel, (table, escape) in enumerate(zip(tables.channels, escapes)):
        lanes.stop_at_the_end()
        value = lanes.decode(table, numbers)
        if rows is not None:
            value = value - table.width * rows
        which = np.flatnonzero(value == escape)
        if which.size:
            excess, hopeless = lanes.decode_escapes(which)
            # Positive values go on where the table ends.
            value[which] = excess + np.where(excess > 0, escape - 1, 0)
            bad[which] |= hopeless | (np.abs(value[which]) > MAX_SYMBOL)
        symbols[channel] = value
    return symbols


def _read_words(slices, lengths, num_channels):
    """Splits slices into digits of 16 bits.

    Returns:
      Digits int64 `[words]`, with enough zeros behind each lane for all that a position can read;
      begins and limits `[lanes]`.
    """
    # So far that a pointer that has gone too far does not look as if it had not.
    used = (lengths + 1) // 2 + 3
    reserved = used + num_channels + 1
    begins = np.cumsum(reserved) - reserved
    data = b"".join(s.ljust(2 * r, b"\0") for s, r in zip(slices, reserved.tolist()))
    return np.frombuffer(data, ">u2").astype(np.int64), begins, begins + used


def _check_end(words, begins, lengths, lanes):
    """Whether each lane is what the encoder writes for what was decoded, bool `[lanes]`."""
    shifts = lanes.pointer - begins - 2
    code = 65536 * words[begins + shifts] + words[begins + shifts + 1]
    base = (code - np.floor(lanes.distance).astype(np.int64)) % 2**32
    number, is_zero = last_number(base, lanes.size)
    # No zeros are written at the end, unless there is nothing else.
    last_byte = words[begins + np.maximum(lengths - 1, 0) // 2]
    last_byte = np.where(lengths % 2 == 0, last_byte & 255, last_byte >> 8)
    read = (lengths <= 2 * shifts + 4) & (lengths > 0) & (last_byte > 0)
    complete = np.where(is_zero, lengths == 2 * shifts, read)
    return complete & (code == number % 2**32)
