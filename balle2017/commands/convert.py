"""Picture files to `.tfci` files and back: what the commands and the pipeline do to each file."""

import dataclasses
import io
import tempfile
from typing import BinaryIO, Optional, Union

import numpy as np

from balle2017 import codec
from balle2017.commands import hints, memory
from balle2017.pictures import images, metadata, png, streamed

# Larger outputs are kept in a temporary file until they are written.
_BUFFER = 2**24


@dataclasses.dataclass(frozen=True)
class Options:
    """How files are converted, the same for all of a run.

    Attributes:
      model: Name of a model, or with `target_bpp` of a family (`bls2017-mse`).
      models_dir: See `codec.models_dir`.
      target_bpp: Bits per pixel to come close to; `None`: as `model` gives.
      bpp_strict: Whether `target_bpp` must not be exceeded.
      effort: 0 to 4, see `codec.Model.compress`.
      lmbda: λ in place of the model's own, with an effort above 0.
      keep_metadata, keep_gps: What `compress` keeps of EXIF, ICC profile, XMP.
      max_pixels: Larger pictures are refused.
      salvage: Whether `decompress` decodes what is left of a damaged file.
      arithmetic: "float32" or "bfloat16", see `codec.load`.
      runtime: "auto", "onnx" or "tensorflow", see `codec.load`.
    """

    model: Optional[str] = None
    models_dir: Optional[str] = None
    target_bpp: Optional[float] = None
    bpp_strict: bool = False
    effort: int = 0
    lmbda: Optional[float] = None
    keep_metadata: bool = False
    keep_gps: bool = False
    max_pixels: int = images.MAX_PIXELS
    salvage: bool = False
    arithmetic: str = "float32"
    runtime: str = "auto"


@dataclasses.dataclass
class Result:
    """A converted file.

    Attributes:
      file: The new file, binary, to be read from its start.
      size: Its bytes.
      model: Name of the model.
      notices: Sentences for the user about what was lost.
      damaged: Whether parts of the picture are lost (only with `salvage`).
      pixels: What `compress` has read, uint8 `[height, width, channels]`.
    """

    file: BinaryIO
    size: int
    model: str
    notices: list[str]
    damaged: bool = False
    pixels: Union[np.ndarray, streamed.StreamedPixels, None] = None


def compress(source, options, progress=None) -> Result:
    """Makes a `.tfci` file of a picture file (a path or a binary file object).

    Args:
      source: The picture file.
      options: `Options`.
      progress: Function of how many steps there will be, `None` if nobody knows, and of what is
        done, which returns a function of the steps done since its last call and of a note.

    Raises:
      images.ImageError, codec.ModelError, OSError: As their sentences say.
    """
    models = candidates(options)
    how = dict(
        channels=models[0].channels,
        max_pixels=options.max_pixels,
        keep_metadata=options.keep_metadata or options.keep_gps,
        keep_gps=options.keep_gps,
    )
    picture = streamed.read(source, **how) or images.read(source, **how)
    pixels, notices = picture.pixels, hints.of_notices(picture)
    if _is_large(pixels):
        memory.return_large_blocks()
    if options.target_bpp is None:
        model = models[0]
        report = progress and _lagrangian(progress(model.count_steps(pixels, options.effort), model.name))
        data = model.compress(pixels, picture.metadata, options.effort, options.lmbda, report)
    else:
        report = progress and _lagrangian(progress(None, options.model))
        model, data = codec.compress_to_bpp(
            models,
            pixels,
            options.target_bpp,
            options.bpp_strict,
            picture.metadata,
            options.effort,
            report,
        )
        notices = notices + _missed(options, model, 8 * len(data) / (pixels.shape[0] * pixels.shape[1]))
    return Result(io.BytesIO(data), len(data), model.name, notices, pixels=pixels)


def decompress(data, options, format="PNG", progress=None) -> Result:
    """Makes a picture file of the bytes of a `.tfci` file.

    Args:
      data: The bytes.
      options: `Options`.
      format: Pillow's name of the format.
      progress: As of `compress`, in rows of pixels.

    Raises:
      bitstream.BitstreamError, codec.ModelError, images.ImageError: As their sentences say.
    """
    decoded = codec.Decompression(
        data,
        options.models_dir,
        options.max_pixels,
        options.salvage,
        options.arithmetic,
        options.runtime,
    )
    report = progress and progress(decoded.shape[0], decoded.model)
    large = _is_large(decoded)
    if large:
        memory.return_large_blocks()
    if format == "PNG" and large:
        out = tempfile.SpooledTemporaryFile(_BUFFER)
        kept, notices = metadata.storable(decoded.metadata, format, decoded.shape[2])
        png.write(out, decoded.shape, decoded.bands(report), kept)
    else:
        out = io.BytesIO()
        notices = images.write(out, decoded.whole(report), decoded.metadata, format)
    out.seek(0, io.SEEK_END)
    size = out.tell()
    out.seek(0)
    return Result(out, size, decoded.model, decoded.notices + notices, bool(decoded.lost))


def candidates(options):
    """The models that `compress` chooses from: one, or with a target all of a family.

    Raises:
      codec.ModelError: If there is none, or the effort cannot be had.
    """
    codec.check_effort(options.effort)
    how = options.model, options.models_dir, options.arithmetic, options.runtime
    return [codec.load(*how)] if options.target_bpp is None else codec.load_family(*how)


def _is_large(picture):
    """Whether memory matters more than time."""
    return picture.shape[0] * picture.shape[1] > streamed.LARGE_PIXELS


def _missed(options, model, bpp):
    """A notice, if the rate is not the one that was asked for: by more than 1 %, or of no model's."""
    if abs(bpp / options.target_bpp - 1) <= 0.01:
        return []
    if options.effort:
        how = f"the nearest that {model.name} can do"
    else:
        needs = "" if codec.can_refine() else ", for which TensorFlow is needed,"
        how = f"the nearest of the models, {model.name}; an --effort above 0{needs} finds rates between them"
    return [f"It has {bpp:.4f} bits per pixel and not {options.target_bpp:g}: {how}."]


def _lagrangian(report):
    """The `progress` of `codec.Model.compress` that shows the Lagrangian."""
    return lambda steps, value=None: report(steps, "" if value is None else f"bpp + λ·MSE = {value:.4f}")
