"""What no mean over a picture shows: colours that drift, and borders that become visible."""

import numpy as np

# A border is compared with this many steps from pixel to pixel on each side of it.
_NEIGHBOURS = 6


def colour_shift(original, decoded):
    """How much brighter each channel has become, on the mean.

    Args:
      original, decoded: uint8 `[height, width, channels]` of one shape.

    Returns:
      float64 `[channels]`, levels of 255.
    """
    return np.mean(decoded.astype(np.float64) - original, (0, 1))


def border_visibility(original, decoded, rows=(), columns=()):
    """How much the error jumps across borders, relative to how much it changes from pixel to pixel beside them.

    Args:
      original, decoded: uint8 `[height, width, channels]` of one shape.
      rows, columns: Indices of the first rows and columns after a border.

    Returns:
      About 1 where borders are as any other place, more where they can be seen, float; 1 without an error.

    Raises:
      ValueError: If there is no border inside of the picture with pixels on both sides to compare with.
    """
    error = decoded.astype(np.float32) - original
    across, beside = [], []
    for axis, borders in ((0, rows), (1, columns)):
        # steps[i] is the one from i to i + 1.
        steps = np.mean(np.abs(np.diff(error, axis=axis)), (1 - axis, 2), np.float64)
        for border in borders:
            around = np.arange(border - 1 - _NEIGHBOURS, border + _NEIGHBOURS)
            if around[0] >= 0 and around[-1] < len(steps):
                across.append(steps[border - 1])
                beside.append(np.mean(np.delete(steps[around], _NEIGHBOURS)))
    if not across:
        raise ValueError(f"There is no border with {_NEIGHBOURS + 1} pixels on both sides.")
    return float(np.sum(across) / np.sum(beside)) if np.sum(beside) else 1.0
