"""Picture files for programs that look at pixels only."""

import io

import numpy as np
from PIL import Image
import pytest

from balle2017.pictures import images
from balle2017.pictures.plain import plain
from helpers.pictures import DISPLAY_P3, photograph


def saved(image, format="PNG", **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def rotated():
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_what_is_plain_stays_as_it_is(format, mode):
    data = saved(Image.fromarray(photograph(30, 40)).convert(mode), format)
    assert plain(data) == (data, [])


@pytest.mark.parametrize(
    "data",
    [
        saved(Image.fromarray(photograph(30, 40)), "JPEG", exif=rotated()),
        saved(Image.fromarray(photograph(30, 40)), "PNG", exif=rotated()),
        saved(Image.fromarray(photograph(30, 40)), "JPEG", icc_profile=DISPLAY_P3),
        saved(Image.fromarray(photograph(30, 40)).convert("CMYK"), "JPEG"),
        saved(Image.fromarray(photograph(30, 40)).convert("RGBA").resize((9, 9)), "PNG"),
        saved(Image.new("RGBA", (9, 9), (200, 0, 0, 40))),
        saved(Image.new("RGB", (9, 9), "red"), transparency=(255, 0, 0)),
        saved(Image.fromarray(np.full([9, 9], 30000, np.uint16))),
        saved(Image.fromarray(photograph(30, 40)), "WEBP"),
        saved(Image.fromarray(photograph(30, 40)), "TIFF"),
        saved(Image.fromarray(photograph(30, 40)).quantize(9)),
    ],
    ids="turned_jpeg turned_png p3 cmyk opaque clear colour_key deep webp tiff palette".split(),
)
def test_all_else_becomes_what_it_shows(data):
    expected = images.read(io.BytesIO(data))
    made, notices = plain(data)
    with Image.open(io.BytesIO(made)) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        np.testing.assert_array_equal(np.asarray(image), expected.pixels)
    assert notices == expected.notices


def test_what_is_no_picture_is_refused():
    with pytest.raises(images.ImageError, match="not a picture"):
        plain(b"no picture")
    with pytest.raises(images.ImageError, match="too large"):
        plain(saved(Image.new("RGB", (30, 30))), max_pixels=100)
