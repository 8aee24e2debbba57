"""Orientations in every format that carries one: as `ImageOps.exif_transpose` has them, and once only."""

import io

import numpy as np
from PIL import Image, ImageOps
import pytest

from balle2017.pictures import formats, images, streamed

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
        picture().save(file, format, **SAVED[name], **options)
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
