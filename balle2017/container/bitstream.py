"""The `.tfci` file, version 1: between a picture's coded latents and bytes.

This is the whole of the format (`docs/format.md` specifies it byte by byte).
It knows neither TensorFlow nor models: slices are opaque bytes here. Of the network
it knows how many pixels a latent stands for.
"""

import dataclasses
import re
import struct
from typing import Optional
import zlib

import fastcrc

from balle2017.container import flipped_bit
from balle2017.model.network import STRIDE

MAGIC = b"\x89B17"
VERSION = 1
MAX_SIZE = 2**24 - 1
# Larger pictures are refused, by servers and unless told otherwise by commands: where Pillow, too, refuses a
# file as an attack on memory.
MAX_PIXELS = 2 * (2**30 // 12)

# What `salvage` says of files whose header is certain.
NOT_DAMAGED = "The file is not damaged."
PUT_RIGHT = "One bit was wrong, and is put right."

_FIXED = struct.Struct("<4sBBI3s3sHB")
_HAS_METADATA = 0x08
_CHANNELS = 0x07
_MAX_VARINT_BYTES = 4
# A name is looked up as a folder, so it must not be able to name any other.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}", re.ASCII)


class BitstreamError(ValueError):
    """The bytes are not a `.tfci` file that this version can read; the message says why."""


class DamagedError(BitstreamError):
    """The bytes were a `.tfci` file once, but a checksum does not agree.

    Attributes:
      slices: Indices of the damaged slices; empty if the damage is elsewhere.
    """

    def __init__(self, message, slices=()):
        super().__init__(message)
        self.slices = tuple(slices)


@dataclasses.dataclass
class Bitstream:
    """The contents of a file.

    Attributes:
      model: Name of the model that coded it.
      fingerprint: CRC-32 of the model's decoder, uint32.
      width, height: Size of the picture, 1 … 2²⁴ − 1.
      channels: 3 (RGB) or 1 (grayscale).
      slice_length: Latent positions in a slice, 1 … 65535.
      slices: Range coder strings in raster order; `None` for a slice that is
        lost (only from `salvage`).
      metadata: Bytes by four-character tag: `EXIF` (a TIFF structure), `ICCP`
        (an ICC profile), `XMP ` (an XML packet).
    """

    model: str
    fingerprint: int
    width: int
    height: int
    channels: int
    slice_length: int
    slices: list[Optional[bytes]]
    metadata: dict[str, bytes] = dataclasses.field(default_factory=dict)

    @property
    def latent_size(self) -> tuple[int, int]:
        """Height and width of the latents."""
        return -(-self.height // STRIDE), -(-self.width // STRIDE)

    @property
    def num_positions(self) -> int:
        """Number of latent positions of all slices."""
        height, width = self.latent_size
        return height * width

    @property
    def num_slices(self) -> int:
        """The number of slices that a picture of this size has."""
        return -(-self.num_positions // self.slice_length)


def pack(bitstream: Bitstream) -> bytes:
    """Writes a `Bitstream` as the bytes of a file.

    Raises:
      ValueError: If a field is out of its range.
    """
    b = bitstream
    _check_header(b, ValueError)
    if len(b.slices) != b.num_slices:
        raise ValueError(f"{b.num_slices} slices expected, {len(b.slices)} given.")
    if any(len(tag) != 4 or not tag.isascii() for tag in b.metadata):
        raise ValueError("Metadata tags have four ASCII characters.")
    sections = [struct.pack("<4sI", tag.encode("ascii"), len(value)) + value for tag, value in b.metadata.items()]
    flags = b.channels | (_HAS_METADATA if sections else 0)
    name = b.model.encode("ascii")
    parts = [
        _FIXED.pack(
            MAGIC,
            VERSION,
            flags,
            b.fingerprint,
            b.width.to_bytes(3, "little"),
            b.height.to_bytes(3, "little"),
            b.slice_length,
            len(name),
        ),
        name,
    ]
    parts += [_varint(len(s)) + bytes([fastcrc.crc8.gsm_a(s)]) for s in b.slices]
    parts += b.slices
    if sections:
        parts += [struct.pack("<I", sum(map(len, sections))), *sections]
    body = b"".join(parts)
    return body + struct.pack("<I", zlib.crc32(body))


def read_header(data: bytes) -> Bitstream:
    """Reads the header only: a `Bitstream` without slices and metadata.

    No checksum is looked at. The first 274 bytes of a file suffice.

    Raises:
      BitstreamError: If it is no header of this version.
    """
    return _read_header(data)[0]


def unpack(data: bytes) -> Bitstream:
    """Reads a whole file, and believes none of it before its checksums agree.

    Raises:
      DamagedError: If a checksum does not agree; it names the damaged slices.
      BitstreamError: If it is no file of this version, cut off, or too long.
    """
    bitstream, end = _read_header(data)
    intact = len(data) >= end + 4 and zlib.crc32(data[:-4]) == _uint32(data, len(data) - 4)
    try:
        table, start = _read_table(data, end, bitstream.num_slices)
        bitstream.slices, lost, position = _read_slices(data, table, start, len(data) - 4)
        if not lost:
            if _uses_metadata(data):
                bitstream.metadata, position = _read_metadata(data, position)
            if position + 4 > len(data):
                raise BitstreamError("The file is cut off.")
            if position + 4 < len(data):
                raise BitstreamError(f"The file goes on for {len(data) - position - 4} bytes after its end.")
    except BitstreamError as error:
        if intact:
            raise
        # Which end is missing or too long cannot be told from a damaged table.
        raise DamagedError(f"The file is damaged: {_lower(error)}") from None
    if lost:
        raise DamagedError(f"The file is damaged in {_list_slices(lost)} of {bitstream.num_slices}.", lost)
    if not intact:
        raise DamagedError("The file is damaged outside of its slices.")
    return bitstream


def salvage(data: bytes) -> tuple[Bitstream, list[int], str]:
    """Reads what can be read of a damaged file.

    A single flipped bit, wherever it is, is found through the CRC-32 and put
    right. Otherwise each slice whose own checksum agrees is kept.

    Returns:
      The `Bitstream` (lost slices are `None`), the indices of lost slices, and
      one sentence for the user that says what was wrong.

    Raises:
      BitstreamError: If header or slice table cannot be read.
    """
    try:
        return unpack(data), [], NOT_DAMAGED
    except BitstreamError as error:
        cause = str(error)
    repaired = _repair_bit(data)
    if repaired is not None:
        return repaired, [], PUT_RIGHT
    bitstream, end = _read_header(data)
    table, start = _read_table(data, end, bitstream.num_slices)
    bitstream.slices, lost, position = _read_slices(data, table, start, len(data), partial=True)
    if len(lost) == bitstream.num_slices:
        raise DamagedError("Nothing in the file can be recovered.", lost)
    if _uses_metadata(data):
        try:
            bitstream.metadata, _ = _read_metadata(data, position)
        except BitstreamError:
            bitstream.metadata = {}
    return bitstream, lost, cause


def is_name(text: str) -> bool:
    """Whether a model can be called so."""
    return bool(_NAME.fullmatch(text))


def _check_header(b, error):
    if b.channels not in (1, 3):
        raise error(f"{b.channels} colour channels are not supported, only 1 and 3.")
    if not (1 <= b.width <= MAX_SIZE and 1 <= b.height <= MAX_SIZE):
        raise error(f"A picture of {b.width}×{b.height} cannot be stored: sides go from 1 to {MAX_SIZE}.")
    if not 1 <= b.slice_length <= 65535:
        raise error(f"A slice length of {b.slice_length} is not possible.")
    if not is_name(b.model):
        raise error("The model's name must be 1 to 255 ASCII letters, digits, dots, dashes and underscores.")


def _read_header(data):
    """Returns the bitstream so far, and where the slice table begins."""
    if not data:
        raise BitstreamError("The file is empty.")
    if data[:4] != MAGIC[: len(data)]:
        raise BitstreamError("This is not a .tfci file of balle2017.")
    if len(data) > 4 and data[4] != VERSION:
        raise BitstreamError(f"The file has format version {data[4]}, which this version of balle2017 cannot read.")
    if len(data) < _FIXED.size:
        raise BitstreamError("The file is cut off within its header.")
    _, _, flags, fingerprint, width, height, slice_length, length = _FIXED.unpack_from(data)
    name = data[_FIXED.size : _FIXED.size + length]
    if len(name) < length:
        raise BitstreamError("The file is cut off within its header.")
    if flags & ~(_CHANNELS | _HAS_METADATA):
        raise BitstreamError("The file uses features that this version of balle2017 does not know.")
    bitstream = Bitstream(
        model=name.decode("latin-1"),
        fingerprint=fingerprint,
        width=int.from_bytes(width, "little"),
        height=int.from_bytes(height, "little"),
        channels=flags & _CHANNELS,
        slice_length=slice_length,
        slices=[],
    )
    _check_header(bitstream, BitstreamError)
    return bitstream, _FIXED.size + length


def _uses_metadata(data):
    return bool(data[5] & _HAS_METADATA)


def _read_table(data, position, count):
    """Returns `(length, crc)` of each slice, and where the slices begin."""
    # Each entry takes two bytes at least: a count that lies allocates nothing.
    if 2 * count > len(data) - position:
        raise BitstreamError("The file is cut off within its slice table, or its size is wrong.")
    table = []
    for _ in range(count):
        length, position = _read_varint(data, position)
        if position >= len(data):
            raise BitstreamError("The file is cut off within its slice table.")
        table.append((length, data[position]))
        position += 1
    return table, position


def _read_slices(data, table, position, limit, partial=False):
    """Returns slices (`None`: damaged), indices of the damaged, and where they end."""
    slices, lost = [], []
    for index, (length, crc) in enumerate(table):
        end = position + length
        if end > limit and not partial:
            raise BitstreamError(f"The file is cut off within slice {index + 1} of {len(table)}.")
        content = data[position:end]
        if end <= limit and fastcrc.crc8.gsm_a(content) == crc:
            slices.append(content)
        else:
            slices.append(None)
            lost.append(index)
        position = end
    return slices, lost, position


def _read_metadata(data, position):
    end = len(data) - 4
    if position + 4 > end:
        raise BitstreamError("The file is cut off before its metadata.")
    stop = position + 4 + _uint32(data, position)
    position += 4
    if stop > end:
        raise BitstreamError("The file is cut off within its metadata.")
    if position == stop:
        raise BitstreamError("The metadata is announced, but empty.")
    metadata = {}
    while position < stop:
        if position + 8 > stop:
            raise BitstreamError("The metadata's lengths contradict each other.")
        tag = data[position : position + 4].decode("latin-1")
        length = _uint32(data, position + 4)
        position += 8
        if position + length > stop:
            raise BitstreamError("The metadata's lengths contradict each other.")
        if not tag.isascii() or tag in metadata:
            raise BitstreamError("The metadata's tags are not valid.")
        metadata[tag] = data[position : position + length]
        position += length
    return metadata, position


def _repair_bit(data):
    """Puts one flipped bit right; `None` if it is not one flipped bit that is wrong."""
    if len(data) < _FIXED.size + 4:
        return None
    syndrome = zlib.crc32(data[:-4]) ^ _uint32(data, len(data) - 4)
    if syndrome & (syndrome - 1) == 0:
        # A single bit of difference can only come from the checksum itself.
        return _try_unpack(data[:-4] + struct.pack("<I", zlib.crc32(data[:-4])))
    behind = flipped_bit.find(syndrome, 8 * (len(data) - 4))
    if behind is None:
        return None
    fixed = bytearray(data)
    fixed[len(data) - 5 - behind // 8] ^= 0x80 >> behind % 8
    return _try_unpack(bytes(fixed))


def _try_unpack(data):
    try:
        return unpack(data)
    except BitstreamError:
        return None


def _varint(value):
    """Unsigned LEB128, in its shortest form."""
    if value >= 1 << (7 * _MAX_VARINT_BYTES):
        raise ValueError(f"A slice of {value} bytes is too long for the format.")
    out = bytearray()
    while value >= 0x80:
        out.append(0x80 | value & 0x7F)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(data, position):
    value = 0
    for index in range(_MAX_VARINT_BYTES):
        if position + index >= len(data):
            raise BitstreamError("The file is cut off within its slice table.")
        byte = data[position + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            if byte == 0 and index > 0:
                break
            return value, position + index + 1
    raise BitstreamError("A length in the slice table is not valid.")


def _uint32(data, position):
    return struct.unpack_from("<I", data, position)[0]


def _list_slices(indices):
    """For people, so counted from 1: `slices 3, 7 and 8`."""
    shown = [str(i + 1) for i in indices[:5]]
    if len(indices) > 5:
        shown.append(f"{len(indices) - 5} more")
    if len(shown) == 1:
        return f"slice {shown[0]}"
    return f"slices {', '.join(shown[:-1])} and {shown[-1]}"


def _lower(error):
    text = str(error)
    return text[0].lower() + text[1:]
