"""`.tfci` files: what they hold, and ones that lie."""

import struct
import zlib

from balle2017.container import bitstream


def coded_latents(model, pixels):
    """What the decoder gets to see: inactive channels have their constants."""
    return model.decode_latents(bitstream.unpack(model.compress(pixels)))


def sealed(body):
    return body + struct.pack("<I", zlib.crc32(body))


def lying_header(width, height, slice_length, rest):
    name = b"tiny-1"
    fixed = b"\x89B17\x01\x03" + bytes(4) + width.to_bytes(3, "little") + height.to_bytes(3, "little")
    return sealed(fixed + struct.pack("<HB", slice_length, len(name)) + name + rest)
