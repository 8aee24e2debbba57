"""Pillow with the format registered."""

import io

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

import balle2017.pillow  # noqa: F401
from balle2017 import codec
from test_codec import photograph


@pytest.fixture(autouse=True)
def installed(tiny_models_dir, monkeypatch):
    monkeypatch.setenv("BALLE2017_MODELS", str(tiny_models_dir))


def test_save_and_open(tmp_path):
    pixels = photograph(40, 60)
    path = tmp_path / "a.tfci"
    exif = Image.Exif()
    exif[0x0110] = "a camera"
    Image.fromarray(pixels).save(path, model="tiny-1", exif=exif, icc_profile=b"icc", xmp=b"<x/>")
    with Image.open(path) as image:
        assert (image.format, image.mode, image.size) == ("TFCI", "RGB", (60, 40))
        assert image.info["model"] == "tiny-1"
        assert image.info["icc_profile"] == b"icc" and image.info["xmp"] == b"<x/>"
        assert image.getexif()[0x0110] == "a camera"
        np.testing.assert_array_equal(np.asarray(image), codec.decompress(path.read_bytes()).pixels)
        # What Pillow does with every file.
        assert image.resize((30, 20)).size == (30, 20) and image.copy().mode == "RGB"


def test_grayscale_is_converted_and_other_modes_refused():
    file = io.BytesIO()
    Image.fromarray(photograph(20, 20)[:, :, 0]).save(file, "TFCI", model="tiny-1")
    assert Image.open(file).mode == "RGB"
    with pytest.raises(OSError, match="cannot write mode RGBA"):
        Image.new("RGBA", (5, 5)).save(io.BytesIO(), "TFCI", model="tiny-1")


def test_errors():
    with pytest.raises(ValueError, match="no model tiny-7"):
        Image.new("RGB", (5, 5)).save(io.BytesIO(), "TFCI", model="tiny-7")
    file = io.BytesIO()
    Image.new("RGB", (50, 50)).save(file, "TFCI", model="tiny-1")
    data = file.getvalue()
    with pytest.raises(OSError, match="damaged"):
        Image.open(io.BytesIO(data[:-9]))
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(b"\x89B" + data))
