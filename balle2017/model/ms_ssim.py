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
    means = [tf.reduce_mean(windows, [1, 2]) for windows in similarities(first, second, max_val)]
    return of_means(tf.stack(means, -1))


def similarities(first, second, max_val=255.0):
    """Yields the similarity of each window, float32 `[batch, rows, columns, channels]`, from the finest scale on.

    Args:
      first, second, max_val: As of `ms_ssim`.
    """
    for scale in range(len(WEIGHTS)):
        if scale:
            first, second = _halved(first), _halved(second)
        yield _similarity(first, second, max_val, scale == len(WEIGHTS) - 1)


def of_means(means):
    """MS-SSIM `[...]` of the mean similarities of each channel at each scale, `[..., channels, scales]`."""
    powers = tf.pow(tf.maximum(means, _LEAST), tf.constant(WEIGHTS, means.dtype))
    # Nothing is similar where one scale is not.
    powers = tf.where(means > 0, powers, tf.zeros_like(powers))
    return tf.reduce_mean(tf.reduce_prod(powers, -1), -1)


def _similarity(first, second, max_val, is_coarsest):
    """SSIM of each window at the coarsest scale, at others its factor of contrast and structure alone."""
    c1, c2 = (_K1 * max_val) ** 2, (_K2 * max_val) ** 2
    # All averages at once.
    parts = [first, second, first * second, tf.square(first) + tf.square(second)]
    mean1, mean2, product, squares = tf.split(_blurred(tf.concat(parts, -1)), len(parts), -1)
    of_both, squares_of_both = 2 * mean1 * mean2, tf.square(mean1) + tf.square(mean2)
    contrast = (2 * product - of_both + c2) / (squares - squares_of_both + c2)
    return contrast * (of_both + c1) / (squares_of_both + c1) if is_coarsest else contrast


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
