"""The analysis and synthesis transforms of the paper (section 3, figure 3).

Each is given twice: as a pure function of plain weights, which is what ships,
and as a Keras layer that makes those weights from trainable parameters.
"""

import numpy as np
import tensorflow as tf
import tensorflow_compression as tfc

from balle2017.rate_point import STRIDES
from balle2017.rdft import rdft_basis

PIXEL_SCALE = 255.0


def pad_to_multiple(image, multiple):
    """Pads `[batch, height, width, channels]` at the bottom and right by repeating the edge."""
    height, width = tf.shape(image)[1], tf.shape(image)[2]
    rows = tf.minimum(tf.range(-(-height // multiple) * multiple), height - 1)
    cols = tf.minimum(tf.range(-(-width // multiple) * multiple), width - 1)
    return tf.gather(tf.gather(image, rows, axis=1), cols, axis=2)


def gdn(x, beta, gamma, alpha, epsilon, inverse=False):
    """Generalized divisive normalization, the paper's equation 1, or its approximate inverse.

    `y[i] = x[i] / (beta[i] + sum_j gamma[j, i] |x[j]|**alpha)**epsilon`, with a
    product in place of the quotient for the inverse. One matrix multiplication
    and one elementwise expression.

    Args:
      x: Float tensor `[batch, height, width, filters]`.
      beta: `[filters]`.
      gamma: `[filters, filters]`.
      alpha: 2 (the paper) or 1 (simplified).
      epsilon: ½ (the paper) or 1 (simplified).
      inverse: Whether to multiply (IGDN, equation 2).
    """
    power = tf.square(x) if alpha == 2 else tf.abs(x)
    shape = tf.shape(x)
    # As a plain matrix product it runs at full speed for any image shape.
    pool = tf.matmul(tf.reshape(power, [-1, gamma.shape[0]]), tf.cast(gamma, x.dtype))
    pool = tf.reshape(tf.nn.bias_add(pool, tf.cast(beta, x.dtype)), shape)
    if epsilon == 1:
        return x * pool if inverse else x / pool
    return x * (tf.sqrt(pool) if inverse else tf.math.rsqrt(pool))


def downsampled_convolution(x, kernel, bias, stride):
    """Convolution followed by downsampling: a linear stage of the analysis."""
    return tf.nn.bias_add(tf.nn.conv2d(x, kernel, stride, "SAME"), bias)


def upsampled_convolution(x, kernel, bias, stride):
    """Upsampling followed by convolution, the adjoint of `downsampled_convolution`.

    Args:
      x: `[batch, height, width, in]`.
      kernel: `[k, k, out, in]`.
      bias: `[out]`.
      stride: Upsampling factor.

    Returns:
      `[batch, stride * height, stride * width, out]`.
    """
    size, _, out, _ = kernel.shape
    if out > stride * stride:
        shape = tf.shape(x)
        target = tf.stack([shape[0], stride * shape[1], stride * shape[2], out])
        y = tf.nn.conv2d_transpose(x, kernel, target, stride, "SAME")
        return tf.nn.bias_add(y, bias)
    # With few output channels a transposed convolution leaves the processor's vector units empty;
    # computing all stride² phases as channels of a 3×3 convolution is the same sum, several times faster.
    return tf.nn.bias_add(
        tf.nn.depth_to_space(tf.nn.conv2d(x, phase_kernel(kernel, stride), 1, "SAME"), stride), bias
    )


def phase_kernel(kernel, stride):
    """Rewrites an upsampling kernel `[k, k, out, in]` as `[3, 3, in, stride² · out]` for `depth_to_space`."""
    size, _, out, inputs = kernel.shape
    before = stride - (size - stride) // 2
    after = 3 * stride - size - before
    kernel = tf.pad(kernel, [[before, after], [before, after], [0, 0], [0, 0]])
    kernel = tf.reshape(kernel, [3, stride, 3, stride, out, inputs])
    # A tap at offset 0 reaches the block below its input: convolution flips the taps.
    kernel = tf.reverse(tf.transpose(kernel, [0, 2, 5, 1, 3, 4]), [0, 1])
    return tf.reshape(kernel, [3, 3, inputs, stride * stride * out])


def analyze(pixels, weights, alpha, epsilon):
    """Analysis transform g_a of plain weights: pixels to unquantized latents.

    Args:
      pixels: Float `[batch, height, width, channels]` on the 0–255 scale,
        height and width multiples of 16.
      weights: `rate_point.Transform`, of arrays or tensors.
      alpha, epsilon: Exponents of GDN.

    Returns:
      Latents `[batch, height / 16, width / 16, filters]`; one unit is one quantizer step.
    """
    x = pixels / PIXEL_SCALE
    for stage, stride in enumerate(STRIDES):
        x = downsampled_convolution(x, weights.kernels[stage], weights.biases[stage], stride)
        if stage < 2:
            x = gdn(x, weights.betas[stage], weights.gammas[stage], alpha, epsilon)
    return x


def synthesize(latents, weights, alpha, epsilon):
    """Synthesis transform g_s of plain weights: quantized latents to pixels.

    Args:
      latents: Float `[batch, height, width, filters]`.
      weights: `rate_point.Transform`, of arrays or tensors.
      alpha, epsilon: Exponents of IGDN.

    Returns:
      Pixels `[batch, 16 * height, 16 * width, channels]` on the 0–255 scale, neither rounded nor clipped.
    """
    x = latents
    for stage, stride in enumerate(reversed(STRIDES)):
        if stage > 0:
            x = gdn(x, weights.betas[stage - 1], weights.gammas[stage - 1], alpha, epsilon, inverse=True)
        x = upsampled_convolution(x, weights.kernels[stage], weights.biases[stage], stride)
    return x * PIXEL_SCALE
