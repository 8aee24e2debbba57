"""Large pictures in bands: the same pixels, files and errors as of pictures that are read whole."""

import io
import os

import numpy as np
from PIL import Image
import pytest

from balle2017 import codec, tfci
from balle2017.codec import tiling
from balle2017.commands import convert
from balle2017.pictures import images, streamed
from balle2017.pictures.images import ImageError
from helpers.pictures import photograph, with_metadata
from helpers.requirements import needs_tensorflow


@pytest.fixture(autouse=True)
def all_pictures_are_large(monkeypatch, tmp_path):
    monkeypatch.setattr(streamed, "LARGE_PIXELS", 100)
    monkeypatch.chdir(tmp_path)


def save(image, name="large.png", **options):
    image.save(name, **options)
    return name


def picture(height=300, width=200):
    return Image.fromarray(photograph(height, width))


@pytest.mark.parametrize(
    "name, mode, options",
    [
        ("a.png", "RGB", {}),
        ("a.png", "L", {}),
        ("a.jpg", "RGB", {"quality": 90}),
        ("a.jpg", "RGB", {"quality": 75, "subsampling": 0, "progressive": True}),
        ("a.jpg", "L", {}),
    ],
)
@pytest.mark.parametrize("channels", [3, 1])
def test_rows_are_those_of_the_whole_picture(name, mode, options, channels):
    save(picture().convert(mode), name, **options)
    whole = images.read(name, channels).pixels
    pixels = streamed.read(name, channels).pixels
    assert pixels.shape == whole.shape and pixels.dtype == whole.dtype
    for top, bottom in [(0, 7), (3, 100), (100, 101), (150, 300), (150, 300), (299, 999), (20, 40)]:
        np.testing.assert_array_equal(pixels[top:bottom], whole[top:bottom])
    np.testing.assert_array_equal(np.asarray(pixels), whole)


def test_files_are_those_of_the_whole_picture(tiny_models_dir, monkeypatch):
    monkeypatch.setattr(tiling, "_TILE_SIDE", 8)
    save(picture())
    options = convert.Options(model="tiny-1", models_dir=str(tiny_models_dir))
    large = convert.compress("large.png", options)
    assert isinstance(large.pixels, streamed.StreamedPixels)
    large_png = convert.decompress(large.file.getvalue(), options).file.read()
    monkeypatch.setattr(streamed, "LARGE_PIXELS", 10**9)
    small = convert.compress("large.png", options)
    assert isinstance(small.pixels, np.ndarray)
    assert small.file.getvalue() == large.file.getvalue()
    small_png = convert.decompress(small.file.getvalue(), options).file.read()
    assert small_png == large_png


@needs_tensorflow
def test_effort_takes_the_whole_picture(tiny_models_dir):
    save(picture(100, 90))
    options = convert.Options(model="tiny-1", models_dir=str(tiny_models_dir), effort=1)
    data = convert.compress("large.png", options).file.getvalue()
    whole = images.read("large.png").pixels
    assert data == codec.load("tiny-1", tiny_models_dir).compress(whole, effort=1)


def test_other_pictures_are_left_to_pillow():
    rotated = Image.Exif()
    rotated[0x0112] = 6
    others = [
        save(picture(), "rotated.jpg", exif=rotated),
        save(picture(), "rotated.png", exif=rotated),
        save(picture().convert("CMYK"), "cmyk.jpg"),
        save(picture().convert("P"), "palette.png"),
        save(picture().convert("RGBA"), "alpha.png"),
        save(picture(), "transparent.png", transparency=(1, 2, 3)),
        save(picture(), "picture.tif"),
        save(picture(9, 9), "small.png"),
        save(Image.fromarray(np.zeros([50, 50], np.uint16)), "16 bits.png"),
    ]
    assert [name for name in others if streamed.read(name) is not None] == []
    assert streamed.read(save(picture()), max_pixels=300 * 200 - 1) is None
    assert streamed.read(io.BytesIO()) is None and streamed.read("nowhere.png") is None


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_metadata_are_kept(name):
    stored = images.read(with_metadata(), keep_metadata=True).metadata
    with open(name, "wb") as file:
        images.write(file, photograph(300, 200), stored, "PNG" if name == "a.png" else "JPEG")
    large = streamed.read(name, keep_metadata=True)
    assert large.metadata == images.read(name, keep_metadata=True).metadata == stored
    assert set(stored) == {"EXIF", "ICCP", "XMP "}


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_a_file_that_is_cut_off_is_an_error(name, tiny_models_dir, capsys):
    save(picture(), name)
    with open(name, "r+b") as file:
        file.truncate(os.path.getsize(name) * 2 // 3)
    with pytest.raises(ImageError, match="damaged or cut off"):
        np.asarray(streamed.read(name).pixels)
    arguments = ["compress", "--models_dir", str(tiny_models_dir), "tiny-1", name]
    assert tfci.main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"balle2017: {name}: The picture is damaged") and error.count("\n") == 1
    assert os.listdir() == [name]


def test_a_damaged_bitstream_leaves_no_file(tiny_models_dir, capsys, monkeypatch):
    monkeypatch.setattr(tiling, "_TILE_SIDE", 8)
    save(picture())
    models = ["--models_dir", str(tiny_models_dir)]
    assert tfci.main(["compress", *models, "tiny-1", "large.png", "a.tfci"]) == 0
    with open("a.tfci", "r+b") as file:
        file.seek(-9, os.SEEK_END)
        file.write(b"\xff\x00")
    assert tfci.main(["decompress", *models, "a.tfci", "b.png"]) == 1
    assert tfci.main(["decompress", *models, "a.tfci", "b.png", "--salvage"]) == 3
    assert "slices are lost" in capsys.readouterr().err
    assert Image.open("b.png").size == (200, 300)
