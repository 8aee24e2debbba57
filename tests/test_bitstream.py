"""The file: what is packed is unpacked, and nothing else is."""

import dataclasses
import itertools
import struct
import zlib

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from balle2017.container import bitstream, flipped_bit
from balle2017.container.bitstream import Bitstream, BitstreamError, DamagedError


def example(**changes):
    fields = dict(
        model="bls2017-mse-4",
        fingerprint=0xDEADBEEF,
        width=100,
        height=50,
        channels=3,
        slice_length=9,
        slices=[b"first", b"", b"x" * 200, b"\x00\x01\x02"],
    )
    fields.update(changes)
    return Bitstream(**fields)


def sealed(body):
    """Bytes with a checksum that agrees: what an attacker can always make."""
    return body + struct.pack("<I", zlib.crc32(body))


@st.composite
def bitstreams(draw):
    width = draw(st.integers(1, 300))
    height = draw(st.integers(1, 300))
    positions = -(-width // 16) * -(-height // 16)
    slice_length = draw(st.integers(max(1, positions // 20), 65535))
    count = -(-positions // slice_length)
    return Bitstream(
        model=draw(st.from_regex(r"\A[a-z0-9][a-z0-9._-]{0,254}\Z")),
        fingerprint=draw(st.integers(0, 2**32 - 1)),
        width=width,
        height=height,
        channels=draw(st.sampled_from([1, 3])),
        slice_length=slice_length,
        slices=draw(st.lists(st.binary(max_size=300), min_size=count, max_size=count)),
        metadata=draw(st.dictionaries(st.sampled_from(["EXIF", "ICCP", "XMP "]), st.binary(max_size=50))),
    )


@given(bitstreams())
def test_what_is_packed_is_unpacked(contents):
    data = bitstream.pack(contents)
    assert bitstream.unpack(data) == contents
    header = bitstream.read_header(data[:274])
    assert header == dataclasses.replace(contents, slices=[], metadata={})


def test_layout_is_as_specified():
    data = bitstream.pack(example(metadata={"XMP ": b"<x/>"}))
    header = b"\x89B17" + b"\x01" + b"\x0b" + b"\xef\xbe\xad\xde" + b"\x64\0\0" + b"\x32\0\0"
    header += b"\x09\0" + b"\x0d" + b"bls2017-mse-4"
    # CRC-8/GSM-A of the four slices, from its definition.
    table = bytes([5, crc8(b"first"), 0, 0, 0xC8, 0x01, crc8(b"x" * 200), 3, crc8(b"\0\1\2")])
    slices = b"first" + b"x" * 200 + b"\0\1\2"
    metadata = b"\x0c\0\0\0" + b"XMP " + b"\x04\0\0\0" + b"<x/>"
    assert data == sealed(header + table + slices + metadata)


def crc8(data):
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1) ^ (0x11D if crc & 0x80 else 0)
    return crc


def test_header_costs_at_most_24_bytes_and_the_name():
    one_slice = example(width=16, height=16, slices=[b""])
    assert len(bitstream.pack(one_slice)) - 2 <= 24 + len(one_slice.model)


@pytest.mark.parametrize(
    "changes",
    [
        dict(width=0),
        dict(height=2**24),
        dict(channels=2),
        dict(slice_length=0),
        dict(model=""),
        dict(model="../elsewhere"),
        dict(model="é"),
        dict(slices=[b""]),
        dict(metadata={"TOO LONG": b""}),
    ],
)
def test_pack_refuses_what_the_format_cannot_hold(changes):
    with pytest.raises(ValueError):
        bitstream.pack(example(**changes))


def test_every_truncation_is_an_error():
    data = bitstream.pack(example(metadata={"EXIF": b"II*\0"}))
    for length in range(len(data)):
        with pytest.raises(BitstreamError):
            bitstream.unpack(data[:length])


def test_every_flipped_bit_is_found_and_put_right():
    contents = example(metadata={"EXIF": b"II*\0"})
    data = bitstream.pack(contents)
    for bit in range(8 * len(data)):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BitstreamError):
            bitstream.unpack(bytes(broken))
        assert bitstream.salvage(bytes(broken))[:2] == (contents, [])


def test_damaged_slices_are_named_and_the_others_recovered():
    contents = example()
    data = bitstream.pack(contents)
    where = data.index(b"x" * 200)
    broken = data[:where] + b"y" * 7 + data[where + 7 :]
    with pytest.raises(DamagedError, match="slice 3 of 4") as error:
        bitstream.unpack(broken)
    assert error.value.slices == (2,)
    recovered, lost, cause = bitstream.salvage(broken)
    assert lost == [2] and "slice 3" in cause
    assert recovered.slices == [b"first", b"", None, b"\0\1\2"]


def test_a_truncated_file_gives_its_first_slices():
    data = bitstream.pack(example())
    recovered, lost, _ = bitstream.salvage(data[:-20])
    assert recovered.slices == [b"first", b"", None, None]
    assert lost == [2, 3]
    with pytest.raises(DamagedError, match="cut off within slice 3 of 4"):
        bitstream.unpack(data[:-20])


def test_salvage_says_when_nothing_is_left():
    data = bitstream.pack(example(width=16, height=16, slices=[b"abc"]))
    with pytest.raises(BitstreamError, match="Nothing"):
        bitstream.salvage(data[:-5])
    with pytest.raises(BitstreamError):
        bitstream.salvage(b"")


def test_trailing_bytes_are_an_error():
    with pytest.raises(DamagedError, match="3 bytes after its end"):
        bitstream.unpack(bitstream.pack(example()) + b"abc")


@pytest.mark.parametrize(
    "data, message",
    [
        (b"", "empty"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, "not a .tfci file"),
        (b"\x89B17", "cut off within its header"),
        (b"\x89B17\x02", "format version 2"),
    ],
)
def test_foreign_files_are_told_apart(data, message):
    with pytest.raises(BitstreamError, match=message):
        bitstream.unpack(data)


@pytest.mark.parametrize(
    "position, value, message",
    [
        (5, b"\x02", "2 colour channels"),
        (5, b"\x13", "features"),
        (10, b"\0\0\0", "sides"),
        (10, b"\xff\xff\xff", "slice table"),
        (16, b"\0\0", "slice length"),
        (19, b"../", "name"),
        (32, b"\x85\x00", "length in the slice table"),
        (32, b"\xff\xff\xff\xff", "length in the slice table"),
        (32, b"\xff\xff\xff\x7f", "cut off within slice 1 of 4"),
    ],
)
def test_lies_with_a_valid_checksum_are_refused(position, value, message):
    body = bytearray(bitstream.pack(example())[:-4])
    body[position : position + len(value)] = value
    with pytest.raises(BitstreamError, match=message):
        bitstream.unpack(sealed(bytes(body)))


def test_metadata_lengths_that_lie_are_refused():
    data = bitstream.pack(example(metadata={"EXIF": b"abcd", "ICCP": b"efgh"}))
    where = data.index(b"EXIF") - 4
    for position in (where, where + 8, where + 20):
        for value in (0, 3, 2**31, 2**32 - 1):
            body = bytearray(data[:-4])
            body[position : position + 4] = struct.pack("<I", value)
            with pytest.raises(BitstreamError):
                bitstream.unpack(sealed(bytes(body)))
    body = data[:-4].replace(b"ICCP", b"EXIF")
    with pytest.raises(BitstreamError, match="tags"):
        bitstream.unpack(sealed(body))


@pytest.mark.parametrize("length", [40, 5000, 300_000])
def test_a_flipped_bit_is_found_wherever_it_is(length):
    message = np.random.default_rng(length).bytes(length)
    checksum = zlib.crc32(message)
    places = {0, 1, length // 2, length - 1, 511 % length, 512 % length}
    for place, bit in itertools.product(sorted(places), (0, 3, 7)):
        broken = bytearray(message)
        broken[place] ^= 1 << bit
        behind = 8 * (length - 1 - place) + 7 - bit
        assert flipped_bit.find(zlib.crc32(broken) ^ checksum, 8 * length) == behind
        # Another message is too short for it, or no longer than needed.
        assert flipped_bit.find(zlib.crc32(broken) ^ checksum, behind) is None
        broken[place] ^= 1 << (bit + 1) % 8
        assert flipped_bit.find(zlib.crc32(broken) ^ checksum, 8 * length) is None
