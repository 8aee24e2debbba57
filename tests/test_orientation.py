"""Orientations in every format that carries one: as `ImageOps.exif_transpose` has them, and once only."""

import io

import numpy as np
from PIL import Image, ImageOps
import pytest

from balle2017.pictures import formats, images, jxl, streamed

SAVED = {
    "JPEG": {"quality": 100},
    "PNG": {},
    "TIFF": {},
    "TIFF deflate": {"compression": "tiff_adobe_deflate"},
    "TIFF of two pages": {},
    "WEBP": {"lossless": True},
    "AVIF": {"quality": 100},
    "MPO": {"quality": 100},
    "HEIF": {"quality": -1},
    "JXL": {"lossless": True},
}


def picture():
    """Four fields of 32×24 pixels in different colours."""
    image = Image.new("RGB", (64, 48), "red")
    for place, colour in (((32, 0), "lime"), ((0, 24), "blue"), ((32, 24), "white")):
        image.paste(Image.new("RGB", (32, 24), colour), place)
    return image


def saved(name, **options):
    format = name.partition(" ")[0]
    Image.init()
    formats.load_plugins()
    if format not in Image.SAVE:
        pytest.skip(f"Nothing that is installed writes {format}.")
    if "pages" in name:
        options.update(save_all=True, append_images=[Image.new("RGB", (5, 5))])
    file = io.BytesIO()
    try:
        picture().save(file, format, **{**SAVED[name], **options})
    except KeyError as error:
        pytest.skip(f"This Pillow writes no {error}.")
    return file


def check(file, expected_size):
    expected = ImageOps.exif_transpose(Image.open(file))
    # What is expected is itself compared with the tag's meaning, as plugins turn pictures, too.
    assert expected.size == expected_size
    found = images.read(file, keep_metadata=True)
    np.testing.assert_array_equal(found.pixels, np.asarray(expected.convert("RGB")))
    exif = Image.Exif()
    exif.load(found.metadata.get("EXIF", b""))
    assert 0x0112 not in exif and b"Orientation" not in found.metadata.get("XMP ", b"")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", SAVED)
def test_eight_orientations(name, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    check(saved(name, exif=exif.tobytes()), (48, 64) if orientation > 4 else (64, 48))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_of_a_tiff_by_its_own_tags(orientation):
    check(saved("TIFF", tiffinfo={274: orientation}), (48, 64) if orientation > 4 else (64, 48))


@pytest.mark.parametrize("name", ["JPEG", "WEBP", "TIFF"])
def test_an_orientation_that_only_xmp_has(name):
    packet = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    )
    check(saved(name, **({"tiffinfo": {700: packet}} if name == "TIFF" else {"xmp": packet})), (48, 64))


def jxl_with_orientation(orientation):
    """A JPEG XL file, and its codestream with an orientation in place of the usual header."""
    data = saved("JXL", lossless=False, quality=90, exif=b"", use_container=False).getvalue()
    if data[:2] != b"\xff\x0a" or not data[2] & 1:
        pytest.skip("This encoder writes another header.")
    bits = [byte >> place & 1 for byte in data for place in range(8)]
    # Signature; height in eights and the ratio 4:3 of 64×48; of what follows, all is as usual.
    start = 16 + 1 + 5 + 3
    if bits[16:start] != [1, 1, 0, 1, 0, 0, 1, 1, 0] or bits[start] != 1:
        pytest.skip("This encoder writes another header.")
    header = [0, 1, *(orientation - 1 >> place & 1 for place in range(3)), *[0] * 4, 0, 0, 1, 0, 0, 1, 1, 1, 0, 0, 1]
    end = (start + 2 + 7) // 8 * 8
    changed = bits[:start] + header
    changed += [0] * (-len(changed) % 8) + bits[end:]
    return bytes(sum(bit << place for place, bit in enumerate(changed[i : i + 8])) for i in range(0, len(changed), 8))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_orientation_that_the_decoder_of_jpeg_xl_has_applied(orientation):
    data = jxl_with_orientation(orientation)
    assert jxl.orientation(data) == orientation
    exif = Image.Exif()
    exif[0x0112] = orientation
    box = bytes(4) + exif.tobytes().removeprefix(b"Exif\0\0")
    boxes = [(b"JXL ", b"\r\n\x87\n"), (b"ftyp", b"jxl \0\0\0\0jxl "), (b"Exif", box), (b"jxlc", data)]
    file = b"".join((8 + len(content)).to_bytes(4, "big") + kind + content for kind, content in boxes)
    assert jxl.orientation(file) == orientation
    with Image.open(io.BytesIO(file)) as image:
        assert image.getexif()[0x0112] == orientation
        expected = np.asarray(image.convert("RGB"))
    assert expected.shape[:2] == ((64, 48) if orientation > 4 else (48, 64))
    np.testing.assert_array_equal(images.read(io.BytesIO(file)).pixels, expected)


@pytest.mark.parametrize(
    "data, expected",
    [
        # 8×8 pixels; 100×300 in two lengths of numbers; all as usual; no orientation; none of it.
        (b"\xff\x0a" + (1 | 1 << 6 | 2 << 9 | 5 << 11).to_bytes(4, "little"), 6),
        (b"\xff\x0a" + (99 << 3 | 1 << 15 | 299 << 17 | 2 << 30 | 7 << 32).to_bytes(8, "little"), 8),
        (b"\xff\x0a" + (1 | 1 << 6 | 1 << 9).to_bytes(4, "little"), 1),
        (b"\xff\x0a" + (1 | 1 << 6).to_bytes(4, "little"), 1),
        (b"\xff\x0a", 1),
        (b"", 1),
        (b"\0\0\0\1jxlc", 1),
        (b"\0\0\0\0Exif", 1),
    ],
)
def test_headers_of_jpeg_xl(data, expected):
    assert jxl.orientation(data) == expected


def test_a_wrong_orientation_turns_nothing():
    exif = Image.Exif()
    exif[0x0112] = 9
    check(saved("JPEG", exif=exif), (64, 48))


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_of_a_large_picture(name, late, tmp_path, monkeypatch):
    monkeypatch.setattr(streamed, "LARGE_PIXELS", 100)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / name
    picture().save(path, exif=exif)
    if late and name == "a.png":
        # Some programs put what they add at the end.
        data = path.read_bytes()
        start = data.index(b"eXIf") - 4
        end = start + 12 + int.from_bytes(data[start : start + 4], "big")
        path.write_bytes(data[:start] + data[end:-12] + data[start:end] + data[-12:])
    assert streamed.read(path) is None
    check(io.BytesIO(path.read_bytes()), (48, 64))
