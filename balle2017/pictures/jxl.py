"""The orientation that a JPEG XL codestream has itself (ISO/IEC 18181-1, annex D).

Its decoder turns the pixels; the orientation that EXIF data beside it repeat then says nothing more.
"""

_SIGNATURE = b"\xff\x0a"


def orientation(data):
    """The orientation (1–8, as in EXIF) of the codestream in a file's bytes; 1 if there is none."""
    bits = _bits(_codestream(data)[2:40])
    try:
        small = next(bits)
        # Height, ratio, and width if the ratio does not say it.
        _size(bits, small)
        if _number(bits, 3) == 0:
            _size(bits, small)
        if next(bits) or not next(bits):
            return 1
        return 1 + _number(bits, 3)
    except StopIteration:
        return 1


def _codestream(data):
    """The beginning of the codestream, which may stand in a container of boxes (ISO/IEC 18181-2)."""
    start = 0
    while not data.startswith(_SIGNATURE) and start + 8 <= len(data):
        size, kind = int.from_bytes(data[start : start + 4], "big"), data[start + 4 : start + 8]
        header = 16 if size == 1 else 8
        if kind in (b"jxlc", b"jxlp"):
            return data[start + header + (4 if kind == b"jxlp" else 0) :]
        size = int.from_bytes(data[start + 8 : start + 16], "big") if size == 1 else size
        if size < header:
            return b""
        start += size
    return data


def _bits(data):
    """From the least significant of each byte on."""
    return (byte >> place & 1 for byte in data for place in range(8))


def _number(bits, count):
    return sum(next(bits) << place for place in range(count))


def _size(bits, small):
    _number(bits, 5 if small else (9, 13, 18, 30)[_number(bits, 2)])
