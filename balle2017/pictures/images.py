"""Picture files in and out: between everything that Pillow reads and uint8 arrays.

What becomes of a picture on its way in:

- *Grayscale* (also 1 bit) becomes RGB with three equal channels, or stays as
  it is for a model of one channel; colour becomes luma (ITU-R 601) there.
- *Palette* pictures become the colours that they show.
- *16 bits* are scaled to 8 and rounded (Pillow itself does it for RGB).
  32-bit integers are taken as 0–65535; floats as 0–1, or as 0–255 if any is
  above 1.
- *CMYK* goes through its ICC profile to sRGB if it has one, else through
  Pillow's plain conversion. LAB goes to sRGB.
- *EXIF orientation* is applied, and the tag removed: pixels are upright.
- *Alpha* is flattened onto white, and said so in a notice.
- *Animations and several pages*: the first frame, and said so in a notice.
- An *ICC profile* of an RGB or grayscale picture does not change the pixels:
  they are coded as they are. Only `metadata` holds the profile, so a picture
  in a wide gamut should be compressed with its metadata.

Metadata are bytes by tag, as in `container.bitstream`: `EXIF`, `ICCP`,
`XMP `. Positions (GPS) are taken out of EXIF and XMP unless asked for; maker
notes and thumbnails always are, as they hold positions and old pixels too.
"""

import dataclasses
import io
import re
import warnings
from typing import Dict, List

import numpy as np
from PIL import Image, ImageCms, PngImagePlugin, UnidentifiedImageError

# Where Pillow, too, refuses a file as a decompression bomb.
MAX_PIXELS = 2 * (2**30 // 12)

ORIENTATION, _GPS, _EXIF_IFD, _MAKER_NOTE = 0x0112, 0x8825, 0x8769, 0x927C
_BAND_PIXELS = 2**20
_ALPHA_MODES = ("LA", "La", "PA", "RGBA", "RGBa")
# PNG's higher levels take time and gain nothing on photographs.
_SAVE_OPTIONS = {
    "JPEG": {"quality": 95},
    "PNG": {"compress_level": 3},
    "WEBP": {"lossless": True},
}


class ImageError(ValueError):
    """A picture cannot be read or written; the message is one sentence for the user."""


@dataclasses.dataclass
class Picture:
    """A decoded picture.

    Attributes:
      pixels: uint8 `[height, width, channels]`.
      metadata: Bytes by tag; empty unless asked for.
      notices: Sentences about what was lost on the way in.
    """

    pixels: np.ndarray
    metadata: Dict[str, bytes] = dataclasses.field(default_factory=dict)
    notices: List[str] = dataclasses.field(default_factory=list)


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
        with Image.open(source) as image:
            return _read(image, channels, max_pixels, keep_metadata, keep_gps)
    except UnidentifiedImageError:
        raise ImageError("It is not a picture that Pillow can read.") from None
    except Image.DecompressionBombError:
        raise ImageError(_too_large(max_pixels)) from None
    except (ImageError, FileNotFoundError, IsADirectoryError, PermissionError, MemoryError):
        raise
    except Exception as error:
        # Pillow's plugins raise nearly anything on a damaged file.
        raise damaged(str(error) or type(error).__name__) from None


def write(target, pixels, metadata=None, format="PNG"):
    """Writes a picture.

    Args:
      target: Binary file object.
      pixels: uint8 `[height, width, 3 or 1]`.
      metadata: Bytes by tag, or `None`.
      format: Pillow's name of the file format.

    Raises:
      ImageError: If the format cannot be written or cannot hold the picture.
    """
    pixels = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
    image = Image.fromarray(np.ascontiguousarray(pixels))
    options = dict(_SAVE_OPTIONS.get(format, {}))
    options.update(_save_options(metadata or {}, format))
    try:
        image.save(target, format=format, **options)
    except (KeyError, ValueError, OSError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise ImageError(f"The picture cannot be written as {format} ({error}).") from None


def read_metadata(image, exif, keep_gps, picture):
    """Puts the metadata of an opened image into a `Picture`; `exif` is Pillow's, or `None`."""
    try:
        exif = _clean_exif(exif, keep_gps) if exif else b""
    except Exception:
        exif = b""
        picture.notices.append("Its EXIF data are damaged and not kept.")
    profile = image.info.get("icc_profile") or b""
    if image.mode in ("CMYK", "LAB"):
        profile = b""
    xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    if isinstance(xmp, str):
        xmp = xmp.encode()
    if xmp:
        xmp = _clean_xmp(xmp, keep_gps)
        if not xmp:
            picture.notices.append("Its XMP data are not kept, as they may hold positions.")
    found = {"EXIF": exif, "ICCP": profile, "XMP ": xmp}
    picture.metadata = {tag: value for tag, value in found.items() if value}


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
    extension = "." + str(path).rpartition(".")[2].lower()
    name = Image.registered_extensions().get(extension)
    if name not in Image.SAVE:
        raise ImageError(f"Pictures cannot be written as {extension!r}; use .png, for example.")
    return name


def _read(image, channels, max_pixels, keep_metadata, keep_gps):
    width, height = image.size
    if width * height > max_pixels:
        raise ImageError(_too_large(max_pixels, width, height))
    picture = Picture(np.empty([height, width, channels], np.uint8))
    try:
        exif = image.getexif()
        orientation = exif.get(ORIENTATION, 1)
    except Exception:
        exif, orientation = None, 1
        picture.notices.append("Its EXIF data are damaged, so its orientation is not known.")
    image.load()
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
        band = np.asarray(band.convert("RGB" if channels == 3 else "L"))
        picture.pixels[top : top + rows] = band.reshape(*band.shape[:2], channels)
    picture.pixels = _upright(picture.pixels, orientation)
    if transparent:
        picture.notices.append("Its transparent parts are now white.")
    # The second frame of an MPO is a preview or another camera's view, not a page.
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        picture.notices.append(f"Only the first of its {image.n_frames} frames is used.")
    if keep_metadata:
        read_metadata(image, exif, keep_gps, picture)
    return picture


def _too_large(max_pixels, width=0, height=0):
    size = f"{width}×{height}, " if width else ""
    return (
        f"The picture is too large ({size}more than {max_pixels} pixels);"
        " --max_pixels raises the limit."
    )


def _converter(image):
    """Returns a function that brings a band of `image` to a mode that Pillow converts rightly."""
    if image.mode.startswith("I;16") or image.mode == "I":
        return _from_16_bits
    if image.mode == "F":
        scale = 255 if image.getextrema()[1] <= 1 else 1
        return lambda band: _from_float(band, scale)
    if image.mode in ("CMYK", "LAB"):
        transform = _to_srgb(image)
        if transform is not None:
            return lambda band: ImageCms.applyTransform(band, transform)
    if image.has_transparency_data and image.mode not in _ALPHA_MODES:
        return lambda band: band.convert("RGBA")
    if image.mode == "P":
        return lambda band: band.convert("RGB")
    return lambda band: band


def _from_16_bits(band):
    values = np.clip(np.asarray(band), 0, 65535).astype(np.uint32)
    return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))


def _from_float(band, scale):
    values = np.nan_to_num(np.asarray(band) * np.float32(scale))
    return Image.fromarray(np.rint(np.clip(values, 0, 255)).astype(np.uint8))


def _to_srgb(image):
    """A colour transform from CMYK or LAB to sRGB; `None` without a profile that fits."""
    try:
        if image.mode == "LAB":
            profile = ImageCms.createProfile("LAB")
        else:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        return ImageCms.buildTransform(
            profile, ImageCms.createProfile("sRGB"), image.mode, "RGB", flags=0x2000
        )
    except (KeyError, TypeError, OSError, ImageCms.PyCMSError):
        return None


def _upright(pixels, orientation):
    """Applies an EXIF orientation (1–8)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


def _clean_exif(exif, keep_gps):
    """Serializes EXIF as a TIFF structure, without what must not be kept."""
    kept = Image.Exif()
    for tag, value in exif.items():
        if tag not in (ORIENTATION, _GPS, _EXIF_IFD):
            kept[tag] = value
    details = {k: v for k, v in exif.get_ifd(_EXIF_IFD).items() if k != _MAKER_NOTE}
    if details:
        kept.get_ifd(_EXIF_IFD).update(details)
    position = exif.get_ifd(_GPS)
    if keep_gps and position:
        kept.get_ifd(_GPS).update(position)
    if not (len(kept) or details or (keep_gps and position)):
        return b""
    return kept.tobytes().removeprefix(b"Exif\0\0")


def _clean_xmp(xmp, keep_gps):
    """Takes orientation and positions out of an XMP packet; nothing is left if that fails."""
    xmp = _without(xmp, rb"tiff:Orientation")
    if keep_gps:
        return xmp
    xmp = _without(xmp, rb"[\w-]+:gps[\w-]*")
    # Also an encoding other than UTF-8 would hide them.
    return b"" if b"gps" in xmp.lower() or b"\0" in xmp else xmp


def _without(xmp, name):
    """Removes attributes and elements of a name from XML bytes."""
    xmp = re.sub(rb"(?i)\s" + name + rb"\s*=\s*(\"[^\"]*\"|'[^']*')", b"", xmp)
    return re.sub(rb"(?is)<(" + name + rb")(\s[^>]*)?(/>|>.*?</\1\s*>)", b"", xmp)


def _save_options(metadata, format):
    """Pillow's arguments that store the metadata in a format, as far as it can."""
    options = {}
    if "ICCP" in metadata:
        options["icc_profile"] = metadata["ICCP"]
    if "EXIF" in metadata:
        options["exif"] = b"Exif\0\0" + metadata["EXIF"]
    if "XMP " in metadata:
        if format == "PNG":
            xmp = metadata["XMP "].decode("utf-8", "replace")
            options["pnginfo"] = PngImagePlugin.PngInfo()
            options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp)
        else:
            options["xmp"] = metadata["XMP "]
    return options
