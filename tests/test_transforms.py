"""The transforms: layers, plain functions and tfc's own ops say the same."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_compression as tfc

from balle2017.model import network, operations, transforms
from balle2017.model.rdft import rdft_basis
from balle2017.model.weights import Transform

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
    ours = operations.gdn(x, tf.constant(beta, tf.float32), tf.constant(gamma, tf.float32), alpha, epsilon, inverse)
    np.testing.assert_allclose(ours, layer(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size, stride, out", [(9, 4, 3), (9, 4, 1), (5, 2, 3), (5, 2, 7)])
def test_upsampling_is_the_adjoint_of_downsampling(size, stride, out):
    random = np.random.default_rng(1)
    kernel = random.normal(size=[size, size, out, 8]).astype(np.float32)
    latents = random.normal(size=[2, 3, 5, 8]).astype(np.float32)
    pixels = random.normal(size=[2, 3 * stride, 5 * stride, out]).astype(np.float32)
    down = operations.downsampled_convolution(pixels, kernel, np.zeros(8, np.float32), stride)
    up = operations.upsampled_convolution(latents, kernel, np.zeros(out, np.float32), stride)
    assert np.vdot(down, latents) == pytest.approx(np.vdot(pixels, up), rel=1e-4)


@FORMS
@pytest.mark.parametrize("channels, num_gdns", [(1, 2), (3, 3)])
def test_layers_are_the_plain_functions_of_their_weights(alpha, epsilon, channels, num_gdns):
    random = np.random.default_rng(2)
    pixels = random.uniform(0, 255, [1, 32, 48, channels]).astype(np.float32)
    analysis = transforms.AnalysisTransform(8, 12, channels, alpha, epsilon, "float32", num_gdns)
    synthesis = transforms.SynthesisTransform(8, 12, channels, alpha, epsilon, "float32", num_gdns)
    latents = analysis(pixels)
    assert latents.shape == [1, 2, 3, 12]
    assert synthesis(latents).shape == pixels.shape
    np.testing.assert_allclose(
        latents, transforms.analyze(pixels, plain(analysis), alpha, epsilon), rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(
        synthesis(latents), transforms.synthesize(latents, plain(synthesis), alpha, epsilon), rtol=1e-4, atol=1e-2
    )


@pytest.mark.parametrize("num_gdns, names", [
    (3, ["convolution 1", "GDN 1", "convolution 2", "GDN 2", "convolution 3", "GDN 3"]),
    (2, ["convolution 1", "GDN 1", "convolution 2", "GDN 2", "convolution 3"]),
])  # fmt: skip
def test_synthesis_mirrors_the_analysis(num_gdns, names):
    sizes = (8, 12, 3, 2, 0.5, "float32", num_gdns)
    analysis, synthesis = transforms.AnalysisTransform(*sizes), transforms.SynthesisTransform(*sizes)
    analysis.build([None, None, None, 3])
    synthesis.build([None, None, None, 12])
    there = list(transforms.analysis_operations(plain(analysis), 2, 0.5))
    back = list(transforms.synthesis_operations(plain(synthesis), 2, 0.5))
    assert [operation.name for operation in there] == names
    assert [operation.matrix.shape for operation in back] == [operation.matrix.shape for operation in there][::-1]
    assert [operation.name.startswith("IGDN") for operation in back] == [name.startswith("GDN") for name in names][::-1]


def test_receptive_fields_are_those_of_the_transforms():
    """What changes when one pixel, or one latent, does."""
    random = np.random.default_rng(4)

    def transform(kernels, biases):
        betas = [random.uniform(0.5, 1, [4]).astype(np.float32) for _ in kernels]
        gammas = [random.uniform(0.5, 1, [4, 4]).astype(np.float32) for _ in kernels]
        return Transform(kernels, [np.ones(size, np.float32) for size in biases], betas, gammas)

    kernels = [random.normal(size=s).astype(np.float32) for s in network.kernel_shapes(4, 4, 1)]
    analysis, synthesis = transform(kernels, [4, 4, 4]), transform(kernels[::-1], [4, 4, 1])
    first, last = network.receptive_field()

    def latents(pixels):
        return transforms.analyze(tf.constant(pixels), analysis, 2, 0.5).numpy()

    gray = np.full([1, 160, 160, 1], 100, np.float32)
    reaching = []
    for x in range(32, 128):
        pixels = gray.copy()
        pixels[0, 80, x] += 50
        if np.any(latents(pixels)[0, 5, 4] != latents(gray)[0, 5, 4]):
            reaching.append(x - 4 * network.STRIDE)
    assert (min(reaching), max(reaching)) == (first, last)
    values = np.ones([1, 10, 10, 4], np.float32)
    changed = values.copy()
    changed[0, 5, 4] += 1
    difference = [transforms.synthesize(tf.constant(v), synthesis, 2, 0.5).numpy() for v in (values, changed)]
    columns = np.flatnonzero(np.any(difference[0] != difference[1], axis=(0, 1, 3))) - 4 * network.STRIDE
    assert (columns[0], columns[-1]) == (first, last)
    assert network.context() == (1, 2) and network.STRIDE == 16


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
    padded = operations.pad_to_multiple(image, 16).numpy()
    assert padded.shape[1] % 16 == padded.shape[2] % 16 == 0
    expected = np.pad(
        image,
        [(0, 0), (0, padded.shape[1] - height), (0, padded.shape[2] - width), (0, 0)],
        mode="edge",
    )
    np.testing.assert_array_equal(padded, expected)
