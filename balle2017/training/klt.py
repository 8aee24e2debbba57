"""Starting point of training: the best linear transform code, written into the network.

The three stages of the analysis can hold an orthonormal block transform: 4×4 pixels to 48
coefficients, then twice 2×2 positions of the stage before, each the Karhunen–Loève transform
(principal components) of its inputs on training patches. The synthesis holds the transposes.
Training then only has to learn what nonlinearity and overlap add; ten minutes from here equal
forty from random weights.
"""

import numpy as np

from balle2017.model.transforms import PIXEL_SCALE
from balle2017.model.weights import Transform

# Taps before a block under TensorFlow's SAME padding: (kernel − stride) // 2.
FIRST_BLOCK = (9 - 4) // 2
LATER_BLOCK = (5 - 2) // 2


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


def linear_transform_code(patches, lmbda, num_filters, num_latents=None, gdn_gamma=1e-3, spare=1e-2, seed=0):
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
        raise ValueError(
            f"the linear transform code needs at least {16 * channels} filters, not {num_filters}"
        )
    random = np.random.default_rng(seed)
    mean = patches.reshape(-1, channels).mean(0) / PIXEL_SCALE
    x = _blocks(patches / PIXEL_SCALE - mean, 4)

    analysis, synthesis, biases, gammas = [], [], [], []
    for stage, (size, block, first) in enumerate(
        [(9, 4, FIRST_BLOCK), (5, 2, LATER_BLOCK), (5, 2, LATER_BLOCK)]
    ):
        if stage > 0:
            x = _blocks(x, 2)
        directions, variances = principal_components(x.reshape(-1, x.shape[-1]))
        outputs = num_filters if stage < 2 else num_latents or num_filters
        directions = directions[:, :outputs]
        x = x @ directions
        inputs = directions.shape[0] // block**2
        wide = channels if stage == 0 else num_filters
        kernel = random.normal(0, spare / size, [size, size, wide, outputs])
        taps = slice(first, first + block)
        used = directions.shape[1]
        kernel[:, :, :inputs, :used] = 0
        kernel[taps, taps, :inputs, :used] = directions.reshape(block, block, inputs, used)
        if stage == 0:
            offset = -np.einsum("hwio,i->o", kernel, mean)
        else:
            offset = np.zeros(outputs)
        analysis.append(kernel)
        synthesis.append(kernel.copy())
        biases.append(offset)
        gammas.append(np.full(outputs, gdn_gamma))
        gammas[-1][:used] /= np.maximum(variances[:used], 1.0)

    variances = np.maximum(variances[:outputs], 1e-12)
    water = 3.0 / (2.0 * np.log(2.0) * lmbda) / PIXEL_SCALE**2
    gain = np.sqrt(np.maximum(1.0 / water - 1.0 / variances, 1e-3 / water) / 12.0)
    wiener = gain * variances / (gain**2 * variances + 1.0 / 12.0)
    analysis[2] *= gain
    synthesis[2] *= wiener

    betas, gammas = [np.ones(num_filters)] * 2, [np.diag(gamma) for gamma in gammas[:2]]
    synthesis_biases = [np.zeros(num_filters), np.zeros(num_filters), mean]
    return tuple(
        Transform(*(_float32(part) for part in parts))
        for parts in (
            (analysis, biases, betas, gammas),
            (synthesis[::-1], synthesis_biases, betas, gammas[::-1]),
        )
    )


def _float32(arrays):
    return [np.ascontiguousarray(array, np.float32) for array in arrays]
