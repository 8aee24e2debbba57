"""The transforms: layers, plain functions and tfc's own ops say the same."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_compression as tfc

from balle2017.model import transforms
from balle2017.model.rdft import rdft_basis

FORMS = pytest.mark.parametrize("alpha, epsilon", [(2, 0.5), (1, 1)])


def plain(layer):
    return layer.plain_weights().map(np.asarray)


@pytest.mark.parametrize("size", [4, 5, 9])
def test_fourier_basis_is_orthonormal(size):
    basis = rdft_basis(size)
    np.testing.assert_allclose(basis @ basis.T, np.eye(size * size), atol=1e-5)


@FORMS
@pytest.mark.parametrize("inverse", [False, True])
def test_gdn_is_tfcs(alpha, epsilon, inverse):
    random = np.random.default_rng(0)
    x = random.normal(size=[2, 3, 4, 6]).astype(np.float32)
    beta, gamma = random.uniform(0.5, 2, [6]), random.uniform(0, 0.3, [6, 6])
    layer = tfc.GDN(
        inverse,
        alpha_parameter=alpha,
        epsilon_parameter=epsilon,
        beta_parameter=tf.constant(beta, tf.float32),
        gamma_parameter=tf.constant(gamma, tf.float32),
    )
    ours = transforms.gdn(
        x, tf.constant(beta, tf.float32), tf.constant(gamma, tf.float32), alpha, epsilon, inverse
    )
    np.testing.assert_allclose(ours, layer(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size, stride, out", [(9, 4, 3), (9, 4, 1), (5, 2, 3), (5, 2, 7)])
def test_upsampling_is_the_adjoint_of_downsampling(size, stride, out):
    random = np.random.default_rng(1)
    kernel = random.normal(size=[size, size, out, 8]).astype(np.float32)
    latents = random.normal(size=[2, 3, 5, 8]).astype(np.float32)
    pixels = random.normal(size=[2, 3 * stride, 5 * stride, out]).astype(np.float32)
    down = transforms.downsampled_convolution(pixels, kernel, np.zeros(8, np.float32), stride)
    up = transforms.upsampled_convolution(latents, kernel, np.zeros(out, np.float32), stride)
    assert np.vdot(down, latents) == pytest.approx(np.vdot(pixels, up), rel=1e-4)


@FORMS
@pytest.mark.parametrize("channels", [1, 3])
def test_layers_are_the_plain_functions_of_their_weights(alpha, epsilon, channels):
    random = np.random.default_rng(2)
    pixels = random.uniform(0, 255, [1, 32, 48, channels]).astype(np.float32)
    analysis = transforms.AnalysisTransform(8, 12, channels, alpha, epsilon, "float32")
    synthesis = transforms.SynthesisTransform(8, 12, channels, alpha, epsilon, "float32")
    latents = analysis(pixels)
    assert latents.shape == [1, 2, 3, 12]
    assert synthesis(latents).shape == pixels.shape
    np.testing.assert_allclose(
        latents, transforms.analyze(pixels, plain(analysis), alpha, epsilon), rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(
        synthesis(latents), transforms.synthesize(latents, plain(synthesis), alpha, epsilon), rtol=1e-4, atol=1e-2
    )


def test_plain_weights_can_be_put_back():
    first = transforms.AnalysisTransform(8, 8, 3, 2, 0.5, "float32")
    second = transforms.AnalysisTransform(8, 8, 3, 2, 0.5, "float32")
    first.build([None, None, None, 3])
    second.build([None, None, None, 3])
    second.set_plain_weights(plain(first))
    for a, b in zip(plain(first).arrays(), plain(second).arrays()):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("height, width", [(1, 1), (16, 17), (40, 3)])
def test_padding_repeats_the_edge(height, width):
    image = np.random.default_rng(3).integers(0, 256, [1, height, width, 3], np.uint8)
    padded = transforms.pad_to_multiple(image, 16).numpy()
    assert padded.shape[1] % 16 == padded.shape[2] % 16 == 0
    expected = np.pad(
        image,
        [(0, 0), (0, padded.shape[1] - height), (0, padded.shape[2] - width), (0, 0)],
        mode="edge",
    )
    np.testing.assert_array_equal(padded, expected)
