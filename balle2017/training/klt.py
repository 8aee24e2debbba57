"""Starting point of training: the best linear transform code, written into the network.

The stages of the analysis transform can hold an orthonormal block transform: 4×4 pixels to 48
coefficients, then twice 2×2 positions of the stage before, each the Karhunen–Loève transform
(principal components) of its inputs on training patches. The synthesis holds the transposes.
Training then only has to learn what nonlinearity and overlap add; ten minutes from here equal
forty from random weights.
"""

import dataclasses

import numpy as np

from balle2017.model.network import PIXEL_SCALE, STAGES, kernel_shapes, taps_before
from balle2017.model.weights import Transform
from balle2017.training.conditioning import add_gdn_at_latents


def principal_components(samples):
    """Orthonormal directions of largest variance first.

    Args:
      samples: float `[count, dimensions]`.

    Returns:
      `(directions [dimensions, dimensions], one a column, variances [dimensions])`.
    """
    covariance = np.cov(samples, rowvar=False)
    variances, directions = np.linalg.eigh(covariance)
    # NumPy multiplies reversed views without BLAS, a hundred times slower.
    return np.ascontiguousarray(directions[:, ::-1]), np.maximum(variances[::-1], 0.0)


def _blocks(x, size):
    """`[count, h, w, c]` to `[count, h / size, w / size, size * size * c]`."""
    n, h, w, c = x.shape
    x = x.reshape(n, h // size, size, w // size, size, c).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, h // size, w // size, size * size * c)


def linear_transform_code(
    patches, lmbda, num_filters, num_latents=None, num_gdns=3, gdn_gamma=1e-3, spare=1e-2, seed=0
):
    """Weights of the transform code that is optimal among the linear ones for Gaussian sources.

    Coefficient i of variance σ² (on the 0–255 scale) is coded with the distortion
    D = 3 / (2 ln 2 · λ) that reverse water-filling gives for L = rate + λ · MSE, i.e. with a
    gain g = sqrt((1/D − 1/σ²) / 12) before unit-width noise and the Wiener gain after it;
    coefficients below the water level start close to silence.

    Args:
      patches: uint8 `[count, size, size, channels]` from training images, size a multiple of 16.
      lmbda: λ of bits per pixel + λ · MSE on the 0–255 scale.
      num_filters: N, at least `16 * channels`.
      num_latents: M, channels of the latents; N if not given.
      num_gdns: 3, or 2: none at the latents. One there begins as nearly the identity.
      gdn_gamma: What GDN's pool holds beyond β = 1 at the start where a coefficient is as large
        as its standard deviation; the diagonal of γ, for coefficients smaller than 1.
      spare: Standard deviation of the filters that the block transform leaves unused.
      seed: Of the spare filters.

    Returns:
      `(analysis, synthesis)`, two `weights.Transform`s.

    Raises:
      ValueError: With fewer filters than the first stage needs.
    """
    channels = patches.shape[-1]
    if num_filters < 16 * channels:
        raise ValueError(f"the linear transform code needs at least {16 * channels} filters, not {num_filters}")
    random = np.random.default_rng(seed)
    num_latents = num_latents or num_filters
    mean = patches.reshape(-1, channels).mean(0) / PIXEL_SCALE
    x = patches / PIXEL_SCALE - mean

    analysis, synthesis, gammas = [], [], []
    for (size, stride), shape in zip(STAGES, kernel_shapes(num_filters, num_latents, channels)):
        x = _blocks(x, stride)
        directions, variances = principal_components(x.reshape(-1, x.shape[-1]))
        directions = directions[:, : shape[3]]
        x = x @ directions
        inputs, used = directions.shape[0] // stride**2, directions.shape[1]
        kernel = random.normal(0, spare / size, shape)
        first = taps_before(size, stride)
        taps = slice(first, first + stride)
        kernel[:, :, :inputs, :used] = 0
        kernel[taps, taps, :inputs, :used] = directions.reshape(stride, stride, inputs, used)
        analysis.append(kernel)
        synthesis.append(kernel.copy())
        gammas.append(np.full(shape[3], gdn_gamma))
        gammas[-1][:used] /= np.maximum(variances[:used], 1.0)

    biases = [np.zeros(kernel.shape[3]) for kernel in analysis]
    biases[0] -= np.einsum("hwio,i->o", analysis[0], mean)
    synthesis_biases = [np.zeros(kernel.shape[2]) for kernel in synthesis]
    synthesis_biases[0] += mean

    variances = np.maximum(variances[:num_latents], 1e-12)
    water = 3.0 / (2.0 * np.log(2.0) * lmbda) / PIXEL_SCALE**2
    gain = np.sqrt(np.maximum(1.0 / water - 1.0 / variances, 1e-3 / water) / 12.0)
    wiener = gain * variances / (gain**2 * variances + 1.0 / 12.0)
    analysis[-1] *= gain
    synthesis[-1] *= wiener

    gammas = [np.diag(gamma) for gamma in gammas[:-1]]
    betas = [np.ones(len(gamma)) for gamma in gammas]
    transforms = (
        Transform(analysis, biases, betas, gammas),
        Transform(synthesis[::-1], synthesis_biases[::-1], betas[::-1], gammas[::-1]),
    )
    for transform in transforms:
        for field in dataclasses.fields(transform):
            arrays = getattr(transform, field.name)
            setattr(transform, field.name, [np.ascontiguousarray(array, np.float32) for array in arrays])
    if num_gdns == len(STAGES):
        add_gdn_at_latents(*transforms, np.sum(gain**2 * variances))
    return transforms
