"""The reference formulation: the network as tfc's published example composes it, with tfc's defaults.

`tfc.SignalConv2D` with its Fourier-parameterized kernels, `tfc.GDN`, float32, and for coding one
`tfc.ContinuousBatchedEntropyModel` whose `compress` makes a single string of each image.
"""

import tensorflow as tf
import tensorflow_compression as tfc

from balle2017.model.network import PIXEL_SCALE
from balle2017.model.prior import FactorizedPrior, set_prior_parameters

def _stage(filters, size, stride, up, bias, activation):
    strides = dict(strides_up=stride) if up else dict(strides_down=stride)
    return tfc.SignalConv2D(
        filters, (size, size), corr=not up, padding="same_zeros", use_bias=bias, activation=activation, **strides
    )


class ReferenceModel(tf.keras.Model):
    """Trains on float or uint8 batches `[batch, height, width, 3]`, as `balle2017.model.objective` does.

    Attributes:
      analysis, synthesis: `tf.keras.Sequential`s of the three stages.
      prior: `tfc.NoisyDeepFactorized`.

    Args:
      lmbda: The λ of `rate + λ · distortion`.
      num_filters: Filters of the stages that GDN follows.
      num_latents: Filters of the last stage.
      **gdn: Arguments of `tfc.GDN` other than its defaults.
    """

    def __init__(self, lmbda, num_filters=128, num_latents=128, **gdn):
        super().__init__()
        self.lmbda = lmbda
        n, m = num_filters, num_latents
        self.analysis = tf.keras.Sequential(
            [
                tf.keras.layers.Rescaling(1 / PIXEL_SCALE),
                _stage(n, 9, 4, False, True, tfc.GDN(**gdn)),
                _stage(n, 5, 2, False, True, tfc.GDN(**gdn)),
                _stage(m, 5, 2, False, False, None),
            ]
        )
        self.synthesis = tf.keras.Sequential(
            [
                _stage(n, 5, 2, True, True, tfc.GDN(inverse=True, **gdn)),
                _stage(n, 5, 2, True, True, tfc.GDN(inverse=True, **gdn)),
                _stage(3, 9, 4, True, True, None),
                tf.keras.layers.Rescaling(PIXEL_SCALE),
            ]
        )
        self.prior = tfc.NoisyDeepFactorized(batch_shape=(m,))
        self.build((None, None, None, 3))

    def call(self, images, training=False):
        bottleneck = tfc.ContinuousBatchedEntropyModel(self.prior, coding_rank=3, compression=False)
        images = tf.cast(images, tf.float32)
        latents, bits = bottleneck(self.analysis(images), training=training)
        pixels = tf.cast(tf.reduce_prod(tf.shape(images)[:-1]), tf.float32)
        mse = tf.reduce_mean(tf.math.squared_difference(images, self.synthesis(latents)))
        return tf.reduce_sum(bits) / pixels + self.lmbda * mse

    def train_step(self, images):
        with tf.GradientTape() as tape:
            loss = self(images, training=True)
        self.optimizer.minimize(loss, self.trainable_variables, tape=tape)
        return {"loss": loss}


class ReferenceCodec:
    """Compresses as the published example does, with the weights of a rate point.

    tfc centres its kernels otherwise, so the latents are those of the picture shifted by 14 pixels,
    and the rate is nearly the same.

    Args:
      rate_point: A `RatePoint`. GDN has its exponents in place of tfc's default.
    """

    def __init__(self, rate_point):
        gdn = dict(alpha_parameter=rate_point.gdn_alpha, epsilon_parameter=rate_point.gdn_epsilon)
        self._model = ReferenceModel(
            rate_point.lmbda, rate_point.num_filters, rate_point.num_latents, **gdn
        )
        self._bias = tf.constant(rate_point.analysis.biases[2])
        _assign(self._model.analysis, rate_point.analysis, kernel_axes=(0, 1, 2, 3))
        _assign(self._model.synthesis, rate_point.synthesis, kernel_axes=(0, 1, 3, 2))
        prior = FactorizedPrior(batch_shape=[rate_point.num_latents])
        set_prior_parameters(prior, rate_point.prior)
        self._entropy_model = tfc.ContinuousBatchedEntropyModel(
            prior, coding_rank=3, compression=True, offset_heuristic=False
        )

    @tf.function(input_signature=[tf.TensorSpec([None, None, 3], tf.uint8)])
    def compress(self, pixels):
        """uint8 `[height, width, 3]` to a string, and the two shapes that its decoder needs."""
        latents = self._model.analysis(tf.cast(pixels[tf.newaxis], tf.float32)) + self._bias
        return self._entropy_model.compress(latents)[0], tf.shape(pixels)[:2], tf.shape(latents)[1:3]

    @tf.function(
        input_signature=[tf.TensorSpec([], tf.string)] + 2 * [tf.TensorSpec([2], tf.int32)]
    )
    def decompress(self, string, shape, latents_shape):
        """Inverse of `compress`."""
        latents = self._entropy_model.decompress(string[tf.newaxis], latents_shape)
        pixels = self._model.synthesis(latents)[0, : shape[0], : shape[1]]
        return tf.saturate_cast(tf.round(pixels), tf.uint8)


def _assign(transform, weights, kernel_axes):
    """Gives the layers of a `Sequential` the weights of a `rate_point.Transform`."""
    layers = [layer for layer in transform.layers if isinstance(layer, tfc.SignalConv2D)]
    for stage, layer in enumerate(layers):
        # The rate point counts pixels in other units, which are the analysis' input and the synthesis' output.
        to_pixels = layer.strides_up[0] == 4
        scale = 255 / PIXEL_SCALE if layer.strides_down[0] == 4 else PIXEL_SCALE / 255 if to_pixels else 1
        fresh = tfc.RDFTParameter(scale * weights.kernels[stage].transpose(kernel_axes))
        layer.kernel_parameter.real.assign(fresh.real)
        layer.kernel_parameter.imag.assign(fresh.imag)
        if layer.use_bias:
            layer.bias_parameter.assign((scale if to_pixels else 1) * weights.biases[stage])
        if stage < 2:
            gdn = layer.activation
            for parameter, value in (
                (gdn.beta_parameter, weights.betas[stage]),
                (gdn.gamma_parameter, weights.gammas[stage]),
            ):
                fresh = tfc.GDNParameter(value, minimum=parameter.minimum, offset=parameter.offset)
                parameter.variable.assign(fresh.variable)
