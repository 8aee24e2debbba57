"""The bytes of a file to pixels, with the model that it names: as a whole, or band by band."""

from typing import NamedTuple

import numpy as np

from balle2017.codec.model_info import ModelError
from balle2017.codec.registry import load
from balle2017.container import bitstream
from balle2017.container.bitstream import BitstreamError
from balle2017.model.network import STRIDE
from balle2017.pictures.images import MAX_PIXELS


class TooLargeError(BitstreamError):
    """A file's picture has more than `max_pixels`."""


class Decoded(NamedTuple):
    """A decoded file.

    Attributes:
      pixels: uint8 `[height, width, channels]`.
      model: Name of the model.
      metadata: Bytes by tag.
      notices: Sentences for the user, if the file was damaged.
      lost: Indices of slices that could not be decoded.
    """

    pixels: np.ndarray
    model: str
    metadata: dict[str, bytes]
    notices: list[str]
    lost: list[int]


def decompress(data, path=None, max_pixels=MAX_PIXELS, salvage=False, arithmetic="float32", runtime="auto") -> Decoded:
    """Decodes a file with the model that it names.

    Args and errors are those of `Decompression`.
    """
    decoded = Decompression(data, path, max_pixels, salvage, arithmetic, runtime)
    pixels = decoded.whole()
    return Decoded(pixels, decoded.model, decoded.metadata, decoded.notices, decoded.lost)


class Decompression:
    """A file that is decoded from top to bottom: iterate over its bands, uint8 `[rows, width, channels]`.

    Args:
      data: The bytes of a `.tfci` file.
      path: Folder of models, see `models_dir`.
      max_pixels: Larger pictures are refused before anything is allocated.
      salvage: Whether to decode what is left of a damaged file; the notices
        then say what is lost. Lost latents repeat those above them.
      arithmetic, runtime: See `load`.

    Attributes:
      shape: `(height, width, channels)`.
      model: Name of the model.
      metadata: Bytes by tag.
      notices: Sentences for the user, if the file was damaged; complete after the last band.
      lost: Indices of slices that could not be decoded; complete after the last band.

    Raises:
      BitstreamError: If the bytes are no such file, or damaged, which may show only in a band.
      ModelError: If the model is not installed, or another one made the file.
    """

    def __init__(self, data, path=None, max_pixels=MAX_PIXELS, salvage=False, arithmetic="float32", runtime="auto"):
        self.notices, self.lost = [], []
        self._causes = []
        if salvage:
            self._contents, lost, cause = bitstream.salvage(data)
            if cause != bitstream.NOT_DAMAGED:
                self._causes = [cause]
                self.notices.append(cause)
        else:
            self._contents = bitstream.unpack(data)
        width, height = self._contents.width, self._contents.height
        if width * height > max_pixels:
            raise TooLargeError(f"The picture is too large ({width}×{height}, more than {max_pixels} pixels).")
        self.shape = (height, width, self._contents.channels)
        self.model = self._contents.model
        self.metadata = self._contents.metadata
        self._salvage = salvage
        try:
            self._decoder = load(self.model, path, arithmetic, runtime)
            self._decoder.check(self._contents)
        except ModelError as error:
            if not self._causes or self._causes == [bitstream.PUT_RIGHT]:
                raise
            raise ModelError(f"The file is damaged, perhaps where it says what made it: {error}") from None

    def whole(self, progress=None):
        """All bands as one array, uint8 `[height, width, channels]`; `progress` as of `bands`."""
        pixels, top = np.empty(self.shape, np.uint8), 0
        for band in self.bands(progress):
            pixels[top : top + len(band)] = band
            top += len(band)
        return pixels

    def __iter__(self):
        return self.bands()

    def bands(self, progress=None):
        """Yields the bands; `progress` is a function of the rows of pixels done since its last call."""
        # Each pass finds the same.
        self.lost[:], self.notices[:] = [], self._causes
        for band in self._decoder.decode_bands(self._contents, self._salvage, self.lost):
            yield band
            if progress:
                progress(len(band))
            del band
        if self.lost:
            self.notices.append(_describe_loss(self._contents, self.lost))


def _describe_loss(contents, lost):
    """Says where in the picture lost slices are."""
    width, length = contents.latent_size[1], contents.slice_length
    top = STRIDE * (lost[0] * length // width)
    last = min((lost[-1] + 1) * length, contents.num_positions) - 1
    bottom = min(STRIDE * (last // width + 1), contents.height)
    return f"{len(lost)} of {contents.num_slices} slices are lost, between the rows {top} and {bottom} of the picture."
