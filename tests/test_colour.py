"""Pictures in other colours than sRGB: converted, or kept with their profile, but never shown as what they are not."""

import io

import numpy as np
from PIL import Image, ImageCms, PngImagePlugin
import pytest

from balle2017.pictures import colour, formats, images, streamed
from helpers.pictures import D65, DISPLAY_P3, P3_PRIMARIES, gray_profile

P3_OF_GAMMA_2_2 = colour.matrix_profile(P3_PRIMARIES, D65, 2.2)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def saved(image, format="PNG", **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file


def red(mode="RGB"):
    image = Image.new("RGB", (8, 8), (200, 60, 60))
    return image.quantize(2) if mode == "P" else image.convert(mode)


LOSSLESS = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}, "AVIF": {"quality": 100}}


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "WEBP", "AVIF", "HEIF"])
def test_display_p3_becomes_srgb(format):
    Image.init()
    formats.load_plugins()
    if format not in Image.SAVE:
        pytest.skip(f"Nothing that is installed writes {format}.")
    try:
        file = saved(red(), format, icc_profile=DISPLAY_P3, **LOSSLESS.get(format, {}))
    except KeyError as error:
        pytest.skip(f"This Pillow writes no {error}.")
    picture = images.read(file)
    np.testing.assert_allclose(picture.pixels, np.full([8, 8, 3], (217, 42, 52)), atol=2)
    assert picture.metadata == {}
    assert "converted to sRGB." in picture.avoidable and picture.avoidable in picture.notices


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
@pytest.mark.parametrize(
    "profile, expected",
    [(DISPLAY_P3, (217, 42, 52)), (P3_OF_GAMMA_2_2, (219, 37, 48))],
    ids=["Display P3", "of gamma 2.2"],
)
def test_of_every_mode(mode, profile, expected):
    pixels = images.read(saved(red(mode), icc_profile=profile)).pixels
    np.testing.assert_allclose(pixels, np.full([8, 8, 3], expected), atol=1)


def test_white_and_black_and_grays_stay():
    grays = Image.fromarray(np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, 2))
    pixels = images.read(saved(grays, icc_profile=DISPLAY_P3)).pixels
    np.testing.assert_allclose(pixels, np.asarray(grays), atol=1)


def test_the_profile_is_kept_with_the_metadata_and_the_pixels_as_they_are():
    picture = images.read(saved(red(), icc_profile=DISPLAY_P3), keep_metadata=True)
    assert (picture.pixels == (200, 60, 60)).all() and picture.notices == []
    assert picture.metadata == {"ICCP": DISPLAY_P3}


def test_srgb_stays_as_it_is():
    pixels = np.random.default_rng(0).integers(0, 256, [50, 50, 3], np.uint8)
    picture = images.read(saved(Image.fromarray(pixels), icc_profile=SRGB))
    np.testing.assert_array_equal(picture.pixels, pixels)
    assert picture.notices == []
    same = colour.matrix_profile(((0.64, 0.33), (0.3, 0.6), (0.15, 0.06)), D65, None)
    picture = images.read(saved(Image.fromarray(pixels), icc_profile=same))
    np.testing.assert_array_equal(picture.pixels, pixels)


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("mode", ["L", "LA", "1", "I;16"])
def test_a_gray_profile_never_lands_in_a_file_of_colours(mode, keep):
    image = Image.fromarray(np.full([8, 8], 100 * 257, np.uint16)) if mode == "I;16" else Image.new("L", (8, 8), 100)
    image = image if mode == "I;16" else image.convert(mode)
    picture = images.read(saved(image, icc_profile=gray_profile()), keep_metadata=keep)
    # 100/255 of the light is 168 in sRGB; black and white stay.
    expected = picture.pixels[0, 0, 0] in (0, 255) if mode == "1" else abs(int(picture.pixels[0, 0, 0]) - 168) <= 1
    assert expected and "ICCP" not in picture.metadata
    assert (picture.pixels == picture.pixels[:, :, :1]).all()


def test_profiles_of_models_with_one_channel():
    gray = saved(Image.new("L", (8, 8), 100), icc_profile=gray_profile())
    kept = images.read(gray, channels=1, keep_metadata=True)
    assert (kept.pixels == 100).all() and kept.metadata == {"ICCP": gray_profile()}
    converted = images.read(gray, channels=1)
    assert abs(int(converted.pixels[0, 0, 0]) - 168) <= 1
    coloured = images.read(saved(red(), icc_profile=DISPLAY_P3), channels=1, keep_metadata=True)
    assert coloured.metadata == {}
    assert abs(int(coloured.pixels[0, 0, 0]) - (299 * 217 + 587 * 42 + 114 * 52) / 1000) <= 1


@pytest.mark.parametrize("profile", [b"profile" * 30, gray_profile(), SRGB[:200]], ids=["text", "gray", "cut"])
def test_a_profile_that_does_not_fit_is_not_used_and_not_kept(profile):
    for keep in (False, True):
        picture = images.read(saved(red(), icc_profile=profile), keep_metadata=keep)
        assert (picture.pixels == (200, 60, 60)).all() and picture.metadata == {}
        assert picture.notices == ["Its colour profile is damaged or does not fit, and is not used."]


def png_with(*chunks):
    info = PngImagePlugin.PngInfo()
    for name, values in chunks:
        info.add(name, b"".join(round(100000 * v).to_bytes(4, "big") for v in values))
    data = saved(red(), pnginfo=info).getvalue()
    return io.BytesIO(data)


P3_CHUNK = (b"cHRM", (*D65, *P3_PRIMARIES[0], *P3_PRIMARIES[1], *P3_PRIMARIES[2]))
SRGB_CHUNK = (b"cHRM", (*D65, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06))


@pytest.mark.parametrize(
    "chunks, expected",
    [
        ([(b"gAMA", (0.45455,)), P3_CHUNK], (217, 42, 52)),
        ([P3_CHUNK], (217, 42, 52)),
        ([(b"gAMA", (0.45455,)), SRGB_CHUNK], (200, 60, 60)),
        ([(b"gAMA", (0.45455,))], (200, 60, 60)),
        # 200/255 and 60/255 of the light.
        ([(b"gAMA", (1,))], (228, 133, 133)),
        # Nonsense.
        ([(b"gAMA", (0,))], (200, 60, 60)),
        ([(b"cHRM", (0,) * 8)], (200, 60, 60)),
    ],
)
def test_colours_that_a_png_file_gives_in_numbers(chunks, expected):
    pixels = images.read(png_with(*chunks), keep_metadata=True).pixels
    np.testing.assert_allclose(pixels, np.full([8, 8, 3], expected), atol=1)


def test_adobe_rgb_that_only_exif_names():
    exif = Image.Exif()
    exif[0x010F] = "a maker"
    exif.get_ifd(0x8769)[0xA001] = 65535
    exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    file = saved(red(), "JPEG", exif=exif, quality=100, subsampling=0)
    if not Image.open(file).getexif().get_ifd(0xA005):
        pytest.skip("This Pillow does not write the interoperability tags.")
    picture = images.read(file, keep_metadata=True)
    # By the matrices of Adobe RGB (1998), section 4.3.4.
    np.testing.assert_allclose(picture.pixels, np.full([8, 8, 3], (231, 57, 57)), atol=2)
    kept = Image.Exif()
    kept.load(picture.metadata["EXIF"])
    assert kept.get_ifd(0x8769) == {0xA001: 1} and picture.notices == ["Its colours are converted to sRGB."]


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("keep", [False, True])
def test_large_pictures_are_like_all_others(name, channels, keep, tmp_path, monkeypatch):
    monkeypatch.setattr(streamed, "LARGE_PIXELS", 100)
    random = np.random.default_rng(0)
    path = tmp_path / name
    Image.fromarray(random.integers(0, 256, [40, 30, 3], np.uint8)).save(path, icc_profile=DISPLAY_P3)
    whole = images.read(path, channels, keep_metadata=keep)
    large = streamed.read(str(path), channels, keep_metadata=keep)
    np.testing.assert_array_equal(large.pixels[:], whole.pixels)
    assert large.pixels[5:5].shape == (0, 30, channels)
    assert (large.metadata, large.notices) == (whole.metadata, whole.notices)


@pytest.mark.parametrize("format", ["BMP", "GIF", "PPM", "TGA"])
def test_a_format_without_profiles_gets_srgb(format):
    file = io.BytesIO()
    notices = images.write(file, np.full([8, 8, 3], (200, 60, 60), np.uint8), {"ICCP": DISPLAY_P3}, format)
    np.testing.assert_allclose(np.asarray(Image.open(file).convert("RGB"))[0, 0], (217, 42, 52), atol=1)
    assert len(notices) == 2 and "hold none" in notices[0] and "sRGB" in notices[1]


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_a_profile_is_written_into_its_own_kind_of_picture_only(format):
    for channels, profile, written in [
        (3, DISPLAY_P3, True), (3, gray_profile(), False), (1, gray_profile(), True), (1, DISPLAY_P3, False)
    ]:  # fmt: skip
        if format == "WEBP" and channels == 1:
            # It has no grayscale.
            continue
        file = io.BytesIO()
        notices = images.write(file, np.full([8, 8, channels], 90, np.uint8), {"ICCP": profile}, format)
        assert ("icc_profile" in Image.open(file).info) == written == (notices == [])
