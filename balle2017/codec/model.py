"""A model, which is an exported pair: pixels to the bytes of a `.tfci` file, and its contents to pixels."""

import pathlib
import threading
from typing import Optional

import numpy as np

from balle2017.codec import tiling
from balle2017.codec.checks import MAX_EFFORT, positive, whole_effort
from balle2017.codec.latent_reader import LatentReader
from balle2017.codec.model_info import ModelError, RateError, read_info
from balle2017.codec.runtime import open_runtime, tensorflow_for_effort
from balle2017.container import bitstream
from balle2017.container.bitstream import Bitstream, BitstreamError, DamagedError
from balle2017.model.network import STRIDE
from balle2017.pictures.images import ImageError
from balle2017.saved_model.folder import read_versions


class Model:
    """A rate point: its exported encoder and decoder, each loaded when first used.

    Args:
      folder: Where it is.
      arithmetic, runtime: See `load`.
      version: Of its decoder, if it is not the newest; such a model only decodes.

    Attributes:
      folder: Where it is.
      arithmetic: See `load`.
      runtime: What runs it, a `TensorflowRuntime` or an `OnnxRuntime`.
      info: The contents of `model.json`.
      name, version, channels, num_latents, slice_length, fingerprint: From it.
    """

    def __init__(self, folder, arithmetic="float32", runtime="auto", version=None):
        self.folder = pathlib.Path(folder)
        self.arithmetic = arithmetic
        self.info = read_info(self.folder)
        if version is not None:
            self.info = {**read_info(self.folder / "decoder" / str(version)), "version": version}
        self.name = self.info["name"]
        self.version = self.info.get("version", 1)
        self.channels = self.info["channels"]
        self.num_latents = self.info["num_latents"]
        self.slice_length = self.info["slice_length"]
        self.fingerprint = self.info["fingerprint"]
        self._asked_for = runtime, version
        self._older = {}
        self.runtime = open_runtime(runtime, self.folder, self.info, arithmetic)
        self._refiner = None
        self._refiner_lock = threading.Lock()

    def __reduce__(self):
        # What has been loaded is loaded again where a copy is used.
        return Model, (self.folder, self.arithmetic, *self._asked_for)

    def compress(
        self,
        pixels,
        metadata: Optional[dict[str, bytes]] = None,
        effort=0,
        lmbda=None,
        progress=None,
    ) -> bytes:
        """Codes a picture, uint8 `[height, width, channels]`, as the bytes of a file.

        Args:
          pixels: The picture, an array or `streamed.StreamedPixels`.
          metadata: Bytes by tag.
          effort: 0 rounds the latents; 1 to 4 choose them for `rate + λ · distortion`, the
            better the longer it takes.
          lmbda: λ of bits per pixel + λ · distortion in place of the model's own; not with effort 0.
          progress: A function of the steps done since the last call and of the Lagrangian, which
            is `None` without effort.

        Raises:
          ValueError: If the model takes other arrays, or there is no such effort or λ.
          images.ImageError: If a side exceeds 2²⁴ − 1.
          ModelError: If the model cannot be refined for.
        """
        effort = whole_effort(effort)
        if effort == 0 and lmbda is not None:
            raise ValueError("With effort 0 there is no λ to choose.")
        lmbda = self.info["lambda"] if lmbda is None else positive(lmbda, "λ")
        pixels = self._checked(pixels, effort)
        if effort == 0:
            bands = _reported(self.analyze(pixels), progress)
        else:
            refinement = self._refinement(pixels)
            refinement.run(effort, lmbda, progress)
            bands = [refinement.latents]
        return self._pack(bands, pixels, metadata)

    def compress_by_effort(self, pixels):
        """Yields the files of effort 1, 2, … 4, as `compress` makes them.

        Each goes on from the one before, so that all together take as long as the last alone.
        """
        pixels = self._checked(pixels, MAX_EFFORT)
        refinement = self._refinement(pixels)
        for effort in range(1, MAX_EFFORT + 1):
            refinement.run(effort, self.info["lambda"])
            yield self._pack([refinement.latents], pixels, None)

    def compress_to_size(self, pixels, size, effort=1, strict=False, metadata=None, progress=None) -> bytes:
        """Like `compress`, with the λ at which the file has a number of bytes.

        The size is met to half a percent, if the picture can be coded in so many bytes at all and is
        large enough for such precision. `strict`: it must not be exceeded.

        Raises:
          RateError: If `strict` and the file is larger at any λ. Otherwise as `compress`.
        """
        effort, size = whole_effort(effort, 1), positive(size, "The size in bytes")
        pixels = self._checked(pixels, effort)
        refinement = self._refinement(pixels)
        # Behind it, as both need TensorFlow.
        from balle2017.codec import size_search

        data = size_search.find_size(
            refinement,
            size,
            self.info["lambda"],
            effort,
            lambda latents: self._pack([latents], pixels, metadata),
            strict,
            progress=progress,
        )
        if strict and len(data) > size:
            bpp = 8 * len(data) / (pixels.shape[0] * pixels.shape[1])
            raise RateError(f"Even {self.name} takes {bpp:.4f} bits per pixel.")
        return data

    def count_steps(self, pixels, effort):
        """How many steps `compress` reports to its `progress`."""
        if effort == 0:
            return len(tiling.tiles(*tiling.latent_size(pixels), sum(tiling.ANALYSIS_CONTEXT))[0])
        tensorflow_for_effort()
        from balle2017.codec import refine

        rows, cols = tiling.tiles(*tiling.latent_size(pixels), 2 * refine.CONTEXT, tiling.REFINED_SIDE)
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
        run = max(1, tiling.CODER_POSITIONS // self.slice_length) * self.slice_length
        waiting = np.empty([0, self.num_latents], np.int32)
        for band in bands:
            band = band.reshape(-1, self.num_latents)
            while len(waiting) + len(band) > run:
                count = run - len(waiting)
                full = np.concatenate([waiting, band[:count]])
                contents.slices += self.runtime.encode_slices(full)
                waiting, band = waiting[:0], band[count:]
            waiting = np.concatenate([waiting, band])
            # Not while the next band is made: two of them would be twice the memory.
            del band
        contents.slices += self.runtime.encode_slices(waiting)
        return bitstream.pack(contents)

    def _refinement(self, pixels):
        """The latents of a picture at effort 0, to be refined."""
        tensorflow_for_effort()
        from balle2017.codec import refine
        from balle2017.model.operations import processor_has_bfloat16
        from balle2017.saved_model import reading

        with self._refiner_lock:
            if self._refiner is None:
                try:
                    rate_point = reading.load_rate_point(str(self.folder))
                except (OSError, ValueError) as error:
                    raise ModelError(f"{self.name} takes effort 0 only. {error}") from None
                fast = "bfloat16" if processor_has_bfloat16() else "float32"
                self._refiner = refine.Refiner(rate_point, fast)
        rows, cols = tiling.tiles(*tiling.latent_size(pixels), 2 * refine.CONTEXT, tiling.REFINED_SIDE)
        tiles = [(top, bottom, left, right) for top, bottom in rows for left, right in cols]
        return refine.Refinement(self._refiner, pixels, tiles)

    def analyze(self, pixels):
        """Yields the quantized latents from top to bottom, int32 `[rows, width, filters]`."""
        height, width = tiling.latent_size(pixels)
        rows, cols = tiling.tiles(height, width, sum(tiling.ANALYSIS_CONTEXT))

        def jobs():
            for top, bottom in rows:
                y0, y1 = tiling.widen(top, bottom, height, tiling.ANALYSIS_CONTEXT)
                source = pixels[STRIDE * y0 : STRIDE * y1]
                for left, right in cols:
                    x0, x1 = tiling.widen(left, right, width, tiling.ANALYSIS_CONTEXT)
                    inside = slice(top - y0, bottom - y0), slice(left - x0, right - x0)
                    # A copy, as the last of these would keep all pixels of the band while those of the next are read.
                    yield source[:, STRIDE * x0 : STRIDE * x1].copy(), inside
                del source

        def transform(tile, inside):
            return self.runtime.analyze(tile)[inside]

        made = tiling.side_by_side(transform, jobs())
        for top, bottom in rows:
            latents = np.empty([bottom - top, width, self.num_latents], np.int32)
            for left, right in cols:
                latents[:, left:right] = next(made)
            yield latents
            del latents

    def decode(self, contents: Bitstream) -> np.ndarray:
        """Decodes the contents of a file to pixels uint8 `[height, width, channels]`.

        Raises:
          ModelError, BitstreamError, DamagedError: As `decode_bands`.
        """
        return np.concatenate(list(self.decode_bands(contents)))

    def decode_bands(self, contents: Bitstream, salvage=False, lost=None):
        """Yields a picture from top to bottom, uint8 `[rows, width, channels]`.

        Args:
          contents: Of a file. Slices that are `None` are concealed.
          salvage: Whether slices that cannot be decoded are concealed as well.
          lost: A list that the indices of lost slices are appended to.

        Raises:
          ModelError, BitstreamError: As `check`.
          DamagedError: If slices cannot be decoded and `salvage` is not set.
        """
        decoder = self.version_of(contents)
        if decoder is not self:
            yield from decoder.decode_bands(contents, salvage, lost)
            return
        self.check(contents)
        height, width = contents.latent_size
        source = LatentReader(self, contents, [] if lost is None else lost)
        rows, cols = tiling.tiles(height, width, sum(tiling.SYNTHESIS_CONTEXT))

        def jobs():
            for top, bottom in rows:
                y0, y1 = tiling.widen(top, bottom, height, tiling.SYNTHESIS_CONTEXT)
                with self.runtime.opening_decoder():
                    latents = source.read(y0, y1)
                if source.lost and not salvage:
                    raise DamagedError(
                        f"Slice {source.lost[0] + 1} of {contents.num_slices} holds no valid data.",
                        source.lost,
                    )
                for left, right in cols:
                    x0, x1 = tiling.widen(left, right, width, tiling.SYNTHESIS_CONTEXT)
                    inside = slice(STRIDE * (top - y0), None), slice(STRIDE * (left - x0), None)
                    # A copy, for the same reason as in `analyze`.
                    yield latents[:, x0:x1].copy(), inside
                del latents

        def transform(tile, inside):
            return self.runtime.synthesize(tile)[inside]

        made = tiling.side_by_side(transform, jobs())
        for top, bottom in rows:
            below = min(STRIDE * bottom, contents.height)
            band = np.empty([below - STRIDE * top, contents.width, contents.channels], np.uint8)
            for left, right in cols:
                target = band[:, STRIDE * left : STRIDE * right]
                target[:] = next(made)[: target.shape[0], : target.shape[1]]
            del target
            yield band
            del band

    def check(self, contents: Bitstream):
        """Refuses what this model did not make, before anything is allocated for it.

        As the slices are the model's, of S positions and two bytes of a file at least, a file of n
        bytes stands for no more than 128 · S · n pixels.

        Raises:
          ModelError: If the contents are another model's.
          BitstreamError: If they have other channels or slices.
        """
        decoder = self.version_of(contents)
        if decoder is not self:
            decoder.check(contents)
            return
        if (contents.model, contents.fingerprint) != (self.name, self.fingerprint):
            known = [self.fingerprint, *(info.get("fingerprint", 0) for info in read_versions(self.folder).values())]
            known = " or ".join(f"{fingerprint:08x}" for fingerprint in dict.fromkeys(known))
            raise ModelError(
                f"The file was made by a model {contents.model} with fingerprint"
                f" {contents.fingerprint:08x}; the installed {self.name} has {known} and cannot decode it."
            )
        if contents.channels != self.channels:
            raise BitstreamError(f"{self.name} does not code {contents.channels} channels.")
        if contents.slice_length != self.slice_length:
            raise BitstreamError(
                f"The file has slices of {contents.slice_length} positions, and {self.name} makes them of"
                f" {self.slice_length}."
            )

    def version_of(self, contents: Bitstream):
        """The `Model` whose decoder the contents of a file are for: this one or an older version of it.

        This one, too, if there is no such version.
        """
        if contents.fingerprint != self.fingerprint and contents.fingerprint not in self._older:
            for number, info in read_versions(self.folder).items():
                if info.get("fingerprint") == contents.fingerprint != self.fingerprint:
                    runtime, _ = self._asked_for
                    self._older[contents.fingerprint] = Model(self.folder, self.arithmetic, runtime, number)
        return self._older.get(contents.fingerprint, self)

    def decode_latents(self, contents: Bitstream) -> np.ndarray:
        """Decodes the latents only, int32 `[height, width, filters]`; errors as `decode`."""
        self.check(contents)
        return LatentReader(self.version_of(contents), contents, []).read(0, contents.latent_size[0])

    def decode_slices(self, slices, slice_length, num_positions):
        """Decodes successive slices of which only the last may be shorter than the others.

        Returns:
          int32 `[num_positions, filters]`, and whether each slice is valid, bool `[slices]`.
        """
        return self.runtime.decode_slices(slices, slice_length, num_positions)


def _reported(bands, progress):
    """Passes bands on, each of which is a step."""
    for band in bands:
        yield band
        del band
        if progress:
            progress(1, None)
