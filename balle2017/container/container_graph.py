"""The `.tfci` file in TensorFlow's core ops: written and read inside of a graph.

The same format as `bitstream.py`, for servers, where no Python runs. Checksums
use that CRCs are linear over GF(2), so that nothing loops over bytes.
"""

import functools
import struct
import zlib

import numpy as np
import tensorflow as tf

from balle2017.container.bitstream import MAGIC, MAX_PIXELS, VERSION
from balle2017.entropy.graph import require, to_string
from balle2017.model.network import STRIDE

_FIXED_SIZE = 19
_HAS_METADATA = 8


def count_slices(height, width, slice_length):
    """Latent positions of an image, and the slices that hold them. Any shape, int32."""
    positions = _ceil_div(height, STRIDE) * _ceil_div(width, STRIDE)
    return positions, _ceil_div(positions, slice_length)


def slice_counts(positions, slice_lengths):
    """Positions in each slice of several images.

    Args:
      positions: int32 `[images]`, latent positions of each.
      slice_lengths: int32 `[images]`.

    Returns:
      int32 `[slices of all images]`.
    """
    numbers = _ceil_div(positions, slice_lengths)
    counts = tf.repeat(slice_lengths, numbers)
    last = tf.cumsum(numbers) - 1
    rest = positions - (numbers - 1) * slice_lengths
    return tf.tensor_scatter_nd_update(counts, last[:, tf.newaxis], rest)


def check_pixels(height, width, tensors):
    """Refuses an image that is too large for one request. Scalars, int32."""
    pixels = tf.cast(height, tf.int64) * tf.cast(width, tf.int64)
    message = f"The image has more than {MAX_PIXELS} pixels: compress it in parts."
    return require(pixels <= MAX_PIXELS, message, tensors)


class Container:
    """Writes and reads the files of one rate point.

    Args:
      name: The rate point's name.
      fingerprint: uint32.
      channels: Colour channels, 3 or 1.
    """

    def __init__(self, name, fingerprint, channels):
        self._name = name
        self._start = MAGIC + struct.pack("<BBI", VERSION, channels, fingerprint)
        self._end = bytes([len(name)]) + name.encode("ascii")

    def pack(self, payload, lengths, height, width, slice_length):
        """Writes one file: slices (see `coder.Coder`) and scalars int32 to string `[]`."""
        message = "A slice is too long for the file format."
        lengths = require(tf.reduce_all(lengths < 1 << 28), message, lengths)
        body = tf.concat(
            [
                _constant_bytes(self._start),
                _little_endian(width, 3),
                _little_endian(height, 3),
                _little_endian(tf.convert_to_tensor(slice_length), 2),
                _constant_bytes(self._end),
                _write_table(lengths, crc8(payload, lengths)),
                payload,
            ],
            0,
        )
        return to_string(tf.concat([body, _little_endian(crc32(body), 4)], 0))

    def unpack(self, file):
        """Reads one file, and believes none of it before its checksums agree.

        Args:
          file: string `[]`.

        Returns:
          payload, lengths (see `coder.Coder`), height, width, slice_length
          (int32 `[]`). Metadata is skipped.
        """
        data = tf.io.decode_raw(file, tf.uint8)
        size = tf.size(data)
        # Beyond its end a file reads as zeros, so that each field can be looked at before the size.
        padded = tf.pad(data, [[0, 32]])
        known = tf.reduce_all(tf.equal(padded[:4], _constant_bytes(MAGIC)))
        padded = require(known, "This is not a .tfci file of balle2017.", padded)
        message = f"The file has another format version than {VERSION}."
        padded = require(tf.equal(padded[4], VERSION), message, padded)
        start = _FIXED_SIZE + len(self._name)
        message = "The file is cut off within its header."
        # Of the name of another model only the length is known.
        shortest = _FIXED_SIZE + 4 + tf.cast(padded[_FIXED_SIZE - 1], tf.int32)
        data, padded = require(size >= shortest, message, (data, padded))
        stored = _read_little_endian(padded[size - 4 : size])
        intact = tf.equal(crc32(data[:-4]), stored)
        padded = require(intact, "The file is damaged or cut off: its CRC-32 differs.", padded)
        message = f"The file was not made by this model, {self._name}, but by another one."
        same = tf.reduce_all(tf.equal(padded[6:10], _constant_bytes(self._start[6:])))
        same &= tf.equal(padded[_FIXED_SIZE - 1], len(self._name))
        padded = require(same, message, padded)
        flags = tf.cast(padded[5], tf.int32)
        message = f"The flags of the file are not those of {self._start[5]} colour channels."
        known = tf.equal(flags & ~_HAS_METADATA, self._start[5])
        padded = require(known, message, padded)
        width, height, slice_length = (
            tf.cast(_read_little_endian(padded[begin:end]), tf.int32) for begin, end in ((10, 13), (13, 16), (16, 18))
        )
        message = "The header of the file holds a size of zero."
        positive = (width > 0) & (height > 0) & (slice_length > 0)
        height, width, slice_length = require(positive, message, (height, width, slice_length))
        height, width = check_pixels(height, width, (height, width))

        stop = size - 4
        _, number = count_slices(height, width, slice_length)
        lengths, checksums, start = _read_table(padded, start, stop, number)
        end = tf.cast(start, tf.int64) + tf.reduce_sum(tf.cast(lengths, tf.int64))
        message = "The slice table of the file holds lengths beyond its end."
        # Tables are made as large as the lengths say, so those must be known to be true.
        end, lengths = require(end <= tf.cast(stop, tf.int64), message, (end, lengths))
        end = tf.cast(end, tf.int32)
        rest = stop - end
        announced = tf.where(rest >= 4, 4 + _read_little_endian(padded[end : end + 4]), tf.constant(-1, tf.int64))
        has_metadata = flags >= _HAS_METADATA
        exact = tf.where(has_metadata, tf.equal(announced, tf.cast(rest, tf.int64)), tf.equal(rest, 0))
        message = "The length of the file contradicts its contents."
        payload, lengths = require(exact, message, (data[start:end], lengths))
        intact = tf.reduce_all(tf.equal(crc8(payload, lengths), checksums))
        payload, lengths = require(intact, "A slice of the file is damaged.", (payload, lengths))
        return payload, lengths, height, width, slice_length


def crc32(data):
    """CRC-32 of zlib: uint8 `[n]`, n ≥ 4, to int64 `[]`."""
    first_byte, bits = _crc32_tables()
    # Ones as the initial register are the same as the first bytes inverted.
    data = tf.concat([data[:4] ^ np.uint8(255), data[4:]], 0)
    registers = tf.gather(tf.constant(first_byte), tf.cast(data, tf.int32))
    # Four bytes each in the exported graph, eight for the index arithmetic. What a byte becomes
    # is what its bits become: stored, these tables would be a few hundredths of a model.
    bits = tf.cast(tf.constant(bits.astype(np.uint32)), tf.int64)
    tables = tf.zeros_like(bits[..., :1])
    for bit in range(8):
        tables = tf.concat([tables, tf.bitwise.bitwise_xor(tables, bits[..., bit, tf.newaxis])], -1)

    def combine(level, registers):
        # Zeros in front change nothing, so an odd register gets a partner.
        registers = tf.pad(registers, [[tf.size(registers) % 2, 0]])
        first, result = tf.unstack(tf.reshape(registers, [-1, 2]), axis=1)
        for byte in range(4):
            index = tf.cast(tf.bitwise.right_shift(first, np.int64(8 * byte)) & 255, tf.int32)
            result = tf.bitwise.bitwise_xor(result, tf.gather(tables[level, byte], index))
        return level + 1, result

    _, registers = tf.while_loop(
        lambda level, registers: tf.size(registers) > 1,
        combine,
        (tf.constant(0), registers),
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([None])),
        parallel_iterations=1,
    )
    return tf.bitwise.bitwise_xor(registers[0], np.int64(0xFFFFFFFF))


@functools.cache
def _crc32_tables():
    """What the CRC-32's register becomes, int64.

    Returns:
      `[256]`: from zero through one byte. `[31, 4, 8]`: entry `[k, j, b]` is
      what bit b of byte j of the register becomes through 2**k zeros.
    """
    # zlib inverts the register before and after, which the difference of two values cancels.
    first_byte = np.array([zlib.crc32(bytes([b])) ^ zlib.crc32(b"\0") for b in range(256)], np.int64)
    registers = np.arange(256) << 8 * np.arange(4)[:, np.newaxis]
    tables = [registers >> 8 ^ first_byte[registers & 255]]
    while len(tables) < 31:
        once = tables[-1]
        twice = [once[j][once >> 8 * j & 255] for j in range(4)]
        tables.append(np.bitwise_xor.reduce(twice))
    return first_byte, np.stack(tables)[..., 2 ** np.arange(8)]


def crc8(payload, lengths):
    """CRC-8/GSM-A of consecutive runs of bytes: uint8 `[bytes]`, int32 `[n]` to int32 `[n]`."""
    exponents, logarithms = _field()
    count = tf.size(lengths)
    ends = tf.cumsum(lengths)
    segments = tf.repeat(tf.range(count), lengths)
    # A byte's share is its value times x to the power of the bits up to the end of its run.
    bits = 8 * ((tf.gather(ends, segments) - tf.range(tf.size(payload))) % 255)
    value = tf.cast(payload, tf.int32)
    power = (tf.gather(tf.constant(logarithms), value) + bits) % 255
    share = tf.where(tf.equal(value, 0), 0, tf.gather(tf.constant(exponents), power))
    # There is no exclusive-or over segments, but the parity of a sum is one.
    shares = tf.bitwise.right_shift(share[:, tf.newaxis], np.arange(8, dtype=np.int32)) & 1
    parities = tf.math.unsorted_segment_sum(shares, segments, count) & 1
    return tf.reduce_sum(tf.bitwise.left_shift(parities, np.arange(8, dtype=np.int32)), 1)


@functools.cache
def _field():
    """Powers of x modulo x⁸ + x⁴ + x³ + x² + 1, int32 `[255]`, and their inverse `[256]`."""
    exponents, value = np.empty(255, np.int32), 1
    for power in range(255):
        exponents[power] = value
        value = value << 1 ^ (0x11D if value & 0x80 else 0)
    logarithms = np.zeros(256, np.int32)
    logarithms[exponents] = np.arange(255)
    return exponents, logarithms


def _write_table(lengths, checksums):
    """The slice table: int32 `[n]` twice to uint8 `[bytes]`."""
    groups = tf.bitwise.right_shift(lengths[:, tf.newaxis], np.array([0, 7, 14, 21], np.int32))
    more = groups >= 128
    groups = groups & 127 | tf.where(more, 128, 0)
    needed = tf.concat([tf.ones_like(more[:, :1]), more[:, :-1]], 1)
    entries = tf.concat([groups, checksums[:, tf.newaxis]], 1)
    needed = tf.concat([needed, tf.ones_like(more[:, :1])], 1)
    return tf.cast(tf.boolean_mask(entries, needed), tf.uint8)


def _read_table(padded, start, stop, number):
    """Reads the slice table.

    Args:
      padded: uint8, the file and at least four bytes more.
      start: Where the table begins.
      stop: Where the table ends at the latest.
      number: Slices.

    Returns:
      Lengths and checksums, int32 `[number]`, and where the slices begin.
    """
    message = "The file is cut off within its slice table, or its size is wrong."
    fits = number <= (stop - start) // 2
    stop, number = require(fits, message, (stop, number))
    limit = tf.minimum(stop - start, 5 * number)
    window = tf.cast(padded[start : start + limit + 4], tf.int32)
    groups = tf.stack([window[k : limit + k] for k in range(4)], 1)
    more = tf.math.cumprod(tf.cast(groups >= 128, tf.int32), axis=1)
    sizes = tf.minimum(1 + tf.reduce_sum(more, 1), 4)
    # Each entry says where the next one begins: following 1, 2, 4, … of them at once finds all.
    # Past the window begins nothing, and `limit + 1` stands for that.
    following = tf.range(limit) + sizes + 1
    following = tf.where(following <= limit, following, limit + 1)
    following = tf.concat([following, [limit + 1, limit + 1]], 0)

    def double(begins, jump):
        return tf.concat([begins, tf.gather(jump, begins)], 0), tf.gather(jump, jump)

    begins, _ = tf.while_loop(
        lambda begins, jump: tf.size(begins) < number,
        double,
        (tf.zeros([1], tf.int32), following),
        shape_invariants=(tf.TensorShape([None]), tf.TensorShape([None])),
        parallel_iterations=1,
    )
    begins = begins[:number]
    end = tf.gather(following, begins[-1])
    begins, end = require(end <= limit, message, (begins, end))

    sizes = tf.gather(sizes, begins)
    entries = tf.gather(groups, begins)
    used = tf.range(4) < sizes[:, tf.newaxis]
    digits = tf.where(used, entries & 127, 0)
    lengths = tf.reduce_sum(tf.bitwise.left_shift(digits, np.array([0, 7, 14, 21], np.int32)), 1)
    last = tf.gather(entries, sizes - 1, batch_dims=1)
    shortest = (last < 128) & ((last > 0) | tf.equal(sizes, 1))
    message = "A length in the slice table of the file is not valid."
    lengths = require(tf.reduce_all(shortest), message, lengths)
    return lengths, tf.gather(window, begins + sizes), start + end


def _constant_bytes(data):
    return tf.constant(np.frombuffer(data, np.uint8))


def _little_endian(value, count):
    """Scalar int to uint8 `[count]`."""
    shifts = tf.range(0, 8 * count, 8, dtype=value.dtype)
    return tf.cast(tf.bitwise.right_shift(value, shifts) & 255, tf.uint8)


def _read_little_endian(data):
    """uint8 `[n]` to int64 `[]`, unsigned."""
    data = tf.cast(data, tf.int64)
    return tf.reduce_sum(tf.bitwise.left_shift(data, tf.range(0, 8 * tf.size(data, tf.int64), 8)))


def _ceil_div(value, divisor):
    return (value + divisor - 1) // divisor
