import math

import numpy as np
import pytest

from balle2017.evaluation import metrics


def noisy_pair(height, width, channels=3, seed=0):
    random = np.random.default_rng(seed)
    a = random.integers(0, 256, [height, width, channels], np.uint8)
    b = np.clip(a + random.normal(0, 10, a.shape), 0, 255).astype(np.uint8)
    return a, b


def test_psnr_of_a_known_error():
    a = np.full([4, 5, 3], 100, np.uint8)
    b = a + 5
    assert metrics.psnr(a, b) == pytest.approx(20 * math.log10(255 / 5))
    assert metrics.psnr_luma(a, b) == pytest.approx(20 * math.log10(255 / 5), abs=1e-4)
    assert metrics.psnr(a, a) == math.inf


def test_luma_weighs_green_most():
    a = np.zeros([8, 8, 3], np.uint8)
    red, green = a.copy(), a.copy()
    red[..., 0] = 50
    green[..., 1] = 50
    assert metrics.psnr(a, red) == metrics.psnr(a, green)
    assert metrics.psnr_luma(a, red) > metrics.psnr_luma(a, green)


def test_ms_ssim_falls_with_noise_and_is_one_for_equal_images():
    a, b = noisy_pair(176, 192)
    assert metrics.ms_ssim(a, a) == pytest.approx(1)
    assert 0 < metrics.ms_ssim(a, b) < 1
    assert 0 < metrics.ms_ssim_luma(a, b) < 1


def test_ms_ssim_of_images_at_and_under_the_smallest_size():
    side = metrics.MS_SSIM_MIN_SIDE
    a, b = noisy_pair(side, side)
    assert metrics.ms_ssim(a, b) is not None
    assert metrics.ms_ssim(a[1:], b[1:]) is None
    assert metrics.ms_ssim(a[:, 1:], b[:, 1:]) is None
    assert metrics.decibels(None) is None


@pytest.mark.parametrize("height, width, channels", [(161, 163, 3), (200, 181, 1)])
def test_ms_ssim_is_tensorflow_s(height, width, channels):
    tf = pytest.importorskip("tensorflow")
    random = np.random.default_rng(1)
    smooth = np.cumsum(random.normal(0, 8, [height, width, channels]), 1) % 256
    for spread in (0, 3, 80):
        noisy = np.clip(smooth + random.normal(0, spread, smooth.shape), 0, 255)
        a, b = (image.astype(np.float32) for image in (smooth, noisy))
        expected = tf.image.ssim_multiscale(a[None], b[None], 255.0)[0]
        assert metrics.ms_ssim(a, b) == pytest.approx(float(expected), abs=1e-5)


def test_decibels():
    assert metrics.decibels(0.99) == pytest.approx(20)
    assert metrics.decibels(1.0) == math.inf


def test_different_shapes_are_refused():
    a, b = noisy_pair(20, 20)
    with pytest.raises(ValueError, match="shapes"):
        metrics.psnr(a, b[1:])
