"""Distortion measures between 8-bit images: PSNR and MS-SSIM, over RGB and over luma."""

import math

import numpy as np

# Five scales of an 11×11 window: the coarsest, at a sixteenth of each side, must hold one window.
MS_SSIM_MIN_SIDE = 161


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
    # Imported late: it takes seconds, and PSNR doesn't need it.
    import tensorflow as tf

    def batch(image):
        return tf.constant(np.asarray(image, np.float32)[np.newaxis])

    return float(tf.image.ssim_multiscale(batch(a), batch(b), max_val=255.0)[0])


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


def _check(a, b):
    if a.shape != b.shape:
        raise ValueError(f"Images of different shapes can't be compared: {a.shape} and {b.shape}.")
