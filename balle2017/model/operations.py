"""What the transforms are made of: GDN, convolution with downsampling and with upsampling, padding."""

import tensorflow as tf


def processor_has_bfloat16():
    """Whether this processor multiplies bfloat16 natively (else it is slower than float32)."""
    try:
        with open("/proc/cpuinfo") as info:
            return "avx512_bf16" in info.read()
    except OSError:
        return False


def pad_to_multiple(image, multiple):
    """Pads `[batch, height, width, channels]` at the bottom and right by repeating the edge."""
    height, width = tf.shape(image)[1], tf.shape(image)[2]
    image = tf.concat([image, tf.repeat(image[:, -1:], -height % multiple, 1)], 1)
    return tf.concat([image, tf.repeat(image[:, :, -1:], -width % multiple, 2)], 2)


def gdn(x, beta, gamma, alpha, epsilon, inverse=False, dtype=tf.float32):
    """Generalized divisive normalization, or its approximate inverse (the paper's GDN and IGDN).

    `y[i] = x[i] / (beta[i] + sum_j gamma[j, i] |x[j]|**alpha)**epsilon`, with a
    product in place of the quotient for the inverse. One matrix multiplication
    and one elementwise expression.

    Args:
      x: float32 `[batch, height, width, filters]`.
      beta: `[filters]`.
      gamma: `[filters, filters]`.
      alpha: 2 (the paper) or 1 (simplified).
      epsilon: ½ (the paper) or 1 (simplified).
      inverse: Whether to multiply (IGDN).
      dtype: Type of the factors of the products, see `downsampled_convolution`.
    """
    power = tf.square(x) if alpha == 2 else tf.abs(x)
    shape = tf.shape(x)
    # As a plain matrix product it runs at full speed for any image shape.
    power = tf.cast(tf.reshape(power, [-1, gamma.shape[0]]), dtype)
    pool = tf.cast(tf.matmul(power, tf.cast(gamma, dtype)), tf.float32)
    pool = tf.reshape(tf.nn.bias_add(pool, beta), shape)
    if epsilon == 1:
        return x * pool if inverse else x / pool
    return x * (tf.sqrt(pool) if inverse else tf.math.rsqrt(pool))


def downsampled_convolution(x, kernel, bias, stride, dtype=tf.float32):
    """Convolution followed by downsampling: the linear part of a stage of the paper's analysis transform.

    Args:
      x: float32 `[batch, height, width, in]`.
      kernel: `[k, k, in, out]`.
      bias: `[out]`.
      stride: Downsampling factor.
      dtype: Type of the factors of the products. TensorFlow returns their sums in this type: with
        bfloat16 they, too, have 8 bits, which takes 0.05 dB at the highest rate.

    Returns:
      float32 `[batch, height / stride, width / stride, out]`.
    """
    y = tf.nn.conv2d(tf.cast(x, dtype), tf.cast(kernel, dtype), stride, "SAME")
    return tf.nn.bias_add(tf.cast(y, tf.float32), bias)


def upsampled_convolution(x, kernel, bias, stride, dtype=tf.float32):
    """Upsampling followed by convolution, of the paper's synthesis: the adjoint of `downsampled_convolution`.

    Args:
      x: float32 `[batch, height, width, in]`.
      kernel: `[k, k, out, in]`.
      bias: `[out]`.
      stride: Upsampling factor.
      dtype: Type of the factors of the products, see `downsampled_convolution`.

    Returns:
      float32 `[batch, stride * height, stride * width, out]`.
    """
    _, _, out, _ = kernel.shape
    x, kernel = tf.cast(x, dtype), tf.cast(kernel, dtype)
    if out > stride * stride:
        shape = tf.shape(x)
        target = tf.stack([shape[0], stride * shape[1], stride * shape[2], out])
        y = tf.nn.conv2d_transpose(x, kernel, target, stride, "SAME")
        return tf.nn.bias_add(tf.cast(y, tf.float32), bias)
    # With few output channels a transposed convolution leaves the processor's vector units empty;
    # computing all stride² phases as channels of a 3×3 convolution is the same sum, several times faster.
    y = tf.nn.conv2d(x, phase_kernel(kernel, stride), 1, "SAME")
    y = tf.nn.bias_add(tf.cast(y, tf.float32), tf.tile(bias, [stride * stride]))
    return tf.nn.depth_to_space(y, stride)


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
