"""Pictures in and out: each kind as its user expects to see it."""

import io

import numpy as np
from PIL import Image, ImageCms, ImageOps
import pytest

from balle2017.pictures import images
from balle2017.pictures.images import ImageError
from helpers.pictures import gradient, saved, with_metadata


def test_rgb_is_unchanged():
    picture = images.read(saved(Image.fromarray(gradient())))
    np.testing.assert_array_equal(picture.pixels, gradient())
    assert picture.notices == [] and picture.metadata == {}


def test_large_pictures_are_read_in_bands_without_a_seam():
    pixels = np.random.default_rng(0).integers(0, 256, [1500, 1200, 3], np.uint8)
    picture = images.read(saved(Image.fromarray(pixels), "BMP"))
    np.testing.assert_array_equal(picture.pixels, pixels)


def test_grayscale_becomes_three_equal_channels_or_stays():
    gray = gradient()[:, :, 0]
    for image in (Image.fromarray(gray), Image.fromarray(gray).convert("P")):
        rgb = images.read(saved(image)).pixels
        np.testing.assert_array_equal(rgb, np.repeat(gray[:, :, None], 3, 2))
        one = images.read(saved(image), channels=1).pixels
        np.testing.assert_array_equal(one, gray[:, :, None])


def test_colour_becomes_luma_for_a_grayscale_model():
    pixels = images.read(saved(Image.fromarray(gradient())), channels=1).pixels
    luma = gradient() @ np.array([0.299, 0.587, 0.114])
    assert np.abs(pixels[:, :, 0] - luma).max() <= 1


def test_one_bit():
    image = Image.fromarray(gradient()[:, :, 0] > 100)
    pixels = images.read(saved(image)).pixels
    np.testing.assert_array_equal(pixels[:, :, 1], (gradient()[:, :, 0] > 100) * np.uint8(255))


def test_palette():
    image = Image.fromarray(gradient()).quantize(16)
    np.testing.assert_array_equal(images.read(saved(image)).pixels, np.asarray(image.convert("RGB")))


def test_16_bits_are_scaled_and_not_clipped():
    values = np.linspace(0, 65535, 600).astype(np.uint16).reshape(20, 30)
    for format in ("PNG", "TIFF", "PPM"):
        pixels = images.read(saved(Image.fromarray(values), format)).pixels
        np.testing.assert_array_equal(pixels[:, :, 2], np.rint(values / 257))


def test_floats():
    values = np.linspace(0, 1, 600, dtype=np.float32).reshape(20, 30)
    for scale in (1, 255):
        pixels = images.read(saved(Image.fromarray(values * scale), "TIFF")).pixels
        assert np.abs(pixels[:, :, 0] - values * 255).max() <= 0.5 + 1e-3


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 599])
def test_single_values_that_are_no_numbers_leave_the_others(odd, place):
    values = np.linspace(0, 1, 600, dtype=np.float32)
    expected = np.rint(values * 255)
    values[place] = odd
    expected[place] = 255 if odd > 0 else 0
    pixels = images.read(saved(Image.fromarray(values.reshape(20, 30)), "TIFF")).pixels
    assert np.abs(pixels[:, :, 0] - expected.reshape(20, 30)).max() <= 1


def test_cmyk_without_a_profile():
    image = Image.fromarray(gradient()).convert("CMYK")
    np.testing.assert_array_equal(images.read(saved(image, "TIFF")).pixels, np.asarray(image.convert("RGB")))


def test_lab_goes_to_srgb():
    transform = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    original = Image.new("RGB", (8, 8), (200, 120, 40))
    lab = ImageCms.applyTransform(original, transform)
    pixels = images.read(saved(lab, "TIFF")).pixels
    assert np.abs(pixels.astype(int) - (200, 120, 40)).max() <= 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_and_forgotten(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "a maker"
    file = saved(Image.fromarray(gradient()), exif=exif)
    picture = images.read(file, keep_metadata=True)
    expected = ImageOps.exif_transpose(Image.open(file))
    np.testing.assert_array_equal(picture.pixels, np.asarray(expected))
    kept = Image.Exif()
    kept.load(picture.metadata["EXIF"])
    assert dict(kept) == {0x010F: "a maker"}


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB", "PA"])
def test_alpha_is_flattened_onto_white(mode):
    pixels = np.zeros([4, 4, 4], np.uint8)
    pixels[:2, :, 3] = 255
    image = Image.fromarray(pixels)
    if mode == "RGB":
        image = Image.new("RGB", (4, 4), "black")
        image.paste("red", (0, 2, 4, 4))
        file = saved(image, transparency=(255, 0, 0))
    elif mode == "PA":
        file = saved(image.convert("LA"), "TIFF")
    else:
        file = saved(image.quantize(4) if mode == "P" else image.convert(mode))
    picture = images.read(file)
    assert (picture.pixels[:2] == 0).all() and (picture.pixels[2:] == 255).all()
    assert "transparent" in picture.notices[0]


def test_half_transparency_and_full_opacity():
    half = images.read(saved(Image.new("RGBA", (4, 4), (0, 0, 0, 128)))).pixels
    assert np.abs(half.astype(int) - 127).max() <= 1
    opaque = images.read(saved(Image.new("RGBA", (4, 4), (9, 8, 7, 255))))
    assert opaque.notices == [] and (opaque.pixels == (9, 8, 7)).all()


def test_first_frame_of_an_animation():
    frames = [Image.new("RGB", (5, 5), c) for c in ("red", "green", "blue")]
    for format in ("GIF", "PNG", "TIFF", "WEBP"):
        lossless = {"lossless": True} if format == "WEBP" else {}
        file = saved(frames[0], format, save_all=True, append_images=frames[1:], **lossless)
        picture = images.read(file)
        assert (picture.pixels == (255, 0, 0)).all()
        assert "first of its 3 frames" in picture.notices[0]


def test_what_is_no_picture():
    with pytest.raises(ImageError, match="not a picture"):
        images.read(io.BytesIO(b"no picture at all"))
    with pytest.raises(ImageError, match="not a picture"):
        images.read(io.BytesIO(b""))
    with pytest.raises(FileNotFoundError):
        images.read("/nowhere/to/be/found.png")


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "WEBP", "GIF"])
def test_truncated_pictures_are_errors(format):
    noise = np.random.default_rng(0).integers(0, 256, [60, 60, 3], np.uint8)
    data = saved(Image.fromarray(noise), format).getvalue()
    for keep in (0.3, 0.6, 0.9):
        with pytest.raises(ImageError):
            images.read(io.BytesIO(data[: int(keep * len(data))]))


def test_pixel_limit():
    file = saved(Image.fromarray(gradient()))
    with pytest.raises(images.TooLargeError, match="30×20, more than 599 pixels"):
        images.read(file, max_pixels=599)
    assert images.read(file, max_pixels=600).pixels.shape == (20, 30, 3)


def test_metadata_survive_without_positions():
    metadata = images.read(with_metadata(), keep_metadata=True).metadata
    assert set(metadata) == {"EXIF", "ICCP", "XMP "}
    exif = Image.Exif()
    exif.load(metadata["EXIF"])
    assert exif[0x0110] == "a camera"
    assert exif.get_ifd(0x8769) == {0x9003: "2017:04:24 10:00:00"}
    assert 0x8825 not in exif and exif.get_ifd(0x8825) == {}
    assert b"gps" not in metadata["XMP "].lower() and b"Orientation" not in metadata["XMP "]
    assert b"Toulon" in metadata["XMP "]
    for format in ("PNG", "JPEG", "WEBP"):
        file = io.BytesIO()
        images.write(file, gradient(), metadata, format)
        again = images.read(file, keep_metadata=True, keep_gps=True).metadata
        assert again == metadata


def test_positions_survive_when_asked_for():
    metadata = images.read(with_metadata(), keep_metadata=True, keep_gps=True).metadata
    exif = Image.Exif()
    exif.load(metadata["EXIF"])
    assert exif.get_ifd(0x8825)[2] == (43.0, 36.0, 0.0)
    assert b"GPSLatitude" in metadata["XMP "]


def test_damaged_exif_is_no_reason_to_refuse_a_picture():
    file = saved(Image.fromarray(gradient()), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff" * 3)
    assert images.read(file, keep_metadata=True).pixels.shape == (20, 30, 3)


def test_write():
    file = io.BytesIO()
    images.write(file, gradient())
    np.testing.assert_array_equal(np.asarray(Image.open(file)), gradient())
    file = io.BytesIO()
    images.write(file, gradient()[:, :, :1], format="TIFF")
    assert Image.open(file).mode == "L"
    assert images.format_of("a/b.JPG") == "JPEG"
    for path in ("a.xyz", "noextension", "a.psd"):
        with pytest.raises(ImageError, match="cannot be written"):
            images.format_of(path)
