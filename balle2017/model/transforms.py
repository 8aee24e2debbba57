"""The analysis and synthesis transforms of the paper ("Choice of forward, inverse, and perceptual transforms").

Each is given twice: as a pure function of plain weights, which is what ships,
and as a Keras layer that makes those weights from trainable parameters.
"""

import functools
from typing import Any, Callable, NamedTuple

import numpy as np
import tensorflow as tf

from balle2017.model import network
from balle2017.model.network import PIXEL_SCALE, STAGES
from balle2017.model.operations import downsampled_convolution, gdn, upsampled_convolution
from balle2017.model.rdft import rdft_basis
from balle2017.model.weights import Transform

# Where a GDN at the latents begins: nearly the identity, with this γ times the power of all latents for what its
# pool holds beyond β = 1. At exactly 0, γ, which is trained as a square root, would have no gradient.
TRACE_OF_GAMMA = 1e-3


class Operation(NamedTuple):
    """Half a stage of a transform: its convolution or its GDN.

    Attributes:
      name: For people, such as `convolution 1` or `IGDN 2`.
      function: Float `[batch, height, width, in]` to `[batch, height', width', out]`.
      matrix: What it multiplies by: a kernel or γ.
    """

    name: str
    function: Callable[[tf.Tensor], tf.Tensor]
    matrix: Any


def analysis_operations(weights, alpha, epsilon, dtype=tf.float32):
    """Yields the `Operation`s of `analyze`: in each stage a convolution, then GDN."""
    kernels, biases = list(weights.kernels), weights.biases
    # Exact, as the scale is a power of two, and there are fewer weights than pixels.
    kernels[0] = kernels[0] / PIXEL_SCALE
    for i, (_, stride) in enumerate(STAGES):
        convolve = functools.partial(
            downsampled_convolution, kernel=kernels[i], bias=biases[i], stride=stride, dtype=dtype
        )
        yield Operation(f"convolution {i + 1}", convolve, kernels[i])
        if i < len(weights.betas):
            beta, gamma = weights.betas[i], weights.gammas[i]
            normalize = functools.partial(gdn, beta=beta, gamma=gamma, alpha=alpha, epsilon=epsilon, dtype=dtype)
            yield Operation(f"GDN {i + 1}", normalize, gamma)


def synthesis_operations(weights, alpha, epsilon, dtype=tf.float32):
    """Yields the `Operation`s of `synthesize`: in each stage IGDN, then a convolution."""
    kernels, biases = list(weights.kernels), list(weights.biases)
    kernels[-1], biases[-1] = kernels[-1] * PIXEL_SCALE, biases[-1] * PIXEL_SCALE
    without = len(STAGES) - len(weights.betas)
    for i, (_, stride) in enumerate(reversed(STAGES)):
        if i >= without:
            beta, gamma = weights.betas[i - without], weights.gammas[i - without]
            normalize = functools.partial(
                gdn, beta=beta, gamma=gamma, alpha=alpha, epsilon=epsilon, inverse=True, dtype=dtype
            )
            yield Operation(f"IGDN {i - without + 1}", normalize, gamma)
        convolve = functools.partial(
            upsampled_convolution, kernel=kernels[i], bias=biases[i], stride=stride, dtype=dtype
        )
        yield Operation(f"convolution {i + 1}", convolve, kernels[i])


def analyze(pixels, weights, alpha, epsilon, dtype=tf.float32):
    """Analysis transform g_a of plain weights: pixels to unquantized latents.

    Args:
      pixels: Float `[batch, height, width, channels]` on the 0–255 scale,
        height and width multiples of 16.
      weights: `weights.Transform`, of arrays or tensors.
      alpha, epsilon: Exponents of GDN.
      dtype: `float32` or `bfloat16`, the type of the factors of all products, and of the sums of them.

    Returns:
      Latents `[batch, height / 16, width / 16, num_latents]`; one unit is one quantizer step.
    """
    x = pixels
    for operation in analysis_operations(weights, alpha, epsilon, dtype):
        x = operation.function(x)
    return x


def synthesize(latents, weights, alpha, epsilon, dtype=tf.float32):
    """Synthesis transform g_s of plain weights: quantized latents to pixels.

    Args:
      latents: Float `[batch, height, width, num_latents]`.
      weights: `weights.Transform`, of arrays or tensors.
      alpha, epsilon: Exponents of IGDN.
      dtype: `float32` or `bfloat16`, the type of the factors of all products, and of the sums of them.

    Returns:
      Pixels `[batch, 16 * height, 16 * width, channels]` on the 0–255 scale, neither rounded nor clipped.
    """
    x = latents
    for operation in synthesis_operations(weights, alpha, epsilon, dtype):
        x = operation.function(x)
    return x


class _Transform(tf.keras.layers.Layer):
    """What both transforms share: Fourier-parameterized kernels, biases and tfc's GDN parameters.

    Attributes:
      num_filters: Filters N of all stages but the one at the latents.
      num_latents: Filters M of the stage at the latents, their channels.
      channels: Colour channels, 3 or 1.
      gdn_alpha, gdn_epsilon: Exponents of GDN: 2 and ½ in the paper, 1 and 1 simplified.
      convolution_dtype: `float32`, or `bfloat16` for processors that multiply it faster;
        parameters and quotients stay float32.
      num_gdns: 3, one in each stage (the paper), or 2, none at the latents (tfc's `bls2017.py`).
      kernels: Variables `[rows, taps, columns]`, the kernels' coefficients.
      gdns: Layers `tfc.GDN`.
      latents_power: The unit in which γ at the latents is trained, a variable that is not trained itself: about
        the sum of squares of all latents of a position. These are in steps of the quantizer; what a γ of
        ordinary size would say of them is thousands of times β.
    """

    INVERSE = False

    def __init__(
        self, num_filters, num_latents, channels, gdn_alpha, gdn_epsilon, convolution_dtype, num_gdns=3, **kwargs
    ):
        super().__init__(**kwargs)
        self.num_filters = num_filters
        self.num_latents = num_latents
        self.channels = channels
        self.gdn_alpha = gdn_alpha
        self.gdn_epsilon = gdn_epsilon
        self.convolution_dtype = convolution_dtype
        self.num_gdns = num_gdns

    def build(self, input_shape):
        # Only training needs it, and it runs in TensorFlow 2.14 alone.
        import tensorflow_compression as tfc

        sizes = self.num_filters, self.num_latents
        self._shapes = network.kernel_shapes(*sizes, self.channels)
        gdns = list(enumerate(network.gdn_widths(*sizes, self.num_gdns)))
        if self.INVERSE:
            self._shapes, gdns = self._shapes[::-1], gdns[::-1]
        self.kernels, self._biases, self.gdns = [], [], []
        self.latents_power = self.add_weight(name="latents_power", shape=[], initializer="ones", trainable=False)
        for i, (size, _, rows, columns) in enumerate(self._shapes):
            inputs, outputs = (columns, rows) if self.INVERSE else (rows, columns)
            # Taps stand in the middle, so that an optimizer can rotate either
            # channel axis by one matrix product without a transposition.
            kernel = self.add_weight(
                name=f"kernel_rdft_{i}",
                shape=[rows, size * size, columns],
                initializer=tf.keras.initializers.RandomNormal(stddev=(size * size * inputs) ** -0.5),
            )
            self.kernels.append(kernel)
            self._biases.append(self.add_weight(name=f"bias_{i}", shape=[outputs], initializer="zeros"))
        for stage, width in gdns:
            options = {}
            if stage == len(STAGES) - 1:
                options["gamma_initializer"] = tf.keras.initializers.Constant(TRACE_OF_GAMMA)
            layer = tfc.GDN(
                inverse=self.INVERSE,
                alpha_parameter=self.gdn_alpha,
                epsilon_parameter=self.gdn_epsilon,
                name=f"gdn_{len(self.gdns)}",
                **options,
            )
            layer.build([None, None, None, width])
            self.gdns.append(layer)
        super().build(input_shape)

    def plain_weights(self):
        """The transform's weights as the pure functions take them: `weights.Transform` of float32 tensors."""
        return Transform(
            kernels=[
                tf.reshape(tf.einsum("ft,ifo->tio", rdft_basis(shape[0]), kernel), shape)
                for kernel, shape in zip(self.kernels, self._shapes)
            ],
            biases=[tf.convert_to_tensor(bias) for bias in self._biases],
            betas=[layer.beta for layer in self.gdns],
            gammas=[layer.gamma / unit for layer, unit in zip(self.gdns, self._units())],
        )

    def _units(self):
        """The unit of γ of each GDN, in the order of application."""
        between = [1.0] * (len(STAGES) - 1)
        if self.num_gdns == len(between):
            return between
        return [self.latents_power, *between] if self.INVERSE else [*between, self.latents_power]

    def set_plain_weights(self, weights, latents_power=1.0):
        """Assigns plain arrays (`weights.Transform`), the inverse of `plain_weights`, and the attribute."""
        import tensorflow_compression as tfc

        self.latents_power.assign(latents_power)

        for variable, kernel in zip(self.kernels, weights.kernels):
            basis = rdft_basis(kernel.shape[0])
            taps = np.reshape(kernel, [len(basis), *kernel.shape[2:]])
            variable.assign(np.einsum("ft,tio->ifo", basis, taps))
        for variable, bias in zip(self._biases, weights.biases):
            variable.assign(bias)
        for layer, beta, gamma, unit in zip(self.gdns, weights.betas, weights.gammas, self._units()):
            for parameter, value in ((layer.beta_parameter, beta), (layer.gamma_parameter, gamma * unit)):
                # tfc trains the square root of β and γ, kept away from 0, where its gradient vanishes.
                fresh = tfc.GDNParameter(value, minimum=parameter.minimum, offset=parameter.offset)
                parameter.variable.assign(fresh.variable)


class AnalysisTransform(_Transform):
    """Analysis transform g_a with trainable parameters.

    Three stages of convolution, downsampling and GDN: 9×9 and 4, 5×5 and 2, 5×5 and 2.
    """

    def call(self, pixels):
        """Maps pixels `[batch, height, width, channels]`, 0–255, to latents `[batch, h, w, num_latents]`."""
        return analyze(pixels, self.plain_weights(), self.gdn_alpha, self.gdn_epsilon, self.convolution_dtype)


class SynthesisTransform(_Transform):
    """Synthesis transform g_s with trainable parameters, the mirror of `AnalysisTransform`.

    Three stages of IGDN, upsampling and convolution: 2 and 5×5, 2 and 5×5, 4 and 9×9.
    """

    INVERSE = True

    def call(self, latents):
        """Maps latents `[batch, h, w, num_latents]` to pixels `[batch, 16 h, 16 w, channels]`, 0–255."""
        return synthesize(latents, self.plain_weights(), self.gdn_alpha, self.gdn_epsilon, self.convolution_dtype)
