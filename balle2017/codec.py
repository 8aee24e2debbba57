"""The codec: pixels to the bytes of a `.tfci` file and back, with an exported pair of models.

Large pictures are transformed in overlapping tiles, so memory is bounded. A
tile's context is exactly what the receptive fields take. Stage by stage, an
analysis output j sees inputs 4j−2 … 4j+6, then 2j−1 … 2j+3 twice, which makes
pixels 16j−14 … 16j+42 of latent j: one latent before its own block and two
after it. Synthesis is the adjoint, so it needs two before and one after.
Where a tile ends at the picture's border, it sees the padding that the whole
picture sees.

TensorFlow is imported when the first transform runs, not with this module.
"""

import functools
import importlib.util
import json
import os
import pathlib
import sys
import threading
from typing import Dict, List, NamedTuple, Optional

import numpy as np

from balle2017 import bitstream
from balle2017.bitstream import STRIDE, Bitstream, BitstreamError, DamagedError
from balle2017.images import MAX_PIXELS, ImageError

MODELS_VARIABLE = "BALLE2017_MODELS"

# What the transforms compute with, and how the names of their signatures end. With bfloat16 only the
# factors of products are rounded; files stay compatible, pixels differ a little.
ARITHMETIC = {"float32": "", "bfloat16": "_bfloat16"}
MAX_EFFORT = 9

# Latents before and after a tile that its own latents, or pixels, depend on.
_ANALYSIS_CONTEXT = (1, 2)
_SYNTHESIS_CONTEXT = (2, 1)
# Latents in a tile with its context: about a megapixel, some 200 MB of activations.
_TILE_SIDE = 64
_TILE_AREA = _TILE_SIDE**2
# Latents in a row of tiles, of which pixels and latents are in memory: tiles of wide pictures are flat.
_BAND_AREA = 2**15
_MIN_TILE_SIDE = 16
# Latent positions that go through the range coder at once.
_CODER_POSITIONS = 2**14


class ModelError(ValueError):
    """A model is missing, broken, or not the one that a file needs."""


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
    metadata: Dict[str, bytes]
    notices: List[str]
    lost: List[int]


def models_dir(path=None) -> pathlib.Path:
    """The folder of models: `path`, or `$BALLE2017_MODELS`, or what ships with the package."""
    path = path or os.environ.get(MODELS_VARIABLE)
    if path:
        if not os.path.isdir(path):
            raise ModelError(f"There is no folder of models at {path}.")
        return pathlib.Path(path)
    package = pathlib.Path(__file__).resolve().parent
    installed, checkout = package / "saved_models", package.parent / "saved_models"
    return installed if installed.is_dir() else checkout


def list_models(path=None) -> List[dict]:
    """What `model.json` says of each installed model, by family and ascending λ."""
    found = []
    for file in sorted(models_dir(path).glob("*/model.json")):
        found.append(_read_info(file.parent))
    return sorted(found, key=lambda info: (info["name"].rpartition("-")[0], info["lambda"]))


@functools.lru_cache(maxsize=16)
def load(name, path=None, arithmetic="float32") -> "Model":
    """The model of a name, or in a folder, loaded once.

    Args:
      name: For example `bls2017-mse-4`, or the path of an exported model.
      path: Folder of models, see `models_dir`.
      arithmetic: "float32", or "bfloat16", which is faster on processors that multiply it.

    Raises:
      ModelError: If there is none.
    """
    if os.path.basename(name) != name:
        return Model(name, arithmetic)
    folder = models_dir(path) / name
    if not (folder / "model.json").is_file():
        names = [info["name"] for info in list_models(path)]
        known = f"installed are {', '.join(names)}" if names else "none is installed"
        raise ModelError(f"There is no model {name} in {folder.parent}; {known}.")
    return Model(folder, arithmetic)


def load_family(name, path=None, arithmetic="float32") -> List["Model"]:
    """All models of a family such as `bls2017-mse`, by ascending λ.

    Raises:
      ModelError: If there is none.
    """
    infos = list_models(path)
    members = [i["name"] for i in infos if i["name"].rpartition("-")[0] == name]
    if not members:
        families = sorted({info["name"].rpartition("-")[0] for info in infos})
        known = f"installed are {', '.join(families)}" if families else "none is installed"
        raise ModelError(f"There is no family of models {name} in {models_dir(path)}; {known}.")
    return [load(member, path, arithmetic) for member in members]


def compress_to_bpp(models, pixels, target, strict=False, metadata=None, effort=0):
    """Compresses to a number of bits per pixel, with the model whose file comes closest.

    With effort 0 that is all. Otherwise the latents are refined for the λ at
    which the file has the size that is wanted, usually within half a percent.

    Args:
      models: Models by ascending rate.
      pixels: uint8 `[height, width, channels]`.
      target: Bits per pixel of the file.
      strict: Whether the target must not be exceeded.
      metadata: Bytes by tag, or `None`.
      effort: 0 to 9.

    Returns:
      The model, and the bytes of the file.

    Raises:
      ModelError: If `strict` and even the first model exceeds the target.
    """
    if effort:
        # Here, not in each of the models: a large picture would be read anew each time.
        pixels = np.asarray(pixels)
    size = target * pixels.shape[0] * pixels.shape[1] / 8
    files = {}

    def compressed(index):
        if index not in files:
            files[index] = models[index].compress(pixels, metadata)
        return len(files[index])

    # The first model that exceeds the target is at `high`, the last that does not below `low`.
    low, high = 0, len(models)
    while low < high:
        middle = (low + high) // 2
        if compressed(middle) > size:
            high = middle
        else:
            low = middle + 1
    choices = [i for i in (low - 1, low) if 0 <= i < len(models)]
    if effort:
        # The nearest first; what lies too far for it, the other reaches from its side.
        choices.sort(key=lambda i: abs(np.log(compressed(i) / size)))
        found = []
        for i in choices:
            try:
                data = models[i].compress_to_size(pixels, size, effort, strict, metadata)
            except ModelError:
                if i == choices[-1] and not found:
                    raise
                continue
            found.append((abs(len(data) / size - 1), i, data))
            if found[-1][0] <= 0.005:
                break
        _, index, data = min(found)
        return models[index], data
    if strict:
        choices = [i for i in choices if compressed(i) <= size]
        if not choices:
            bpp = 8 * compressed(0) / (pixels.shape[0] * pixels.shape[1])
            raise ModelError(f"Even {models[0].name} takes {bpp:.4f} bits per pixel.")
    best = min(choices, key=lambda i: abs(compressed(i) - size))
    return models[best], files[best]


def decompress(
    data, path=None, max_pixels=MAX_PIXELS, salvage=False, arithmetic="float32"
) -> Decoded:
    """Decodes a file with the model that it names.

    Args and errors are those of `Decompression`.
    """
    decoded = Decompression(data, path, max_pixels, salvage, arithmetic)
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
      arithmetic: See `load`.

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

    def __init__(self, data, path=None, max_pixels=MAX_PIXELS, salvage=False, arithmetic="float32"):
        self.notices, self.lost = [], []
        if salvage:
            self._contents, lost, cause = bitstream.salvage(data)
            if lost or "not damaged" not in cause:
                self.notices.append(cause)
        else:
            self._contents = bitstream.unpack(data)
        width, height = self._contents.width, self._contents.height
        if width * height > max_pixels:
            raise BitstreamError(
                f"The picture is too large ({width}×{height}, more than {max_pixels} pixels);"
                " --max_pixels raises the limit."
            )
        self.shape = (height, width, self._contents.channels)
        self.model = self._contents.model
        self.metadata = self._contents.metadata
        self._salvage = salvage
        self._decoder = load(self.model, path, arithmetic)

    def whole(self):
        """All bands as one array, uint8 `[height, width, channels]`."""
        pixels, top = np.empty(self.shape, np.uint8), 0
        for band in self:
            pixels[top : top + len(band)] = band
            top += len(band)
        return pixels

    def __iter__(self):
        yield from self._decoder.decode_bands(self._contents, self._salvage, self.lost)
        if self.lost:
            self.notices.append(_describe_loss(self._contents, self.lost))


class Model:
    """A rate point: its exported encoder and decoder, each loaded when first used.

    Attributes:
      folder: Where it is.
      arithmetic: See `load`.
      info: The contents of `model.json`.
      name, channels, num_latents, slice_length, fingerprint: From it.
    """

    def __init__(self, folder, arithmetic="float32"):
        self.folder = pathlib.Path(folder)
        self.arithmetic = arithmetic
        self._suffix = ARITHMETIC[arithmetic]
        self.info = _read_info(self.folder)
        self.name = self.info["name"]
        self.channels = self.info["channels"]
        self.num_latents = self.info["num_latents"]
        self.slice_length = self.info["slice_length"]
        self.fingerprint = self.info["fingerprint"]
        self._signatures = {}
        self._lock = threading.Lock()
        self._refiner = None
        self._refiner_lock = threading.Lock()

    def compress(
        self,
        pixels,
        metadata: Optional[Dict[str, bytes]] = None,
        effort=0,
        lmbda=None,
        progress=None,
    ) -> bytes:
        """Codes a picture, uint8 `[height, width, channels]`, as the bytes of a file.

        Args:
          pixels: The picture, an array or `streamed.StreamedPixels`.
          metadata: Bytes by tag.
          effort: 0 rounds the latents; 1 to 9 choose them for `rate + λ · distortion`, the
            better the longer it takes.
          lmbda: λ of bits per pixel + λ · MSE in place of the model's own; not with effort 0.
          progress: With effort, a function of the steps done since the last call and of the
            Lagrangian.

        Raises:
          ValueError: If the model takes other arrays, or there is no such effort.
          images.ImageError: If a side exceeds 2²⁴ − 1.
          ModelError: If the model cannot be refined for.
        """
        pixels = self._checked(pixels, effort)
        if effort == 0:
            if lmbda is not None:
                raise ValueError("With effort 0 there is no λ to choose.")
            bands = self.analyze(pixels)
        else:
            refinement = self._refinement(pixels)
            refinement.run(effort, lmbda or self.info["lambda"], progress)
            bands = [refinement.latents]
        return self._pack(bands, pixels, metadata)

    def compress_by_effort(self, pixels):
        """Yields the files of effort 1, 2, … 9, as `compress` makes them.

        Each goes on from the one before, so that all together take as long as the last alone.
        """
        pixels = self._checked(pixels, MAX_EFFORT)
        refinement = self._refinement(pixels)
        for effort in range(1, MAX_EFFORT + 1):
            refinement.run(effort, self.info["lambda"])
            yield self._pack([refinement.latents], pixels, None)

    def compress_to_size(self, pixels, size, effort=1, strict=False, metadata=None) -> bytes:
        """Like `compress`, with the λ at which the file has a number of bytes.

        The size is met to half a percent, if the picture can be coded in so many bytes at all and is
        large enough for such precision. `strict`: it must not be exceeded.

        Raises:
          ModelError: If `strict` and the file is larger at any λ. Otherwise as `compress`.
        """
        pixels = self._checked(pixels, effort)
        data = self._refinement(pixels).find_size(
            size,
            self.info["lambda"],
            effort,
            lambda latents: self._pack([latents], pixels, metadata),
            strict,
        )
        if strict and len(data) > size:
            bpp = 8 * len(data) / (pixels.shape[0] * pixels.shape[1])
            raise ModelError(f"Even {self.name} takes {bpp:.4f} bits per pixel.")
        return data

    def count_steps(self, pixels, effort):
        """How many steps `compress` reports to its `progress`."""
        tensorflow()
        from balle2017 import refine

        rows, cols = _tiling(*_latent_size(pixels), 2 * refine.CONTEXT)
        return len(rows) * len(cols) * refine.count_steps(effort)

    def _checked(self, pixels, effort):
        if effort or not hasattr(pixels, "dtype"):
            # Refinement goes back and forth, so it takes a large picture as a whole.
            pixels = np.asarray(pixels)
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != self.channels:
            raise ValueError(
                f"{self.name} takes uint8 pixels [height, width, {self.channels}],"
                f" not {pixels.dtype} {list(pixels.shape)}."
            )
        if not 0 < min(pixels.shape[:2]) <= max(pixels.shape[:2]) <= bitstream.MAX_SIZE:
            raise ImageError(f"A picture's sides go from 1 to {bitstream.MAX_SIZE} pixels.")
        if effort not in range(MAX_EFFORT + 1):
            raise ValueError(f"Effort goes from 0 to {MAX_EFFORT}.")
        return pixels

    def _pack(self, bands, pixels, metadata):
        """The file of latents that come in bands from top to bottom."""
        contents = Bitstream(
            model=self.name,
            fingerprint=self.fingerprint,
            width=pixels.shape[1],
            height=pixels.shape[0],
            channels=self.channels,
            slice_length=self.slice_length,
            slices=[],
            metadata=metadata or {},
        )
        run = max(1, _CODER_POSITIONS // self.slice_length) * self.slice_length
        waiting = np.empty([0, self.num_latents], np.int32)
        for band in bands:
            band = band.reshape(-1, self.num_latents)
            while len(waiting) + len(band) > run:
                count = run - len(waiting)
                full = np.concatenate([waiting, band[:count]])
                contents.slices += self._encode_slices(full)
                waiting, band = waiting[:0], band[count:]
            waiting = np.concatenate([waiting, band])
            # Not while the next band is made: two of them would be twice the memory.
            del band
        contents.slices += self._encode_slices(waiting)
        return bitstream.pack(contents)

    def _refinement(self, pixels):
        """The latents of a picture at effort 0, to be refined."""
        tensorflow()
        from balle2017 import export, refine, transforms

        with self._refiner_lock:
            if self._refiner is None:
                try:
                    rate_point = export.load_rate_point(str(self.folder))
                except (OSError, ValueError) as error:
                    raise ModelError(f"{self.name} takes effort 0 only. {error}") from None
                fast = "bfloat16" if transforms.processor_has_bfloat16() else "float32"
                refiner = refine.Refiner(rate_point, fast)
                # Transforms may be computed otherwise than when the model was exported.
                test = (np.arange(3 * 16**2) % 251).astype(np.uint8).reshape(16, 16, 3)
                test = test[:, :, : self.channels]
                latents = self._call("encoder", "latents", pixels=test[None])["latents"][0]
                if np.abs(refiner.analyze(test.astype(np.float32)) - latents).max() > 0.6:
                    raise ModelError(
                        f"{self.name} was exported by another version of this package and takes"
                        " effort 0 only."
                    )
                self._refiner = refiner
        rows, cols = _tiling(*_latent_size(pixels), 2 * refine.CONTEXT)
        tiles = [(top, bottom, left, right) for top, bottom in rows for left, right in cols]
        return refine.Refinement(self._refiner, pixels, tiles)

    def analyze(self, pixels):
        """Yields the quantized latents from top to bottom, int32 `[rows, width, filters]`."""
        height, width = _latent_size(pixels)
        rows, cols = _tiling(height, width, sum(_ANALYSIS_CONTEXT))
        for top, bottom in rows:
            y0, y1 = _widen(top, bottom, height, _ANALYSIS_CONTEXT)
            source = pixels[STRIDE * y0 : STRIDE * y1]
            latents = np.empty([bottom - top, width, self.num_latents], np.int32)
            for left, right in cols:
                x0, x1 = _widen(left, right, width, _ANALYSIS_CONTEXT)
                tile = source[:, STRIDE * x0 : STRIDE * x1]
                tile = self._transform("encoder", "latents", pixels=tile[None])["latents"][0]
                latents[:, left:right] = tile[top - y0 : bottom - y0, left - x0 : right - x0]
            del source, tile
            yield latents
            del latents

    def decode(self, contents: Bitstream) -> np.ndarray:
        """Decodes the contents of a file to pixels uint8 `[height, width, channels]`.

        Raises:
          ModelError, DamagedError: As `decode_bands`.
        """
        return np.concatenate(list(self.decode_bands(contents)))

    def decode_bands(self, contents: Bitstream, salvage=False, lost=None):
        """Yields a picture from top to bottom, uint8 `[rows, width, channels]`.

        Args:
          contents: Of a file. Slices that are `None` are concealed.
          salvage: Whether slices that cannot be decoded are concealed as well.
          lost: A list that the indices of lost slices are appended to.

        Raises:
          ModelError: If the contents are another model's.
          DamagedError: If slices cannot be decoded and `salvage` is not set.
        """
        if (contents.model, contents.fingerprint) != (self.name, self.fingerprint):
            raise ModelError(
                f"The file was made by a model {contents.model} with fingerprint"
                f" {contents.fingerprint:08x}; the installed {self.name} has"
                f" {self.fingerprint:08x} and cannot decode it."
            )
        if contents.channels != self.channels:
            raise BitstreamError(f"{self.name} does not code {contents.channels} channels.")
        height, width = contents.latent_size
        source = _LatentReader(self, contents, [] if lost is None else lost)
        rows, cols = _tiling(height, width, sum(_SYNTHESIS_CONTEXT))
        for top, bottom in rows:
            y0, y1 = _widen(top, bottom, height, _SYNTHESIS_CONTEXT)
            latents = source.read(y0, y1)
            if source.lost and not salvage:
                raise DamagedError(
                    f"Slice {source.lost[0] + 1} of {contents.num_slices} holds no valid data.",
                    source.lost,
                )
            below = min(STRIDE * bottom, contents.height)
            band = np.empty([below - STRIDE * top, contents.width, contents.channels], np.uint8)
            for left, right in cols:
                x0, x1 = _widen(left, right, width, _SYNTHESIS_CONTEXT)
                tile = self._transform("decoder", "synthesize", latents=latents[None, :, x0:x1])
                tile = tile["pixels"][0, STRIDE * (top - y0) :, STRIDE * (left - x0) :]
                target = band[:, STRIDE * left : STRIDE * right]
                target[:] = tile[: target.shape[0], : target.shape[1]]
            del latents, tile, target
            yield band
            del band

    def decode_latents(self, contents: Bitstream) -> np.ndarray:
        """Decodes the latents only, int32 `[height, width, filters]`."""
        return _LatentReader(self, contents, []).read(0, contents.latent_size[0])

    def decode_slices(self, slices, slice_length, num_positions):
        """Decodes successive slices of which only the last may be shorter than the others.

        Returns:
          int32 `[num_positions, filters]`, and whether each slice is valid, bool `[slices]`.
        """
        outputs = self._call(
            "decoder",
            "decode_slices",
            slices=np.array(slices, object),
            slice_length=np.int32(slice_length),
            num_positions=np.int32(num_positions),
        )
        return outputs["latents"], outputs["valid"]

    def _encode_slices(self, latents):
        return list(self._call("encoder", "encode_slices", latents=latents)["slices"])

    def _transform(self, half, signature, **inputs):
        return self._call(half, signature + self._suffix, **inputs)

    def _call(self, half, signature, **inputs):
        """Runs a signature of the encoder or the decoder, arrays to arrays."""
        tf = tensorflow()
        with self._lock:
            if half not in self._signatures:
                folder = self.folder / half / "1"
                try:
                    # The object owns the signatures, so it is kept.
                    loaded = tf.saved_model.load(str(folder))
                except (OSError, ValueError, KeyError, tf.errors.OpError):
                    raise ModelError(
                        f"The {half} of {self.name} cannot be loaded from {folder}."
                    ) from None
                self._signatures[half] = loaded
            try:
                function = self._signatures[half].signatures[signature]
            except KeyError:
                raise ModelError(
                    f"The {half} of {self.name} has no signature {signature}: export it again."
                ) from None
        try:
            outputs = function(**{key: tf.constant(value) for key, value in inputs.items()})
        except tf.errors.ResourceExhaustedError as error:
            raise MemoryError from error
        return {key: value.numpy() for key, value in outputs.items()}


class _LatentReader:
    """Decodes a file's latents from top to bottom, and forgets what is no longer needed."""

    def __init__(self, model, contents, lost):
        self.model = model
        self.contents = contents
        self.lost = lost
        self._width = contents.latent_size[1]
        self._known = np.empty([0, model.num_latents], np.int32)
        self._start = 0
        self._next_slice = 0

    def read(self, top, bottom):
        """Latents of rows `top` to `bottom`, int32; neither may decrease from call to call."""
        width, length = self._width, self.contents.slice_length
        parts = [self._known[top * width - self._start :]]
        self._start = top * width
        first = self._next_slice
        stop = -(-bottom * width // length)
        step = max(1, _CODER_POSITIONS // length)
        while self._next_slice < stop:
            parts.append(self._decode(self._next_slice, min(self._next_slice + step, stop)))
            self._next_slice = min(self._next_slice + step, stop)
        self._known = np.concatenate(parts)
        for index in self.lost:
            if index >= first:
                self._conceal(index)
        rows = self._known[: (bottom - top) * width]
        return rows.reshape(bottom - top, width, -1)

    def _decode(self, first, stop):
        length = self.contents.slice_length
        slices = self.contents.slices[first:stop]
        count = min(stop * length, self.contents.num_positions) - first * length
        latents, valid = self.model.decode_slices([s or b"" for s in slices], length, count)
        for index, content in enumerate(slices):
            if content is None or not valid[index]:
                self.lost.append(first + index)
        return latents

    def _conceal(self, index):
        """Repeats the latents above a lost slice; nothing is above the first row but zeros."""
        begin = index * self.contents.slice_length - self._start
        end = min(begin + self.contents.slice_length, len(self._known))
        for here in range(begin, end):
            above = here - self._width
            self._known[here] = self._known[above] if above >= 0 else 0


@functools.lru_cache(maxsize=None)
def tensorflow():
    """TensorFlow with the range coder's ops, imported without its messages."""
    # 3 silences what TensorFlow says about GPUs that are not there; a crash still speaks.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    if "tensorflow_compression" not in sys.modules:
        # Only the ops: the package itself imports tensorflow-probability, half a second of it.
        # By the path that the package names, as TensorFlow loads each path once.
        (package,) = importlib.util.find_spec("tensorflow_compression").submodule_search_locations
        ops = os.path.join(package, "python/ops", "../../cc/libtensorflow_compression.so")
        tf.load_op_library(ops)
    tf.get_logger().setLevel("ERROR")
    return tf


def _read_info(folder):
    try:
        with open(folder / "model.json", encoding="utf-8") as file:
            info = json.load(file)
        for key in ("name", "lambda", "channels", "num_latents", "slice_length", "fingerprint"):
            info[key]
        return info
    except FileNotFoundError:
        raise ModelError(f"There is no model in {folder}.") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise ModelError(f"{folder}/model.json is damaged.") from None


def _latent_size(pixels):
    return tuple(-(-side // STRIDE) for side in pixels.shape[:2])


def _tiling(height, width, context):
    """Divides latents into rows and columns of tiles: two lists of `(begin, end)`.

    With their context tiles are squares of `_TILE_SIDE`, or as long as the
    area allows where a picture is narrower, or flat where it is very wide.
    """
    if height * width <= _TILE_AREA:
        return [(0, height)], [(0, width)]
    side = min(_TILE_SIDE, max(_MIN_TILE_SIDE, _BAND_AREA // width))
    rows = min(height, max(side, _TILE_AREA // width))
    cols = min(width, _TILE_AREA // rows)
    return _divide(height, rows, context), _divide(width, cols, context)


def _divide(size, tile, context):
    """Divides a side evenly, so that nearly all tiles have the same size."""
    count = 1 if tile >= size else -(-size // (tile - context))
    edges = [size * i // count for i in range(count + 1)]
    return list(zip(edges[:-1], edges[1:]))


def _widen(begin, end, size, context):
    return max(begin - context[0], 0), min(end + context[1], size)


def _describe_loss(contents, lost):
    """Says where in the picture lost slices are."""
    width, length = contents.latent_size[1], contents.slice_length
    top = STRIDE * (lost[0] * length // width)
    last = min((lost[-1] + 1) * length, contents.num_positions) - 1
    bottom = min(STRIDE * (last // width + 1), contents.height)
    return (
        f"{len(lost)} of {contents.num_slices} slices are lost, between the rows"
        f" {top} and {bottom} of the picture."
    )
