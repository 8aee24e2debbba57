"""Distortion measures between 8-bit images: PSNR and MS-SSIM, over RGB and over luma."""

import math

import numpy as np

from balle2017.model import ms_ssim_scales
from balle2017.model.ms_ssim_scales import MIN_SIDE as MS_SSIM_MIN_SIDE

_WINDOW = ms_ssim_scales.WINDOW.astype(np.float32)
# What keeps quotients of dark or flat windows stable: (0.01 · 255)² and (0.03 · 255)².
_C1, _C2 = np.float32(2.55**2), np.float32(7.65**2)


def psnr(a, b):
    """Peak signal-to-noise ratio over all channels.

    Args:
      a, b: uint8 `[height, width, channels]` of one shape.

    Returns:
      dB with peak 255; `math.inf` for equal images.

    Raises:
      ValueError: The shapes differ.
    """
    _check(a, b)
    mse = np.mean(np.square(a.astype(np.float64) - b.astype(np.float64)))
    return 10 * math.log10(255**2 / mse) if mse else math.inf


def psnr_luma(a, b):
    """`psnr` of the luma (ITU-R BT.601, as in JPEG, not rounded) of two images."""
    _check(a, b)
    return psnr(luma(a), luma(b))


def ms_ssim(a, b):
    """Multi-scale structural similarity (Wang, Simoncelli & Bovik 2003), mean over channels.

    Args:
      a, b: uint8 `[height, width, channels]` of one shape.

    Returns:
      At most 1, for equal images; `None` for an image with a side under
      `MS_SSIM_MIN_SIDE`, for which the measure's five scales are not defined.

    Raises:
      ValueError: The shapes differ.
    """
    _check(a, b)
    if min(a.shape[:2]) < MS_SSIM_MIN_SIDE:
        return None
    a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
    product = np.ones(a.shape[2])
    for scale, weight in enumerate(ms_ssim_scales.WEIGHTS):
        if scale:
            a, b = _half(a), _half(b)
        luminance, contrast = _similarities(a, b)
        last = scale == len(ms_ssim_scales.WEIGHTS) - 1
        mean = np.mean(luminance * contrast if last else contrast, (0, 1), np.float64)
        # A negative correlation has no power.
        product *= np.maximum(mean, 0) ** weight
    return float(np.mean(product))


def ms_ssim_luma(a, b):
    """`ms_ssim` of the luma (ITU-R BT.601, not rounded) of two images."""
    _check(a, b)
    return ms_ssim(luma(a), luma(b))


def decibels(similarity):
    """MS-SSIM on a scale that spreads the values near 1: `-10 log10(1 - x)`."""
    if similarity is None:
        return None
    return -10 * math.log10(1 - similarity) if similarity < 1 else math.inf


def luma(image):
    """Luma of RGB `[height, width, 3]` as float32 `[height, width, 1]`; one channel stays as it is."""
    if image.shape[-1] == 1:
        return image.astype(np.float32)
    return (image @ np.array([0.299, 0.587, 0.114])).astype(np.float32)[..., np.newaxis]


def _similarities(a, b):
    """SSIM's comparison of luminance, and that of contrast and structure, in each window of each channel."""
    mean_a, mean_b = _blurred(a), _blurred(b)
    both, squares = mean_a * mean_b, mean_a * mean_a + mean_b * mean_b
    covariance, variances = _blurred(a * b) - both, _blurred(a * a + b * b) - squares
    return (2 * both + _C1) / (squares + _C1), (2 * covariance + _C2) / (variances + _C2)


def _blurred(image):
    """Weighted means of all 11×11 windows that lie in the image."""
    for axis in (0, 1):
        count = image.shape[axis] - len(_WINDOW) + 1
        parts = (image[k : k + count] if axis == 0 else image[:, k : k + count] for k in range(len(_WINDOW)))
        image = sum(weight * part for weight, part in zip(_WINDOW, parts))
    return image


def _half(image):
    """Means of 2×2 pixels; an odd side is continued by its last row or column."""
    image = np.pad(image, [(0, image.shape[0] % 2), (0, image.shape[1] % 2), (0, 0)], "symmetric")
    return (image[::2, ::2] + image[1::2, ::2] + image[::2, 1::2] + image[1::2, 1::2]) / np.float32(4)


def _check(a, b):
    if a.shape != b.shape:
        raise ValueError(f"Images of different shapes can't be compared: {a.shape} and {b.shape}.")
