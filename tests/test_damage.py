"""Damaged picture files: what Pillow itself refuses to load is refused, whatever is asked of the file."""

import io

import numpy as np
from PIL import Image
import pytest

from balle2017.pictures import images, streamed
from balle2017.pictures.images import ImageError

SAVED = {
    "PNG": {},
    "JPEG": {"quality": 90},
    "TIFF": {},
    "TIFF deflate": {"compression": "tiff_adobe_deflate"},
    "TIFF LZW": {"compression": "tiff_lzw"},
    "WEBP": {"lossless": True},
    "WEBP lossy": {},
    "GIF": {},
    "BMP": {},
    "AVIF": {},
    "JPEG2000": {},
    "PPM": {},
    "TGA": {"compression": "tga_rle"},
    "PCX": {},
    "SGI": {},
    "ICO": {"sizes": [(96, 96)]},
    "ICNS": {},
    "DDS": {},
    "IM": {},
    "QOI": {},
    "MPO": {},
}


def picture(height=96, width=96):
    """Something between a photograph and noise, so that every byte of its file counts."""
    random = np.random.default_rng(3)
    pixels = np.linspace(0, 200, width)[None, :, None] + random.integers(0, 56, [height, width, 3])
    return Image.fromarray(pixels.astype(np.uint8))


def flipped(data):
    """Copies of a file with a bit in another place each."""
    for index in range(len(data) // 60, len(data), len(data) // 48):
        damaged = bytearray(data)
        damaged[index] ^= 0x40
        yield bytes(damaged)


def loads(data):
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
        return True
    except Exception:
        return False


def reads(data, **options):
    try:
        images.read(data if isinstance(data, str) else io.BytesIO(data), **options)
        return True
    except ImageError:
        return False


@pytest.mark.parametrize("name", SAVED)
def test_what_pillow_refuses_is_refused(name):
    format = name.partition(" ")[0]
    Image.init()
    if format not in Image.SAVE:
        pytest.skip(f"This Pillow writes no {format}.")
    file = io.BytesIO()
    try:
        picture().save(file, format, **SAVED[name])
    except (OSError, KeyError) as error:
        pytest.skip(str(error))
    assert reads(file.getvalue())
    refused = [data for data in flipped(file.getvalue()) if not loads(data)]
    for data in refused:
        assert not reads(data)
        assert not reads(data, keep_metadata=True)
    if format == "PNG":
        # Its checksums find every flip.
        assert len(refused) >= 45


def test_a_damaged_file_with_orientation_is_refused():
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    picture().save(file, "PNG", exif=exif)
    assert not any(reads(data) for data in flipped(file.getvalue()) if not loads(data))


@pytest.mark.parametrize("name", ["large.png", "large.jpg"])
def test_what_pillow_refuses_is_refused_in_bands(name, tmp_path, monkeypatch):
    monkeypatch.setattr(streamed, "LARGE_PIXELS", 100)
    path = str(tmp_path / name)
    picture().save(path)
    with open(path, "rb") as file:
        data = file.read()
    ends = [data[: len(data) * part // 10] for part in range(4, 10)] + [data[:-12], data[:-1]]
    for damaged in [*flipped(data), *ends]:
        with open(path, "wb") as file:
            file.write(damaged)
        found = streamed.read(path)
        try:
            (images.read(path) if found is None else found).pixels[:]
            ended = True
        except ImageError:
            ended = False
        assert loads(damaged) or not ended
