"""MS-SSIM of `balle2017/model/ms_ssim.py` in PyTorch: the window as two matrix products."""

import functools

import torch
import torch.nn.functional as F

from arithmetic import DEVICE
from balle2017.model.ms_ssim_scales import SIZE, WEIGHTS, WINDOW

_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
# Powers below 1 have no finite gradient at 0.
_LEAST = 1e-6


def ms_ssim(first, second):
    """MS-SSIM of pairs of images, averaged over their channels.

    Args:
      first, second: float32 `[batch, height, width, channels]`, 0–255, of at least 176×176, sides multiples of 16.

    Returns:
      float32 `[batch]`.
    """
    batch, height, width, channels = first.shape
    first, second = (x.permute(0, 3, 1, 2).reshape(-1, height, width) for x in (first, second))
    total = 1.0
    for scale, weight in enumerate(WEIGHTS):
        if scale:
            first, second = (F.avg_pool2d(x[:, None], 2)[:, 0] for x in (first, second))
        # All averages at once.
        parts = torch.stack([first, second, first * second, first * first + second * second])
        mean1, mean2, product, squares = _blurred(parts)
        of_means, both = 2 * mean1 * mean2, mean1 * mean1 + mean2 * mean2
        similarity = (2 * product - of_means + _C2) / (squares - both + _C2)
        if scale == len(WEIGHTS) - 1:
            similarity = similarity * (of_means + _C1) / (both + _C1)
        similarity = similarity.mean((1, 2))
        # Nothing is similar where one scale is not.
        total = total * torch.where(similarity > 0, torch.clamp(similarity, min=_LEAST) ** weight, 0.0)
    return total.reshape(batch, channels).mean(1)


def _blurred(images):
    """Weighted means under the window, where it lies inside of the images: `[..., h, w]` to `[..., w − 10, h − 10]`."""
    rows, columns = (_window(side) for side in images.shape[-2:])
    return torch.matmul(torch.matmul(images, columns).transpose(-1, -2), rows)


@functools.cache
def _window(side):
    """float32 `[side, side − 10]`: column i is the window from i on."""
    matrix = torch.zeros(side, side - SIZE + 1, dtype=torch.float64)
    for i in range(matrix.shape[1]):
        matrix[i : i + SIZE, i] = torch.from_numpy(WINDOW)
    return matrix.float().to(DEVICE)
