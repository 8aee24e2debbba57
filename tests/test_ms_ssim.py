"""MS-SSIM by separable filters is TensorFlow's."""

import numpy as np
import pytest
import tensorflow as tf

from balle2017.model.ms_ssim import ms_ssim
from balle2017.model.ms_ssim_scales import MIN_SIDE


def pictures(height, width, noise, channels=3):
    random = np.random.default_rng(0)
    smooth = tf.image.resize(random.uniform(0, 255, [2, 12, 12, channels]), [height, width], "bicubic")
    first = tf.clip_by_value(tf.cast(smooth, tf.float32), 0, 255)
    return first, tf.clip_by_value(first + random.normal(scale=noise, size=first.shape).astype(np.float32), 0, 255)


@pytest.mark.parametrize(
    "height, width, noise, channels", [(161, 176, 3, 3), (181, 235, 20, 3), (256, 177, 60, 1), (176, 176, 0, 3)]
)
def test_it_is_tensorflows(height, width, noise, channels):
    first, second = pictures(height, width, noise, channels)
    expected = tf.image.ssim_multiscale(first, second, max_val=255.0)
    np.testing.assert_allclose(ms_ssim(first, second), expected, atol=1e-5)


def test_gradients_are_finite_where_nothing_is_similar():
    first, _ = pictures(MIN_SIDE, MIN_SIDE, 0)
    opposite = tf.Variable(255 - first)
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(ms_ssim(first, opposite))
    assert float(value) == 0
    assert np.all(np.isfinite(tape.gradient(value, opposite)))
