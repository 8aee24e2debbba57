"""Image codecs behind one small interface, for comparing them.

To add one, subclass `Codec` (or `PillowCodec`) and append it to `CODECS`, or
leave it in a module of your own and name it `my_module:MyCodec`.
"""

import abc
import difflib
import importlib
import importlib.metadata
import io
import math
import time

import numpy as np
import PIL
from PIL import Image, features

from balle2017.codec import MAX_EFFORT, ModelError, compress_to_bpp, decompress, list_models, load_family


class CodecUnavailable(Exception):
    """The codec's library or models are not installed; says in one sentence what to do."""


class Codec(abc.ABC):
    """Bytes from an image, and an image from bytes.

    Attributes:
      name: Short name, for the command line and for file names.
      label: Name for people.
      settings: Everything besides the quality that decides about the bytes,
        software versions included, for people.
      qualities: The qualities to measure unless told otherwise, by ascending rate.
      scale: All qualities that `match_size` may choose from, by ascending rate.
      media_type: Media type if browsers show the files, else `None`.
    """

    name: str
    label: str
    settings: str
    qualities: tuple
    scale: tuple
    media_type = None

    def takes(self, quality):
        """Whether there is such a quality."""
        return quality in self.scale or quality in self.qualities

    def version(self, quality):
        """What decides about the bytes at this quality: kept results are only valid for the same."""
        return self.settings

    @abc.abstractmethod
    def encode(self, pixels, quality):
        """Encodes uint8 `[height, width, 3]` and returns the bytes of a complete file."""

    @abc.abstractmethod
    def decode(self, data):
        """Decodes a file made by `encode` to uint8 `[height, width, 3]`."""

    def timed_encode(self, pixels, quality):
        """What `encode` returns, and how many seconds it takes."""
        start = time.perf_counter()
        data = self.encode(pixels, quality)
        return data, time.perf_counter() - start

    def warm_up(self, pixels, quality):
        """Loads libraries and models, as a first use does, which no time should include."""
        self.decode(self.encode(pixels, quality))


def pillow_bytes(pixels, file_format, **options):
    """Encodes uint8 `[height, width, 3]` to the bytes of a file of one of Pillow's formats."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, file_format, **options)
    return file.getvalue()


def pillow_pixels(data):
    """Decodes an image file's bytes to uint8 `[height, width, 3]`."""
    return np.array(Image.open(io.BytesIO(data)).convert("RGB"))


class PillowCodec(Codec):
    """A format that Pillow writes. Subclasses say with which options."""

    format: str
    feature: str
    description: str

    def __init__(self):
        if not features.check(self.feature):
            raise CodecUnavailable(f"This Pillow has no {self.label}: install a build of Pillow that has it.")
        version = features.version(self.feature)
        self.settings = f"Pillow {PIL.__version__} ({self.feature} {version}): {self.description}"

    @abc.abstractmethod
    def options(self, quality):
        """Keyword arguments of `PIL.Image.Image.save`."""

    def encode(self, pixels, quality):
        return pillow_bytes(pixels, self.format, **self.options(quality))

    def decode(self, data):
        return pillow_pixels(data)


class Jpeg(PillowCodec):
    name, label, format, feature = "jpeg", "JPEG", "JPEG", "libjpeg_turbo"
    description = "4:2:0, optimize=True"
    media_type = "image/jpeg"
    qualities = (3, 5, 8, 12, 17, 23, 30, 40, 50, 60, 70, 78, 85, 90, 94)
    scale = tuple(range(1, 96))

    def options(self, quality):
        return dict(quality=quality, subsampling="4:2:0", optimize=True)


class Jpeg2000(PillowCodec):
    """Quality is the target rate in bpp. Without `mct` it would lose 3 dB on colour images."""

    name, label, format, feature = "jpeg2000", "JPEG 2000", "JPEG2000", "jpg_2000"
    description = "irreversible=True, mct=1, quality_mode='rates', no_jp2=True, one layer"
    qualities = (0.06, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5)
    scale = tuple(round(0.04 * 1.01**i, 5) for i in range(520))

    def takes(self, quality):
        return 0 < quality <= 24

    def options(self, quality):
        rates = [24 / quality]
        return dict(irreversible=True, mct=1, quality_mode="rates", quality_layers=rates, no_jp2=True)


class WebP(PillowCodec):
    name, label, format, feature = "webp", "WebP", "WEBP", "webp"
    description = "lossy, method=6"
    media_type = "image/webp"
    qualities = (0, 2, 5, 10, 20, 30, 40, 50, 60, 70, 78, 84, 89, 93, 96)
    scale = tuple(range(101))

    def options(self, quality):
        return dict(quality=quality, method=6)


class Avif(PillowCodec):
    """Tuned for PSNR, as it is compared by PSNR; speed 0 would gain another 0.1 dB in four times the time."""

    name, label, format, feature = "avif", "AVIF", "AVIF", "avif"
    description = "speed=2, 4:4:4, tune=psnr"
    media_type = "image/avif"
    qualities = (3, 7, 12, 18, 26, 35, 45, 55, 65)
    scale = tuple(range(0, 100))

    def options(self, quality):
        return dict(quality=quality, speed=2, subsampling="4:4:4", advanced={"tune": "psnr"})


class JpegXl(PillowCodec):
    """Quality is that of `cjxl`, from which the encoder derives its Butteraugli distance."""

    name, label, format = "jpegxl", "JPEG XL", "JXL"
    description = "lossy, effort=9"
    qualities = (3, 6, 10, 16, 24, 34, 45, 57, 68, 78, 86, 91)
    scale = tuple(range(1, 100))

    def __init__(self):
        try:
            import pillow_jxl  # noqa: F401 (registers the format)
        except ImportError:
            raise CodecUnavailable("JPEG XL needs Pillow's plugin: pip install pillow-jxl-plugin.") from None
        version = importlib.metadata.version("pillow-jxl-plugin")
        self.settings = f"pillow-jxl-plugin {version}: {self.description}"

    def options(self, quality):
        return dict(quality=quality, effort=9)


# What people call that for which a family was trained.
_LABELS = {"msssim": "MS-SSIM"}


class RatePoints(Codec):
    """A family of this package's models, such as `bls2017-mse`; the quality is the number in a model's name.

    Attributes:
      models: `codec.Model`s by number.
      distortion: What they were trained for, `mse` or `ms_ssim`.
      effort: 0 to 4.

    Args:
      family: Name of the models up to the last hyphen.
      models_dir: Folder of models, see `codec.models_dir`.
      effort: 0 to 4; an effort above 0 makes a codec of its own, `bls2017-mse-effort3`.

    Raises:
      CodecUnavailable: There are no such models.
    """

    def __init__(self, family, models_dir=None, effort=0):
        try:
            models = load_family(family, models_dir)
        except ModelError as error:
            raise CodecUnavailable(str(error)) from None
        if models[0].channels != 3:
            raise CodecUnavailable(f"The models {family} are for grayscale images; the comparison is in colour.")
        self._models_dir = models_dir
        self.effort = effort
        self.models = {int(model.name.rpartition("-")[2]): model for model in models}
        self.distortion = models[0].info.get("distortion", "mse")
        kind = family.partition("-")[2]
        self.name, self.label = family, f"balle2017 ({_LABELS.get(kind, kind.upper())})"
        self.settings = "this package's files, header included; models " + ", ".join(m.name for m in models)
        self.qualities = self.scale = tuple(self.models)
        if effort:
            self.name += f"-effort{effort}"
            self.label += f", effort {effort}"
            self.settings += f"; effort {effort}"

    def version(self, quality):
        model = self.models[quality]
        # The decoder's fingerprint does not know into which slices the encoder cuts.
        version = f"fingerprint {model.fingerprint:08x}; slices of {model.info['slice_length']}"
        if self.effort:
            from balle2017.codec import refine

            version += f"; {refine.DESCENTS[: self.effort]}"
        return version

    def encode(self, pixels, quality):
        return self.models[quality].compress(pixels, effort=self.effort)

    def warm_up(self, pixels, quality):
        model = self.models[quality]
        self.decode(model.compress(pixels))
        # The rest may take minutes, of which the first steps warm up all.
        model.compress(pixels, effort=min(self.effort, 1))
        model.compress(pixels[:64, :64], effort=min(self.effort, 4))

    def decode(self, data):
        return decompress(data, self._models_dir).pixels


class TargetRate(RatePoints):
    """A family that is told the rate: the quality is the target in bpp."""

    def __init__(self, family, models_dir=None, effort=1):
        super().__init__(family, models_dir, effort)
        self.name, self.label = f"{self.name}-target", f"{self.label}, target rate"
        self.qualities = self.scale = (0.25, 0.5, 1.0)

    def version(self, quality):
        return "; ".join(super(TargetRate, self).version(number) for number in self.models)

    def warm_up(self, pixels, quality):
        for number in self.models:
            super().warm_up(pixels, number)

    def encode(self, pixels, quality):
        models = list(self.models.values())
        return compress_to_bpp(models, pixels, quality, effort=self.effort)[1]


CODECS = [Jpeg, Jpeg2000, WebP, Avif, JpegXl]


def families(models_dir=None):
    """Names of the families of models that are installed, numbered at the end as `bls2017-mse-4`."""
    names = [info["name"].rpartition("-") for info in list_models(models_dir)]
    return sorted({family for family, _, number in names if number.isdigit()})


def find(name, models_dir=None):
    """The codec of a name.

    Args:
      name: `name` of one of `CODECS`, a family of models, one with an effort
        (`bls2017-mse-effort3`), or `module:Class`.
      models_dir: Folder of models, see `codec.models_dir`.

    Raises:
      CodecUnavailable: There is none of that name, or what it needs is not installed.
    """
    if ":" in name:
        module, _, attribute = name.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)()
        except (ImportError, AttributeError) as error:
            raise CodecUnavailable(f"Codec {name!r} can't be imported: {error}.") from None
    for codec in CODECS:
        if codec.name == name:
            return codec()
    known = families(models_dir)
    family, _, effort = name.partition("-effort")
    if family in known and effort in ("", *map(str, range(1, MAX_EFFORT + 1))):
        return RatePoints(family, models_dir, int(effort or 0))
    names = [codec.name for codec in CODECS] + known
    near = difflib.get_close_matches(name, names, 1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    raise CodecUnavailable(
        f"There is no codec {name!r}{hint}: choose of {', '.join(names)}, or name a class as module:Class."
    )


def installed(models_dir=None):
    """All families of models, and one of each codec of `CODECS` whose library is installed."""
    found = [RatePoints(family, models_dir) for family in families(models_dir)]
    for codec in CODECS:
        try:
            found.append(codec())
        except CodecUnavailable:
            pass
    return found


def match_size(codec, pixels, size):
    """Encodes with the quality that brings the file nearest to a size.

    Args:
      codec: A `Codec`, whose file sizes are taken to grow along its `scale`.
      pixels: uint8 `[height, width, 3]`.
      size: Bytes.

    Returns:
      The quality and the bytes. Near in the ratio of the sizes.
    """
    best = None
    low, high = 0, len(codec.scale) - 1
    while low <= high:
        middle = (low + high) // 2
        quality = codec.scale[middle]
        data = codec.encode(pixels, quality)
        distance = abs(math.log(len(data) / size))
        if best is None or distance < best[0]:
            best = distance, quality, data
        if len(data) < size:
            low = middle + 1
        else:
            high = middle - 1
    return best[1:]
