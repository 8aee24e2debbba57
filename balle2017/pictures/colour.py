"""Colour profiles (ICC.1:2022): what a picture's numbers mean, and pictures in other colours than sRGB made sRGB.

A picture without a profile is shown as sRGB. So pixels either come into sRGB on their way in, or
their profile is kept with them.
"""

import dataclasses
import io
import struct
from typing import Callable, Optional

import numpy as np
from PIL import Image, ImageCms

_BLACK_POINT_COMPENSATION = 0x2000
# Levels of 255 by which profiles may differ from sRGB that claim to be it.
_SAME = 2
_COLOUR_SPACES = {"RGB": "RGB ", "L": "GRAY", "CMYK": "CMYK", "LAB": "Lab "}
_SRGB_PRIMARIES, _D65 = ((0.64, 0.33), (0.3, 0.6), (0.15, 0.06)), (0.3127, 0.3290)
# Adobe RGB (1998), section 4.3; cameras name it in EXIF without giving its profile (DCF 2.0).
_ADOBE_RGB = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06)), _D65, 563 / 256
# Transfer characteristics PQ and HLG, of which no profile makes a photograph for other screens.
_HIGH_DYNAMIC_RANGE = (16, 18)
# What PNG files in sRGB give as their gamma.
_USUAL_GAMMA = 0.45455
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_D50 = np.array([0.9642, 1.0, 0.8249])


@dataclasses.dataclass
class Colours:
    """What is to be done with the colours of a picture.

    Attributes:
      convert: Function of a Pillow image of mode `mode` to one of mode RGB in sRGB; `None` if the
        pixels stay as they are.
      mode: RGB, L, CMYK or LAB.
      profile: The ICC profile that the pixels stay in; empty for sRGB.
      notice: A sentence for the user, or `None`.
      could_be_kept: Whether colours that are converted would have stayed as they are with `keep_profile`.
    """

    convert: Optional[Callable] = None
    mode: str = "RGB"
    profile: bytes = b""
    notice: Optional[str] = None
    could_be_kept: bool = False

    def apply(self, band, channels):
        """A band of the picture in its new colours, uint8 `[height, width, channels]`."""
        if self.convert:
            band = self.convert(band if band.mode == self.mode else band.convert(self.mode))
        pixels = np.asarray(band.convert("RGB" if channels == 3 else "L"))
        return pixels.reshape(*pixels.shape[:2], channels)


AS_THEY_ARE = Colours()


def plan(image, exif, channels, keep_profile):
    """Decides what is to be done with a picture's colours.

    Args:
      image: Pillow's image.
      exif: Pillow's EXIF data of it, or `None`.
      channels: 3 (RGB) or 1 (grayscale), of the pixels that are wanted.
      keep_profile: Whether a profile is kept rather than applied, where the pixels' file can hold it:
        of RGB in RGB, of grayscale in grayscale.

    Returns:
      `Colours`.
    """
    mode = _basic_mode(image)
    given = image.info.get("icc_profile")
    data = given or _implied(image, exif)
    if mode == "LAB":
        return Colours(_transform(ImageCms.createProfile("LAB"), "LAB"), mode)
    if not data:
        return Colours(mode=mode)
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        if mode == "L" and space(data) == "RGB ":
            mode = "RGB"
        convert = _transform(profile, mode) if space(data) == _COLOUR_SPACES[mode] else None
    except (OSError, TypeError, ValueError, ImageCms.PyCMSError):
        convert = None
    if convert is None:
        return Colours(mode=mode, notice="Its colour profile is damaged or does not fit, and is not used.")
    if keep_profile and given and fits(data, channels):
        return Colours(mode=mode, profile=data)
    if mode == "CMYK":
        return Colours(convert, mode)
    if _is_srgb(convert, mode):
        return Colours(mode=mode)
    notice = f"Its colours{_named(profile)} are converted to sRGB."
    return Colours(convert, mode, notice=notice, could_be_kept=bool(given and fits(data, channels)))


def to_srgb(pixels, profile):
    """Pixels in a profile's colours, uint8 `[height, width, channels]`, in sRGB, and whether that changed them."""
    channels = pixels.shape[2]
    image = Image.fromarray(np.ascontiguousarray(pixels[:, :, 0] if channels == 1 else pixels))
    image.info["icc_profile"] = profile
    colours = plan(image, None, channels, False)
    return (colours.apply(image, channels), True) if colours.convert else (pixels, False)


def space(profile):
    """The colour space that the header of an ICC profile names, such as "RGB " (section 7.2.6)."""
    return profile[16:20].decode("latin-1")


def fits(profile, channels):
    """Whether pixels of so many channels can be in a profile's colours."""
    return space(profile) == ("RGB " if channels == 3 else "GRAY")


def matrix_profile(primaries, white, gamma):
    """An ICC profile of an RGB colour space.

    Args:
      primaries: Chromaticities `(x, y)` of red, green and blue.
      white: Chromaticity of white.
      gamma: Exponent of the decoding; `None` for sRGB's curve.

    Returns:
      Bytes, version 2.1 of the format.

    Raises:
      ValueError: If these span no colour space.
    """
    x, y = np.array([*primaries, white], float).T
    if y.min() <= 0 or not (gamma is None or 0 < gamma < 256):
        raise ValueError("These are no chromaticities, or it is no gamma.")
    colours = np.stack([x / y, np.ones(4), (1 - x - y) / y])
    try:
        matrix = colours[:, :3] * np.linalg.solve(colours[:, :3], colours[:, 3])
    except np.linalg.LinAlgError:
        raise ValueError("These chromaticities are on a line.") from None
    adapted = _BRADFORD @ colours[:, 3]
    matrix = np.linalg.inv(_BRADFORD) @ np.diag(_BRADFORD @ _D50 / adapted) @ _BRADFORD @ matrix
    curve = _srgb_curve() if gamma is None else b"curv" + struct.pack(">IIHxx", 0, 1, round(256 * gamma))
    tags = {b"wtpt": _xyz(_D50), b"cprt": b"text\0\0\0\0none\0\0\0\0"}
    for name, column in zip((b"r", b"g", b"b"), matrix.T):
        tags[name + b"XYZ"], tags[name + b"TRC"] = _xyz(column), curve
    table, content = struct.pack(">I", len(tags)), b""
    for name, value in tags.items():
        table += name + struct.pack(">II", 128 + 4 + 12 * len(tags) + len(content), len(value))
        content += value
    size = 128 + len(table) + len(content)
    kind = b"mntrRGB XYZ "
    header = struct.pack(">I4xI12s12x4s28x12s48x", size, 0x02100000, kind, b"acsp", _xyz(_D50)[8:])
    return header + table + content


def _xyz(values):
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(65536 * v) for v in values))


def _srgb_curve():
    values = np.arange(1024) / 1023
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return b"curv" + struct.pack(">II", 0, 1024) + np.rint(65535 * linear).astype(">u2").tobytes()


def _basic_mode(image):
    """The mode in which a picture's colours are converted."""
    if image.mode in ("CMYK", "LAB"):
        return image.mode
    return "L" if image.mode in ("1", "L", "LA", "La", "I", "F") or image.mode.startswith("I;16") else "RGB"


def _implied(image, exif):
    """The profile of a picture that says otherwise what its colours are; empty for sRGB."""
    try:
        if image.format == "PNG" and "srgb" not in image.info and {"gamma", "chromaticity"} & set(image.info):
            return _png_profile(image.info.get("gamma", _USUAL_GAMMA), image.info.get("chromaticity"))
        code = image.info.get("nclx_profile") or {}
        # As in Rec. ITU-T H.273: 1 is sRGB, 2 unknown.
        if code.get("color_primaries", 2) > 2 and code.get("transfer_characteristics") not in _HIGH_DYNAMIC_RANGE:
            red, green, blue, white = (
                [code[f"color_primary_{name}_{axis}"] for axis in "xy"] for name in ("red", "green", "blue", "white")
            )
            return matrix_profile((red, green, blue), white, None)
        if exif and exif.get_ifd(0x8769) and exif.get_ifd(0xA005).get(1, "").startswith("R03"):
            return matrix_profile(*_ADOBE_RGB)
    except Exception:
        # What is damaged says nothing.
        return b""
    return b""


def _png_profile(gamma, chromaticity):
    """The profile of a PNG file with the chunks gAMA and cHRM (PNG, sections 11.3.2.1 and 11.3.2.2)."""
    # What says 1/2.2 means sRGB, whose chunk says so to programs that know no other.
    gamma = None if abs(gamma - _USUAL_GAMMA) < 0.01 else 1 / gamma
    if chromaticity is None:
        return b"" if gamma is None else matrix_profile(_SRGB_PRIMARIES, _D65, gamma)
    white, *primaries = zip(chromaticity[::2], chromaticity[1::2])
    return matrix_profile(primaries, white, gamma)


def _transform(profile, mode):
    """A function that converts images of a mode from a profile to sRGB."""
    intent = ImageCms.Intent.PERCEPTUAL if mode == "CMYK" else ImageCms.Intent.RELATIVE_COLORIMETRIC
    transform = ImageCms.buildTransform(
        profile, ImageCms.createProfile("sRGB"), mode, "RGB", intent, _BLACK_POINT_COMPENSATION
    )
    return lambda image: ImageCms.applyTransform(image, transform)


def _is_srgb(convert, mode):
    """Whether a conversion to sRGB leaves colours as they are."""
    if mode == "L":
        colours = np.arange(256, dtype=np.uint8)[None]
    else:
        steps = np.arange(0, 256, 15, dtype=np.uint8)
        colours = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3)
    converted = np.asarray(convert(Image.fromarray(colours))).astype(int)
    return np.abs(converted - colours.reshape(1, converted.shape[1], -1)).max() <= _SAME


def _named(profile):
    """The name of a profile between commas, if it has one."""
    try:
        name = ImageCms.getProfileDescription(profile).strip()
    except ImageCms.PyCMSError:
        return ""
    return f", in {name}," if name.isprintable() and name else ""
