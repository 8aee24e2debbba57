"""Training photographs without TensorFlow: found, decoded, held out by image, and cropped on the GPU.

What is different from `balle2017/training/photographs.py`: a crop is of one of five sizes of its photograph, which are
made once, and not shrunk by a factor of its own; and all crops of many steps are one gather.
"""

import concurrent.futures
import dataclasses
import os

import numpy as np
from PIL import Image, ImageOps
import torch

from arithmetic import DEVICE

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
SCALES = (1.0, 0.9, 0.8, 0.7, 0.6)
# JPEG files of fewer pixels were compressed so much that none is taken at its full size.
SMALL = 2**18
HELD_OUT = 0.05
# Sides of the smallest photograph, and of crops that are held out.
LEAST, VALIDATION_SIZE = 128, 256


class DataError(Exception):
    """No usable photographs; the message says what was looked for."""


@dataclasses.dataclass
class Photograph:
    """A photograph, uint8 `[height, width, 3]`, and the sizes of it that crops are taken from, likewise."""

    pixels: np.ndarray
    sizes: list[np.ndarray]


def load(folder):
    """Decodes all photographs of a folder, searched recursively, and tells those apart that are held out.

    Those are the ones that the package holds out of the same files.

    Returns:
      `(training, held_out)`: lists of `Photograph`s.

    Raises:
      DataError: If there are fewer than two, or one cannot be decoded.
    """
    files = sorted(
        os.path.join(where, name)
        for where, _, names in os.walk(folder)
        for name in names
        if name.lower().endswith(EXTENSIONS)
    )
    with concurrent.futures.ThreadPoolExecutor() as pool:
        photographs = [photograph for photograph in pool.map(_read, files) if min(photograph.pixels.shape[:2]) >= LEAST]
    if len(photographs) < 2:
        raise DataError(f"{folder} holds fewer than two photographs of {LEAST} pixels a side: name another folder")
    order = np.random.default_rng(0).permutation(len(photographs))
    count = min(max(1, round(HELD_OUT * len(photographs))), len(photographs) - 1)
    return [photographs[i] for i in order[count:]], [photographs[i] for i in order[:count]]


def _read(path):
    try:
        with Image.open(path) as file:
            lossy = file.format == "JPEG"
            image = ImageOps.exif_transpose(file).convert("RGB")
    except OSError as error:
        raise DataError(f"{path} cannot be decoded ({error}): mend it or move it away") from None
    pixels = np.asarray(image)
    sizes = [] if lossy and image.width * image.height < SMALL else [pixels]
    for scale in SCALES[1:]:
        size = [round(side * scale) for side in image.size]
        if min(size) >= LEAST:
            sizes.append(np.asarray(image.resize(size, Image.Resampling.BICUBIC)))
    return Photograph(pixels, sizes or [pixels])


def held_out_crops(photographs):
    """Two crops of each photograph that is large enough, uint8 `[n, 256, 256, 3]`.

    Raises:
      DataError: If there is none.
    """
    crops, size = [], VALIDATION_SIZE
    for pixels in (photograph.pixels for photograph in photographs):
        height, width = pixels.shape[:2]
        if min(height, width) >= size:
            top = (height - size) // 2
            crops += [pixels[top : top + size, left : left + size] for left in sorted({0, width - size})]
    if not crops:
        raise DataError(f"none of the photographs that are held out has {size} pixels a side: give more or larger ones")
    return torch.from_numpy(np.stack(crops)).to(DEVICE)


class CropSource:
    """Random crops of photographs whose pixels all stand in one tensor, so that crops are one gather.

    Args:
      photographs: List of `Photograph`s, each of which counts by its area.
    """

    def __init__(self, photographs):
        sizes = [pixels for photograph in photographs for pixels in photograph.sizes]
        self._pixels = torch.cat([torch.tensor(pixels).reshape(-1, 3) for pixels in sizes]).to(DEVICE)
        shapes = np.array([pixels.shape[:2] for pixels in sizes])
        areas = shapes.prod(1)
        self._shapes = torch.tensor(shapes, device=DEVICE)
        self._starts = torch.tensor(np.cumsum(areas) - areas, device=DEVICE)
        self._sides = shapes.min(1)
        self._of = np.repeat(np.arange(len(photographs)), [len(photograph.sizes) for photograph in photographs])
        self._areas = np.array([np.prod(photograph.pixels.shape[:2]) for photograph in photographs], float)
        self._cumulative = {}

    def crops(self, count, side):
        """Crops, mirrored at random: uint8 `[count, side, side, 3]`.

        Raises:
          DataError: If no photograph is large enough.
        """
        if side not in self._cumulative:
            self._cumulative[side] = self._cumulative_of(side)
        random = torch.rand(4, count, device=DEVICE)
        chosen = torch.searchsorted(self._cumulative[side], random[0]).clamp(max=len(self._starts) - 1)
        height, width = self._shapes[chosen].unbind(1)
        top = torch.minimum((random[1] * (height - side + 1)).long(), height - side)
        left = torch.minimum((random[2] * (width - side + 1)).long(), width - side)
        line = torch.arange(side, device=DEVICE)
        columns = torch.where((random[3] < 0.5)[:, None], line, line.flip(0)) + left[:, None]
        rows = self._starts[chosen][:, None] + (top[:, None] + line) * width[:, None]
        return self._pixels[rows[:, :, None] + columns[:, None]]

    def _cumulative_of(self, side):
        """Cumulative probabilities of all sizes; the large enough ones of a photograph share its area evenly."""
        usable = self._sides >= side
        if not usable.any():
            raise DataError(f"no photograph has {side} pixels a side: give larger ones")
        count = np.bincount(self._of, usable, len(self._areas))
        weights = np.where(usable, self._areas[self._of] / np.maximum(count, 1)[self._of], 0)
        return torch.tensor(np.cumsum(weights / weights.sum()), dtype=torch.float32, device=DEVICE)
