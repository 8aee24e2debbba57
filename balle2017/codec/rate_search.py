"""Rates between those of the models: the file with a number of bits per pixel."""

import numpy as np

from balle2017.codec.checks import positive, whole_effort
from balle2017.codec.model_info import RateError


def compress_to_bpp(models, pixels, target, strict=False, metadata=None, effort=0, progress=None):
    """Compresses to a number of bits per pixel, with the model whose file comes closest.

    With effort 0 that is all. Otherwise the latents are refined for the λ at
    which the file has the size that is wanted, usually within half a percent.

    Args:
      models: Models by ascending rate.
      pixels: uint8 `[height, width, channels]`.
      target: Bits per pixel of the file.
      strict: Whether the target must not be exceeded.
      metadata: Bytes by tag, or `None`.
      effort: 0 to 4.
      progress: As of `Model.compress`; how many steps there will be, nobody knows.

    Returns:
      The model, and the bytes of the file.

    Raises:
      RateError: If `strict` and even the first model exceeds the target.
      ValueError: If target or effort is no such number. Otherwise as `Model.compress`.
    """
    target, effort = positive(target, "The target in bits per pixel"), whole_effort(effort)
    if effort:
        # Here, not in each of the models: a large picture would be read anew each time.
        pixels = np.asarray(pixels)
    size = target * pixels.shape[0] * pixels.shape[1] / 8
    files = {}

    def compressed(index):
        if index not in files:
            files[index] = models[index].compress(pixels, metadata, progress=progress)
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
                data = models[i].compress_to_size(pixels, size, effort, strict, metadata, progress)
            except RateError:
                if i != choices[-1] or found:
                    continue
                # What rounding alone keeps below the target is below it.
                if low == 0:
                    raise
                i, data = low - 1, files[low - 1]
            found.append((abs(len(data) / size - 1), i, data))
            if found[-1][0] <= 0.005:
                break
        _, index, data = min(found)
        return models[index], data
    if strict:
        choices = [i for i in choices if compressed(i) <= size]
        if not choices:
            bpp = 8 * compressed(0) / (pixels.shape[0] * pixels.shape[1])
            raise RateError(f"Even {models[0].name} takes {bpp:.4f} bits per pixel.")
    best = min(choices, key=lambda i: abs(compressed(i) - size))
    return models[best], files[best]
