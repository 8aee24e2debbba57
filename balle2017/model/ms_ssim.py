"""MS-SSIM by separable filters: what `tf.image.ssim_multiscale` says, in less time and with finite gradients.

Wang, Simoncelli & Bovik 2003, "Multiscale structural similarity for image quality assessment". The
Gaussian window is the product of a vertical and a horizontal one: two depthwise convolutions of 11
taps take the place of one of 121.
"""

import numpy as np
import tensorflow as tf

from balle2017.model.ms_ssim_scales import SIZE, WEIGHTS, WINDOW

_K1, _K2 = 0.01, 0.03
# Powers below 1 have no finite gradient at 0.
_LEAST = 1e-6


def ms_ssim(first, second, max_val=255.0):
    """MS-SSIM of pairs of images, averaged over their channels.

    Args:
      first, second: float32 `[batch, height, width, channels]`, of at least 161×161.
      max_val: Largest value that a pixel can have.

    Returns:
      float32 `[batch]`.
    """
    scales = []
    for scale in range(len(WEIGHTS)):
        if scale:
            first, second = _halved(first), _halved(second)
        ssim, contrast = _ssim(first, second, max_val)
        scales.append(ssim if scale == len(WEIGHTS) - 1 else contrast)
    scales = tf.stack(scales, -1)
    powers = tf.pow(tf.maximum(scales, _LEAST), WEIGHTS)
    # Nothing is similar where one scale is not.
    powers = tf.where(scales > 0, powers, tf.zeros_like(powers))
    return tf.reduce_mean(tf.reduce_prod(powers, -1), -1)


def _ssim(first, second, max_val):
    """SSIM, and its factor of contrast and structure alone: means over each channel, `[batch, channels]`."""
    c1, c2 = (_K1 * max_val) ** 2, (_K2 * max_val) ** 2
    # All averages at once.
    parts = [first, second, first * second, tf.square(first) + tf.square(second)]
    mean1, mean2, product, squares = tf.split(_blurred(tf.concat(parts, -1)), len(parts), -1)
    of_means, both = 2 * mean1 * mean2, tf.square(mean1) + tf.square(mean2)
    luminance = (of_means + c1) / (both + c1)
    contrast = (2 * product - of_means + c2) / (squares - both + c2)
    return tf.reduce_mean(luminance * contrast, [1, 2]), tf.reduce_mean(contrast, [1, 2])


def _blurred(images):
    """Weighted means under the window, where it lies inside of the images."""
    taps = np.float32(WINDOW)
    for shape in ([SIZE, 1, 1, 1], [1, SIZE, 1, 1]):
        kernel = tf.tile(taps.reshape(shape), [1, 1, images.shape[-1], 1])
        images = tf.nn.depthwise_conv2d(images, kernel, [1, 1, 1, 1], "VALID")
    return images


def _halved(images):
    """Means of 2×2 pixels; where a side is odd, its last pixels count twice."""
    height, width = tf.shape(images)[1], tf.shape(images)[2]
    images = tf.pad(images, [[0, 0], [0, height % 2], [0, width % 2], [0, 0]], "SYMMETRIC")
    return tf.nn.avg_pool2d(images, 2, 2, "VALID")
