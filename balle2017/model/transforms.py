"""The analysis and synthesis transforms of the paper (section 2).

Each is given twice: as a pure function of plain weights, which is what ships,
and as a Keras layer that makes those weights from trainable parameters.
"""

import functools
from typing import Any, Callable, NamedTuple

import numpy as np
import tensorflow as tf

from balle2017.model.rdft import rdft_basis
from balle2017.model.weights import PIXEL_SCALE, STRIDES, Transform


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
    """Generalized divisive normalization, or its approximate inverse (paper: section 2).

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
      dtype: Type of the factors of the products.
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
    """Convolution followed by downsampling: a linear stage of the analysis.

    Args:
      x: float32 `[batch, height, width, in]`.
      kernel: `[k, k, in, out]`.
      bias: `[out]`.
      stride: Downsampling factor.
      dtype: Type of the factors of the products.

    Returns:
      float32 `[batch, height / stride, width / stride, out]`.
    """
    y = tf.nn.conv2d(tf.cast(x, dtype), tf.cast(kernel, dtype), stride, "SAME")
    return tf.nn.bias_add(tf.cast(y, tf.float32), bias)


def upsampled_convolution(x, kernel, bias, stride, dtype=tf.float32):
    """Upsampling followed by convolution, the adjoint of `downsampled_convolution`.

    Args:
      x: float32 `[batch, height, width, in]`.
      kernel: `[k, k, out, in]`.
      bias: `[out]`.
      stride: Upsampling factor.
      dtype: Type of the factors of the products.

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


class Stage(NamedTuple):
    """One step of a transform.

    Attributes:
      name: For people, such as `convolution 1` or `IGDN 2`.
      function: The step.
      matrix: What it multiplies by: a kernel or γ.
    """

    name: str
    function: Callable[[tf.Tensor], tf.Tensor]
    matrix: Any


def analysis_stages(weights, alpha, epsilon, dtype=tf.float32):
    """Yields the `Stage`s of `analyze`: three convolutions, and GDN between them."""
    for stage, stride in enumerate(STRIDES):
        kernel, bias = weights.kernels[stage], weights.biases[stage]
        if stage == 0:
            # Exact, as the scale is a power of two, and there are fewer weights than pixels.
            kernel = kernel / PIXEL_SCALE
        convolution = functools.partial(
            downsampled_convolution, kernel=kernel, bias=bias, stride=stride, dtype=dtype
        )
        yield Stage(f"convolution {stage + 1}", convolution, kernel)
        if stage < 2:
            beta, gamma = weights.betas[stage], weights.gammas[stage]
            normalization = functools.partial(
                gdn, beta=beta, gamma=gamma, alpha=alpha, epsilon=epsilon, dtype=dtype
            )
            yield Stage(f"GDN {stage + 1}", normalization, gamma)


def synthesis_stages(weights, alpha, epsilon, dtype=tf.float32):
    """Yields the `Stage`s of `synthesize`: three convolutions, and IGDN between them."""
    for stage, stride in enumerate(reversed(STRIDES)):
        if stage > 0:
            beta, gamma = weights.betas[stage - 1], weights.gammas[stage - 1]
            normalization = functools.partial(
                gdn, beta=beta, gamma=gamma, alpha=alpha, epsilon=epsilon, inverse=True, dtype=dtype
            )
            yield Stage(f"IGDN {stage}", normalization, gamma)
        kernel, bias = weights.kernels[stage], weights.biases[stage]
        if stage == 2:
            kernel, bias = kernel * PIXEL_SCALE, bias * PIXEL_SCALE
        convolution = functools.partial(
            upsampled_convolution, kernel=kernel, bias=bias, stride=stride, dtype=dtype
        )
        yield Stage(f"convolution {stage + 1}", convolution, kernel)


def analyze(pixels, weights, alpha, epsilon, dtype=tf.float32):
    """Analysis transform g_a of plain weights: pixels to unquantized latents.

    Args:
      pixels: Float `[batch, height, width, channels]` on the 0–255 scale,
        height and width multiples of 16.
      weights: `weights.Transform`, of arrays or tensors.
      alpha, epsilon: Exponents of GDN.
      dtype: `float32` or `bfloat16`, the type of the factors of all products.

    Returns:
      Latents `[batch, height / 16, width / 16, num_latents]`; one unit is one quantizer step.
    """
    x = pixels
    for stage in analysis_stages(weights, alpha, epsilon, dtype):
        x = stage.function(x)
    return x


def synthesize(latents, weights, alpha, epsilon, dtype=tf.float32):
    """Synthesis transform g_s of plain weights: quantized latents to pixels.

    Args:
      latents: Float `[batch, height, width, num_latents]`.
      weights: `weights.Transform`, of arrays or tensors.
      alpha, epsilon: Exponents of IGDN.
      dtype: `float32` or `bfloat16`, the type of the factors of all products.

    Returns:
      Pixels `[batch, 16 * height, 16 * width, channels]` on the 0–255 scale, neither rounded nor clipped.
    """
    x = latents
    for stage in synthesis_stages(weights, alpha, epsilon, dtype):
        x = stage.function(x)
    return x


class _Transform(tf.keras.layers.Layer):
    """What both transforms share: Fourier-parameterized kernels, biases and tfc's GDN parameters."""

    def __init__(
        self, num_filters, num_latents, channels, gdn_alpha, gdn_epsilon, convolution_dtype, **kwargs
    ):
        super().__init__(**kwargs)
        self.num_filters = num_filters
        self.num_latents = num_latents
        self.channels = channels
        self.gdn_alpha = gdn_alpha
        self.gdn_epsilon = gdn_epsilon
        self.convolution_dtype = convolution_dtype

    def _kernel_shapes(self):
        raise NotImplementedError

    def build(self, input_shape):
        # Only training needs it, and it runs in TensorFlow 2.14 alone.
        import tensorflow_compression as tfc

        self._kernels_rdft, self._biases, self._gdns = [], [], []
        for stage, shape in enumerate(self._kernel_shapes()):
            size, _, rows, columns = shape
            fan = size * size * (rows if isinstance(self, AnalysisTransform) else columns)
            self._kernels_rdft.append(
                self.add_weight(
                    name=f"kernel_rdft_{stage}",
                    # Taps stand in the middle, so that an optimizer can rotate either
                    # channel axis by one matrix product without a transposition.
                    shape=[rows, size * size, columns],
                    initializer=tf.keras.initializers.RandomNormal(stddev=fan**-0.5),
                )
            )
            self._biases.append(
                self.add_weight(
                    name=f"bias_{stage}", shape=[self._bias_size(shape)], initializer="zeros"
                )
            )
        for stage in range(2):
            gdn_layer = tfc.GDN(
                inverse=isinstance(self, SynthesisTransform),
                alpha_parameter=self.gdn_alpha,
                epsilon_parameter=self.gdn_epsilon,
                name=f"gdn_{stage}",
            )
            gdn_layer.build([None, None, None, self.num_filters])
            self._gdns.append(gdn_layer)
        super().build(input_shape)

    def plain_weights(self):
        """The transform's weights as the pure functions take them: a `weights.Transform` of tensors."""
        return Transform(
            kernels=[
                tf.reshape(tf.einsum("ft,ifo->tio", rdft_basis(shape[0]), kernel), shape)
                for kernel, shape in zip(self._kernels_rdft, self._kernel_shapes())
            ],
            biases=[tf.convert_to_tensor(bias) for bias in self._biases],
            betas=[layer.beta for layer in self._gdns],
            gammas=[layer.gamma for layer in self._gdns],
        )

    def set_plain_weights(self, weights):
        """Assigns plain arrays (`weights.Transform`), the inverse of `plain_weights`."""
        import tensorflow_compression as tfc

        for variable, kernel in zip(self._kernels_rdft, weights.kernels):
            basis = rdft_basis(kernel.shape[0])
            taps = np.reshape(kernel, [len(basis), *kernel.shape[2:]])
            variable.assign(np.einsum("ft,tio->ifo", basis, taps))
        for variable, bias in zip(self._biases, weights.biases):
            variable.assign(bias)
        for layer, beta, gamma in zip(self._gdns, weights.betas, weights.gammas):
            for parameter, value in ((layer.beta_parameter, beta), (layer.gamma_parameter, gamma)):
                # tfc trains the square root of β and γ, kept away from 0, where its gradient vanishes.
                fresh = tfc.GDNParameter(value, minimum=parameter.minimum, offset=parameter.offset)
                parameter.variable.assign(fresh.variable)


class AnalysisTransform(_Transform):
    """Analysis transform g_a (paper: section 2) with trainable parameters.

    9×9 convolution with stride 4, 5×5 with stride 2, 5×5 with stride 2; the first two
    followed by GDN. `call` is `analyze` of the current weights.

    Attributes:
      num_filters: Filters N of the stages that GDN follows.
      num_latents: Filters M of the last stage, the channels of the latents.
      channels: Colour channels, 3 or 1.
      gdn_alpha, gdn_epsilon: Exponents of GDN: 2 and ½ in the paper, 1 and 1 simplified.
      convolution_dtype: `float32`, or `bfloat16` for processors that multiply it faster;
        parameters, quotients and sums stay float32.
    """

    def _kernel_shapes(self):
        n, m = self.num_filters, self.num_latents
        return [[9, 9, self.channels, n], [5, 5, n, n], [5, 5, n, m]]

    def _bias_size(self, kernel_shape):
        return kernel_shape[3]

    def call(self, pixels):
        """Maps pixels `[batch, height, width, channels]`, 0–255, to latents `[batch, h, w, num_latents]`."""
        return analyze(
            pixels, self.plain_weights(), self.gdn_alpha, self.gdn_epsilon, self.convolution_dtype
        )


class SynthesisTransform(_Transform):
    """Synthesis transform g_s (paper: section 2) with trainable parameters.

    The mirror of `AnalysisTransform`: 5×5 upsampling by 2, IGDN, 5×5 by 2, IGDN, 9×9 by 4.
    """

    def _kernel_shapes(self):
        n, m = self.num_filters, self.num_latents
        return [[5, 5, n, m], [5, 5, n, n], [9, 9, self.channels, n]]

    def _bias_size(self, kernel_shape):
        return kernel_shape[2]

    def call(self, latents):
        """Maps latents `[batch, h, w, num_latents]` to pixels `[batch, 16 h, 16 w, channels]`, 0–255."""
        return synthesize(
            latents, self.plain_weights(), self.gdn_alpha, self.gdn_epsilon, self.convolution_dtype
        )
