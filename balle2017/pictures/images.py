"""Picture files in and out: between everything that Pillow reads and uint8 arrays.

What becomes of a picture on its way in:

- *Grayscale* (also 1 bit) becomes RGB with three equal channels, or stays as
  it is for a model of one channel; colour becomes luma (ITU-R 601) there.
- *Palette* pictures become the colours that they show.
- *16 bits* are scaled to 8 and rounded (Pillow itself does it for RGB).
  32-bit integers are taken as 0–65535; floats as 0–1, or as 0–255 if any is
  above 1.
- *Colours* other than sRGB, which an ICC profile, PNG's gAMA and cHRM or EXIF
  name, become sRGB, and said so in a notice; with `keep_metadata` they stay as
  they are, and their ICC profile with them, where the new file can hold it.
  CMYK without a profile goes through Pillow's plain conversion.
- *EXIF orientation* is applied, and the tag removed: pixels are upright.
- *Alpha* is flattened onto white, and said so in a notice.
- *Animations and several pages*: the first frame, and said so in a notice.

Metadata are bytes by tag; see `metadata`.
"""

import dataclasses
from typing import Optional
import warnings

import numpy as np
from PIL import Image, UnidentifiedImageError

from balle2017.container.bitstream import MAX_PIXELS
from balle2017.pictures import colour, formats, jxl, metadata, png

_XMP_TAG = 0x02BC
_BAND_PIXELS = 2**20
_ALPHA_MODES = ("LA", "La", "PA", "RGBA", "RGBa")
_SAVE_OPTIONS = {
    "JPEG": {"quality": 95},
    "WEBP": {"lossless": True},
}


class ImageError(ValueError):
    """A picture cannot be read or written; the message is one sentence for the user."""


class TooLargeError(ImageError):
    """A picture has more than `max_pixels`."""


@dataclasses.dataclass
class Picture:
    """A decoded picture.

    Attributes:
      pixels: uint8 `[height, width, channels]`.
      metadata: Bytes by tag; empty unless asked for.
      notices: Sentences about what was lost on the way in.
      avoidable: The one among them that there would not be with `keep_metadata`.
    """

    pixels: np.ndarray
    metadata: dict[str, bytes] = dataclasses.field(default_factory=dict)
    notices: list[str] = dataclasses.field(default_factory=list)
    avoidable: Optional[str] = None


def read(source, channels=3, max_pixels=MAX_PIXELS, keep_metadata=False, keep_gps=False):
    """Reads a picture.

    Args:
      source: Path or binary file object.
      channels: 3 (RGB) or 1 (grayscale).
      max_pixels: Larger pictures are refused before they are decoded.
      keep_metadata: Whether to fill in `Picture.metadata`.
      keep_gps: Whether to leave positions in it.

    Returns:
      A `Picture`.

    Raises:
      ImageError: If it is no picture, damaged, or too large.
      OSError: If the file cannot be opened.
    """
    try:
        with formats.open_picture(source) as image:
            return _read(image, channels, max_pixels, keep_metadata, keep_gps)
    except UnidentifiedImageError:
        raise ImageError("It is not a picture that Pillow can read.") from None
    except Image.DecompressionBombError:
        raise _too_large(max_pixels) from None
    except (ImageError, FileNotFoundError, IsADirectoryError, PermissionError, MemoryError):
        raise
    except Exception as error:
        # Pillow's plugins raise nearly anything on a damaged file.
        raise damaged(str(error) or type(error).__name__) from None


def write(target, pixels, stored=None, format="PNG"):
    """Writes a picture.

    Args:
      target: Binary file object.
      pixels: uint8 `[height, width, 3 or 1]`.
      stored: Metadata, bytes by tag, or `None`.
      format: Pillow's name of the file format.

    Returns:
      Sentences about the metadata that the format cannot hold, which are left out. Pixels whose
      profile is left out are converted to sRGB.

    Raises:
      ImageError: If the format cannot be written or cannot hold the picture.
    """
    kept, notices = metadata.storable(stored or {}, format, pixels.shape[2])
    if stored and "ICCP" in stored and "ICCP" not in kept:
        pixels, converted = colour.to_srgb(pixels, stored["ICCP"])
        notices += ["Its colours are converted to sRGB."] if converted else []
    if format == "PNG":
        png.write(target, pixels.shape, [pixels], kept)
        return notices
    pixels = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
    image = Image.fromarray(np.ascontiguousarray(pixels))
    options = {**_SAVE_OPTIONS.get(format, {}), **_metadata_options(kept, format)}
    try:
        image.save(target, format=format, **options)
    except (KeyError, ValueError, OSError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise ImageError(f"The picture cannot be written as {format} ({error}).") from None
    return notices


def damaged(detail):
    """The error of a picture whose file is not whole."""
    return ImageError(f"The picture is damaged or cut off ({detail.rstrip('.')}).")


def set_limit(max_pixels):
    """Lets a number of pixels be the limit of this process, in place of Pillow's own."""
    # Pillow warns at its limit, and refuses at twice as many.
    Image.MAX_IMAGE_PIXELS = max_pixels // 2 + 1
    warnings.filterwarnings("ignore", module="PIL")


def format_of(path):
    """Pillow's name of the format that a path's extension stands for.

    Raises:
      ImageError: If Pillow writes no such format.
    """
    name = formats.writer(path)
    if name is None:
        extension = "." + str(path).rpartition(".")[2].lower()
        raise ImageError(f"Pictures cannot be written as {extension!r}; use .png, for example.")
    return name


def _read(image, channels, max_pixels, keep_metadata, keep_gps):
    if image.width * image.height > max_pixels:
        raise _too_large(max_pixels, *image.size)
    # Before all else: what Pillow reads on the way to something else, it reads without complaint.
    image.load()
    # Some plugins turn the picture upright themselves.
    width, height = image.size
    picture = Picture(np.empty([height, width, channels], np.uint8))
    try:
        exif = image.getexif()
        orientation = exif.get(metadata.ORIENTATION, 1)
    except Exception:
        exif, orientation = None, 1
        picture.notices.append("Its EXIF data are damaged, so its orientation is not known.")
    if image.format == "JXL" and not image.jpeg and jxl.orientation(image.fc) != 1:
        orientation = 1
    colours = colour.plan(image, exif, channels, keep_metadata)
    convert = _converter(image)
    transparent = False
    # In bands, since a copy of a large picture in another mode would double the memory.
    rows = max(1, _BAND_PIXELS // width)
    for top in range(0, height, rows):
        band = convert(image.crop((0, top, width, min(top + rows, height))))
        if band.mode in _ALPHA_MODES:
            band = band.convert("RGBA")
            transparent |= band.getchannel("A").getextrema()[0] < 255
            white = Image.new("RGBA", band.size, "white")
            band = Image.alpha_composite(white, band)
        picture.pixels[top : top + rows] = colours.apply(band, channels)
    picture.pixels = _upright(picture.pixels, orientation)
    if transparent:
        picture.notices.append("Its transparent parts are now white.")
    # The second frame of an MPO is a preview or another camera's view, not a page.
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        picture.notices.append(f"Only the first of its {image.n_frames} frames is used.")
    finish(picture, image, exif, colours, keep_metadata, keep_gps)
    return picture


def finish(picture, image, exif, colours, keep_metadata, keep_gps):
    """Puts into a `Picture` what is to be said of its colours, and its metadata if they are kept."""
    if colours.notice:
        picture.notices.append(colours.notice)
        picture.avoidable = colours.notice if colours.could_be_kept else None
    if keep_metadata:
        picture.metadata, notices = metadata.collect(image, exif, colours.profile, keep_gps)
        picture.notices += notices


def _too_large(max_pixels, width=0, height=0):
    size = f"{width}×{height}, " if width else ""
    return TooLargeError(f"The picture is too large ({size}more than {max_pixels} pixels).")


def _converter(image):
    """Returns a function that brings a band of `image` to a mode that Pillow converts rightly."""
    if image.mode.startswith("I;16") or image.mode == "I":
        return _from_16_bits
    if image.mode == "F":
        scale = 255 if _largest(image) <= 1 else 1
        return lambda band: _from_float(band, scale)
    if image.has_transparency_data and image.mode not in _ALPHA_MODES:
        return lambda band: band.convert("RGBA")
    if image.mode == "P":
        return lambda band: band.convert("RGB")
    return lambda band: band


def _from_16_bits(band):
    values = np.clip(np.asarray(band), 0, 65535).astype(np.uint32)
    return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))


def _largest(image):
    """The largest value of a picture of floats; what is infinite, or not a number, says nothing of the others."""
    rows = max(1, _BAND_PIXELS // image.width)
    bands = (
        np.asarray(image.crop((0, top, image.width, min(top + rows, image.height))))
        for top in range(0, image.height, rows)
    )
    return max(np.max(band, where=np.isfinite(band), initial=0) for band in bands)


def _from_float(band, scale):
    values = np.nan_to_num(np.asarray(band) * np.float32(scale))
    return Image.fromarray(np.rint(np.clip(values, 0, 255)).astype(np.uint8))


def _upright(pixels, orientation):
    """Applies an EXIF orientation (1–8)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


def _metadata_options(kept, format):
    """Pillow's arguments that store metadata in a format."""
    options = {}
    if "ICCP" in kept:
        options["icc_profile"] = kept["ICCP"]
    if "EXIF" in kept:
        options["exif"] = b"Exif\0\0" + kept["EXIF"]
    if "XMP " in kept and format == "TIFF":
        options["exif"] = Image.Exif()
        options["exif"].load(kept.get("EXIF", b""))
        options["exif"][_XMP_TAG] = kept["XMP "]
    elif "XMP " in kept:
        options["xmp"] = kept["XMP "]
    return options
