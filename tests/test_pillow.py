"""Pillow with the format registered."""

import copy
import gc
import io
import pickle
import warnings

import numpy as np
from PIL import Image, UnidentifiedImageError
import pytest

from balle2017 import codec
import balle2017.pillow  # noqa: F401
from helpers.pictures import DISPLAY_P3, gray_profile, photograph
from helpers.requirements import needs_tensorflow


@pytest.fixture(autouse=True)
def installed(tiny_models_dir, monkeypatch):
    monkeypatch.setenv("BALLE2017_MODELS", str(tiny_models_dir))


def test_save_and_open(tmp_path):
    pixels = photograph(40, 60)
    path = tmp_path / "a.tfci"
    exif = Image.Exif()
    exif[0x0110] = "a camera"
    Image.fromarray(pixels).save(path, model="tiny-1", exif=exif, icc_profile=DISPLAY_P3, xmp=b"<x/>")
    with Image.open(path) as image:
        assert (image.format, image.mode, image.size) == ("TFCI", "RGB", (60, 40))
        assert image.info["model"] == "tiny-1"
        assert image.info["icc_profile"] == DISPLAY_P3 and image.info["xmp"] == b"<x/>"
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


@pytest.fixture
def saved(tmp_path):
    """A file, and the pixels that it decodes to."""
    path = tmp_path / "a.tfci"
    Image.fromarray(photograph(40, 60)).save(path, model="tiny-1", xmp=b"<x/>")
    return path, codec.decompress(path.read_bytes()).pixels


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda image: pickle.loads(pickle.dumps(image))])
def test_copies(again, loaded, saved):
    path, pixels = saved
    with Image.open(path) as image:
        if loaded:
            image.load()
        other = again(image)
    np.testing.assert_array_equal(np.asarray(other), pixels)
    np.testing.assert_array_equal(np.asarray(again(other)), pixels)
    assert other.info["model"] == "tiny-1" and other.info["xmp"] == b"<x/>"


def test_no_file_stays_open(saved):
    path, pixels = saved
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        image = Image.open(path)
        image.load()
        np.testing.assert_array_equal(np.asarray(image), pixels)
        del image
        gc.collect()
        with Image.open(path):
            pass
        with Image.open(path) as image:
            image.load()
        with open(path, "rb") as file:
            Image.open(file).load()
            # Who opens a file closes it.
            assert not file.closed
        gc.collect()


@needs_tensorflow
def test_lambda_and_target():
    pixels = photograph(64, 64)
    image = Image.fromarray(pixels)

    def saved(**options):
        file = io.BytesIO()
        image.save(file, "TFCI", **options)
        return file.getvalue()

    model = codec.load("tiny-1")
    assert saved(model="tiny-1", effort=1, lmbda=9) == model.compress(pixels, effort=1, lmbda=9)
    target = 1.5 * 8 * len(model.compress(pixels)) / 64**2
    _, expected = codec.compress_to_bpp([model], pixels, target, effort=1)
    assert saved(model="tiny", target_bpp=target) == expected
    for wrong in (
        dict(model="tiny-1", lmbda=0.1),
        dict(model="tiny", target_bpp=1, lmbda=0.1),
        dict(model="tiny-1", target_bpp=1),
        dict(model="tiny", target_bpp=0.001, bpp_strict=True),
    ):
        with pytest.raises(ValueError):
            saved(**wrong)


def test_the_own_profile_is_kept():
    file = io.BytesIO()
    image = Image.fromarray(photograph(20, 20))
    image.info["icc_profile"] = DISPLAY_P3
    image.save(file, "TFCI", model="tiny-1")
    assert Image.open(file).info["icc_profile"] == DISPLAY_P3
    file = io.BytesIO()
    image.save(file, "TFCI", model="tiny-1", icc_profile=None)
    assert "icc_profile" not in Image.open(file).info
    file = io.BytesIO()
    image.convert("L").save(file, "TFCI", model="tiny-1", icc_profile=gray_profile())
    assert "icc_profile" not in Image.open(file).info
