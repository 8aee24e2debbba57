"""Pillow reads and writes `.tfci` once this module is imported.

    import balle2017.pillow
    Image.open("a.tfci")
    image.save("b.tfci", model="bls2017-mse-4")

`save` takes `model` (default `bls2017-mse-4`), `models_dir`, `effort` (0 to 9,
default 0), and `exif`, `icc_profile` and `xmp` as Pillow's other formats do. Like JPEG, the format
holds RGB and grayscale only; convert other modes first.
"""

import io

import numpy as np
from PIL import Image, ImageFile

from balle2017 import codec
from balle2017.container import bitstream


class TfciImageFile(ImageFile.ImageFile):
    """A `.tfci` file; opening it checks its checksums, loading it runs the model."""

    format = "TFCI"
    format_description = "balle2017"

    def _open(self):
        self._data = self.fp.read()
        try:
            contents = bitstream.unpack(self._data)
        except bitstream.BitstreamError as error:
            # Not a SyntaxError, upon which Pillow would ask other plugins and forget the reason.
            raise OSError(str(error)) from None
        self._size = contents.width, contents.height
        self._mode = "RGB" if contents.channels == 3 else "L"
        for tag, key, prefix in _METADATA:
            if tag in contents.metadata:
                self.info[key] = prefix + contents.metadata[tag]
        self.info["model"] = contents.model

    def load(self):
        if self._data is not None:
            try:
                # Pillow itself has decided on the size.
                decoded = codec.decompress(self._data, max_pixels=bitstream.MAX_SIZE**2)
            except (bitstream.BitstreamError, codec.ModelError) as error:
                raise OSError(str(error)) from None
            self._data = None
            self.fp = io.BytesIO(decoded.pixels)
            self.tile = [ImageFile._Tile("raw", (0, 0) + self.size, 0, self.mode)]
        return super().load()

    def load_seek(self, pos):
        pass


_METADATA = (("EXIF", "exif", b"Exif\0\0"), ("ICCP", "icc_profile", b""), ("XMP ", "xmp", b""))


def _accept(prefix):
    return prefix.startswith(bitstream.MAGIC)


def _save(image, file, filename):
    options = image.encoderinfo
    if image.mode not in ("1", "L", "RGB"):
        raise OSError(f"cannot write mode {image.mode} as TFCI")
    try:
        model = codec.load(options.get("model", codec.DEFAULT_MODEL), options.get("models_dir"))
    except codec.ModelError as error:
        raise ValueError(str(error)) from None
    metadata = {}
    for tag, key, prefix in _METADATA:
        value = options.get(key) or b""
        if isinstance(value, Image.Exif):
            value = value.tobytes()
        if value:
            metadata[tag] = value.removeprefix(prefix)
    pixels = np.asarray(image.convert("RGB" if model.channels == 3 else "L"))
    pixels = pixels.reshape(image.height, image.width, -1)
    try:
        file.write(model.compress(pixels, metadata, options.get("effort", 0)))
    except codec.ModelError as error:
        raise ValueError(str(error)) from None


Image.register_open(TfciImageFile.format, TfciImageFile, _accept)
Image.register_save(TfciImageFile.format, _save)
Image.register_extension(TfciImageFile.format, ".tfci")
Image.register_mime(TfciImageFile.format, "image/x-tfci")
