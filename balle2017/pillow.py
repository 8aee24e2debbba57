"""Pillow reads and writes `.tfci` once this module is imported.

    import balle2017.pillow
    Image.open("a.tfci")
    image.save("b.tfci", model="bls2017-mse-4")

`save` takes `model` (default `bls2017-mse-4`), `models_dir`, `effort` (0 to 4, default 0) and with an
effort `lmbda`, as `codec.Model.compress` does; or `target_bpp` and `bpp_strict`, with the name of a
family as `model` (default `bls2017-mse`) and effort 1 by default (0 where there is no TensorFlow, which
efforts need); and `exif`, `icc_profile` and `xmp` as Pillow's other formats do. Like JPEG, the format
holds RGB and grayscale only; convert other modes first. The image's own ICC profile is kept, unless
`icc_profile` is another or `None`; grayscale in a profile becomes RGB in sRGB.
"""

import io

from PIL import Image, ImageFile

from balle2017 import codec
from balle2017.container import bitstream
from balle2017.pictures import colour


class TfciImageFile(ImageFile.ImageFile):
    """A `.tfci` file; opening it checks its checksums, loading it runs the model."""

    format = "TFCI"
    format_description = "balle2017"
    # Of a copy or an unpickled image, which have their pixels.
    _data = None

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
            if self.fp and self._exclusive_fp:
                self.fp.close()
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
    target = options.get("target_bpp")
    usual = codec.DEFAULT_MODEL if target is None else codec.DEFAULT_MODEL.rpartition("-")[0]
    name = options.get("model", usual)
    if target is not None and options.get("lmbda") is not None:
        raise ValueError("There is one λ for target_bpp, so no lmbda to choose.")
    try:
        find = codec.load if target is None else codec.load_family
        models = find(name, options.get("models_dir"))
        models = [models] if target is None else models
        pixels, metadata = _pixels_and_metadata(image, options, models[0].channels)
        if target is None:
            data = models[0].compress(pixels, metadata, options.get("effort", 0), options.get("lmbda"))
        else:
            strict, effort = options.get("bpp_strict", False), options.get("effort", codec.default_effort(target))
            _, data = codec.compress_to_bpp(models, pixels, target, strict, metadata, effort)
    except codec.ModelError as error:
        raise ValueError(str(error)) from None
    file.write(data)


def _pixels_and_metadata(image, options, channels):
    metadata = {}
    for tag, key, prefix in _METADATA:
        value = options.get(key) or b""
        if isinstance(value, Image.Exif):
            value = value.tobytes()
        if value:
            metadata[tag] = value.removeprefix(prefix)
    image = image.copy()
    image.info["icc_profile"] = options.get("icc_profile", image.info.get("icc_profile"))
    colours = colour.plan(image, None, channels, keep_profile=True)
    metadata["ICCP"] = colours.profile
    return colours.apply(image, channels), {tag: value for tag, value in metadata.items() if value}


Image.register_open(TfciImageFile.format, TfciImageFile, _accept)
Image.register_save(TfciImageFile.format, _save)
Image.register_extension(TfciImageFile.format, ".tfci")
Image.register_mime(TfciImageFile.format, "image/x-tfci")
