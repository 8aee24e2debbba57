"""PNG files written in bands: Pillow reads back what went in."""

import io
import zlib

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
from PIL import Image
import pytest

from balle2017.pictures import images, png
from helpers.pictures import photograph, with_metadata


def written(pixels, edges=(), metadata=None):
    file = io.BytesIO()
    png.write(file, pixels.shape, np.split(pixels, edges), metadata or {})
    return file


@settings(deadline=None)
@given(st.data())
def test_any_picture_in_any_bands(data):
    height, width = data.draw(st.integers(1, 20)), data.draw(st.integers(1, 20))
    channels = data.draw(st.sampled_from([1, 3]))
    edges = sorted(data.draw(st.sets(st.integers(1, height))))
    kind = data.draw(st.integers(2, 256))
    seed = data.draw(st.integers(0, 99))
    pixels = np.random.default_rng(seed).integers(0, kind, [height, width, channels]).astype(np.uint8)
    with Image.open(written(pixels, edges)) as image:
        assert image.mode == ("RGB" if channels == 3 else "L")
        np.testing.assert_array_equal(np.asarray(image).reshape(pixels.shape), pixels)


@pytest.mark.parametrize("library", ["as installed", "zlib"])
def test_a_photograph_takes_no_more_than_from_pillow(library, monkeypatch):
    pixels = np.tile(photograph(300, 400), (2, 3, 1))
    # Many chunks.
    monkeypatch.setattr(png, "_CHUNK", 1000)
    if library == "zlib":
        monkeypatch.setattr(png, "deflate", zlib)
    file = written(pixels, [10, 333])
    with Image.open(file) as image:
        image.verify()
    np.testing.assert_array_equal(np.asarray(Image.open(file)), pixels)
    other = io.BytesIO()
    Image.fromarray(pixels).save(other, "PNG", compress_level=3)
    assert len(file.getvalue()) < 1.05 * len(other.getvalue())


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_filters(number, monkeypatch):
    monkeypatch.setattr(png, "_best_filter", lambda *_: number)
    for channels in (1, 3):
        pixels = np.random.default_rng(0).integers(0, 256, [40, 50, channels]).astype(np.uint8)
        with Image.open(written(pixels, [17])) as image:
            np.testing.assert_array_equal(np.asarray(image).reshape(pixels.shape), pixels)


@pytest.mark.parametrize("channels", [3, 1])
def test_metadata_are_those_that_pillow_writes(channels):
    metadata = images.read(with_metadata(), keep_metadata=True, keep_gps=True).metadata
    assert set(metadata) == {"EXIF", "ICCP", "XMP "}
    file = written(photograph(20, 30)[:, :, :channels], metadata=metadata)
    assert images.read(file, keep_metadata=True, keep_gps=True).metadata == metadata
