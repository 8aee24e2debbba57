"""Fourier parameterization of convolution kernels, as one matrix product.

Kernels are trained through an orthonormal real discrete Fourier transform of
their spatial axes: neighbouring taps move together, which conditions the
optimization better than independent taps do. As a product with a fixed
matrix it costs next to nothing, where FFT ops would cost a quarter of a step.
"""

import functools

import numpy as np


@functools.cache
def rdft_basis(size):
    """Orthonormal basis of the real 2-D discrete Fourier transform.

    Args:
      size: Side k of a square kernel.

    Returns:
      float32 `[k², k²]`; row f holds basis function f over the taps in raster
      order, and `basis @ basis.T` is the identity.
    """
    taps = np.arange(size)
    rows = [np.full(size, 1 / np.sqrt(size))]
    for frequency in range(1, size // 2 + 1):
        phase = 2 * np.pi * frequency * taps / size
        # The Nyquist frequency of an even size has no sine.
        for wave in (np.cos(phase), np.sin(phase))[: 1 if 2 * frequency == size else 2]:
            rows.append(wave / np.linalg.norm(wave))
    basis = np.stack(rows)
    return np.kron(basis, basis).astype(np.float32)
