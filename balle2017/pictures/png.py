"""PNG files written from top to bottom (Portable Network Graphics, third edition, W3C 2025).

Pillow needs a whole picture to write one; this needs a few of its rows.
"""

import struct
import zlib

import numpy as np

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {1: 0, 3: 2}
_LEVEL = 3
_CHUNK = 2**16
# Pixels whose filters are chosen at once.
_PIXELS = 2**18


def write(target, shape, bands, metadata):
    """Writes a PNG file.

    Args:
      target: Binary file object.
      shape: `(height, width, channels)`, 3 channels or 1.
      bands: Iterable of uint8 `[rows, width, channels]`, from top to bottom.
      metadata: Bytes by tag, as in `container.bitstream`.
    """
    height, width, channels = shape
    target.write(_SIGNATURE)
    _chunk(target, b"IHDR", struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0))
    if "ICCP" in metadata:
        _chunk(target, b"iCCP", b"ICC Profile\0\0" + zlib.compress(metadata["ICCP"]))
    if "EXIF" in metadata:
        _chunk(target, b"eXIf", metadata["EXIF"])
    if "XMP " in metadata:
        _chunk(target, b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + metadata["XMP "])
    packer = zlib.compressobj(_LEVEL)
    waiting = bytearray()
    for rows in _filtered_rows(bands, width, channels):
        waiting += packer.compress(rows)
        while len(waiting) >= _CHUNK:
            _chunk(target, b"IDAT", waiting[:_CHUNK])
            del waiting[:_CHUNK]
    _chunk(target, b"IDAT", waiting + packer.flush())
    _chunk(target, b"IEND", b"")


def _chunk(target, name, content):
    target.write(struct.pack(">I", len(content)) + name)
    target.write(content)
    target.write(struct.pack(">I", zlib.crc32(content, zlib.crc32(name))))


def _filtered_rows(bands, width, channels):
    """Yields successive rows, each with the number of its filter before it."""
    above = np.zeros([1, width * channels], np.uint8)
    step = max(1, _PIXELS // width)
    for band in bands:
        band = band.reshape(len(band), width * channels)
        for top in range(0, len(band), step):
            rows = band[top : top + step]
            yield _filtered(rows, np.concatenate([above, rows[:-1]]), channels)
            above = rows[-1:]


def _filtered(rows, above, channels):
    """Each row by the filter (section 9.2) that leaves the least absolute sum (section 12.7)."""
    left, corner = (np.pad(a, [(0, 0), (channels, 0)])[:, :-channels] for a in (rows, above))
    wide_left, wide_above, wide_corner = (a.astype(np.int16) for a in (left, above, corner))
    average = (wide_left + wide_above) // 2
    to_left = np.abs(wide_above - wide_corner)
    to_above = np.abs(wide_left - wide_corner)
    to_corner = np.abs(wide_left + wide_above - 2 * wide_corner)
    paeth = np.where(
        (to_left <= to_above) & (to_left <= to_corner),
        left,
        np.where(to_above <= to_corner, above, corner),
    )
    candidates = [rows, rows - left, rows - above, rows - average.astype(np.uint8), rows - paeth]
    # Differences wrap around: 255 is as small as 1.
    sums = [np.minimum(c, -c).sum(1, dtype=np.int64) for c in candidates]
    best = np.argmin(sums, 0).astype(np.uint8)
    out = np.empty([len(rows), 1 + rows.shape[1]], np.uint8)
    out[:, 0] = best
    for number, candidate in enumerate(candidates):
        out[best == number, 1:] = candidate[best == number]
    return out
