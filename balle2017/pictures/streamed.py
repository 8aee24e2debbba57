"""Large pictures read from top to bottom as they are needed, and never in memory as a whole.

Pillow can only read a whole picture, at four bytes a pixel. libvips reads the
rows that are asked for, of JPEG and PNG files with the same result to the bit.
"""

import os
import struct

import numpy as np
from PIL import Image

from balle2017.files import streams
from balle2017.pictures import colour, images, metadata

# Smaller pictures are read whole.
LARGE_PIXELS = 2**24
# Rows that libvips is asked for at once.
_ROWS = 128


def read(source, channels=3, max_pixels=images.MAX_PIXELS, keep_metadata=False, keep_gps=False):
    """Opens a large picture for reading in bands.

    Takes upright JPEG and PNG files of 8 bits, in colour or grayscale and without transparency; not
    PNG files with metadata after their pixels.

    Args:
      source: Path or binary file object.
      channels, max_pixels, keep_metadata, keep_gps: As `images.read`.

    Returns:
      An `images.Picture` whose `pixels` are `StreamedPixels`; `None` for every other file, be it
      damaged, which `images.read` then takes.
    """
    if not isinstance(source, (str, bytes)) and not hasattr(source, "__fspath__"):
        return None
    if streams.is_stream(source):
        return None
    try:
        with Image.open(source) as image:
            if not LARGE_PIXELS < image.width * image.height <= max_pixels:
                return None
            if image.format not in ("JPEG", "PNG") or image.mode not in ("RGB", "L"):
                return None
            if image.has_transparency_data or getattr(image, "n_frames", 1) > 1:
                return None
            if image.format == "PNG" and _has_late_metadata(source):
                return None
            # Not PngImageFile's own, which would read all pixels to find what may stand after them.
            exif = Image.Image.getexif(image)
            if exif.get(metadata.ORIENTATION, 1) != 1:
                return None
            colours = colour.plan(image, exif, channels, keep_metadata)
            picture = images.Picture(StreamedPixels(source, channels, colours))
            images.finish(picture, image, exif, colours, keep_metadata, keep_gps)
            return picture
    except Exception:
        return None


def _has_late_metadata(path):
    """Whether a PNG file has EXIF, XMP or other text after its pixels."""
    after = False
    with open(path, "rb") as file:
        file.seek(8)
        while len(header := file.read(8)) == 8:
            length, name = struct.unpack(">I4s", header)
            after |= name == b"IDAT"
            if after and name in (b"eXIf", b"iTXt", b"tEXt", b"zTXt"):
                return True
            file.seek(length + 4, os.SEEK_CUR)
    return False


class StreamedPixels:
    """Stands for an array uint8 `[height, width, channels]`, of which slices of rows are read.

    A slice should not begin above the one before it: each step back reads the
    file from its beginning again. `np.asarray` reads the whole picture.

    Args:
      path: A JPEG or PNG file of 8 bits, colour or grayscale.
      channels: 3 (RGB) or 1 (grayscale), whatever the file has.
      colours: What is to be done with its colours.

    Raises:
      images.ImageError: If the file cannot be read or is damaged, which may show only in a slice.
      ValueError: If it has other channels or more bits.
    """

    dtype = np.dtype(np.uint8)
    ndim = 3

    def __init__(self, path, channels, colours=colour.AS_THEY_ARE):
        # A quarter of a second, which only large pictures need.
        import pyvips

        # Of what has been computed, nothing is asked for again.
        pyvips.cache_set_max(0)
        self._vips = pyvips
        self._path = path
        self._colours = colours
        image = self._open()
        if image.format != "uchar" or image.bands not in (1, 3):
            raise ValueError(f"{path} has {image.bands} bands of {image.format}.")
        self.shape = (image.height, image.width, channels)

    def __getitem__(self, rows):
        top, bottom, _ = rows.indices(self.shape[0])
        if top < self._top:
            self._open()
        kept = self._rows[top - self._top :].copy()
        end = self._top + len(self._rows)
        # Two bands at once would be twice the memory. After an error, the next slice starts anew.
        self._top, self._rows = float("inf"), None
        pixels = np.empty([max(end, bottom) - top, self.shape[1], kept.shape[2]], np.uint8)
        pixels[: len(kept)] = kept
        for here in range(max(end, top), bottom, _ROWS):
            count = min(_ROWS, bottom - here)
            try:
                fresh = self._region.fetch(0, here, self.shape[1], count)
            except self._vips.Error as error:
                raise images.damaged(_first_line(error)) from None
            part = pixels[here - top : here - top + count]
            part[:] = np.frombuffer(fresh, np.uint8).reshape(part.shape)
        self._top, self._rows = top, pixels
        return self._converted(pixels[: bottom - top])

    def __array__(self, dtype=None, copy=None):
        # Always new, which is what `copy` may ask for.
        return np.asarray(self[:], dtype)

    def _open(self):
        try:
            image = self._vips.Image.new_from_file(self._path, access="sequential", fail_on="error")
            self._region = self._vips.Region.new(image)
        except self._vips.Error as error:
            raise images.damaged(_first_line(error)) from None
        self._top = 0
        self._rows = np.empty([0, image.width, image.bands], np.uint8)
        return image

    def _converted(self, rows):
        """In other colours, and between colour and grayscale, as `images.read` does it."""
        if rows.shape[2] == self.shape[2] and not self._colours.convert:
            return rows
        if len(rows) == 0:
            return np.empty([0, *self.shape[1:]], np.uint8)
        image = Image.fromarray(rows[:, :, 0] if rows.shape[2] == 1 else rows)
        return self._colours.apply(image, self.shape[2])


def _first_line(error):
    lines = (error.detail or error.message).strip().splitlines()
    return lines[0] if lines else "libvips does not say how"
