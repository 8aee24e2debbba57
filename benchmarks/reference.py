"""The reference formulation: the network as tfc's published example composes it, with tfc's defaults.

`tfc.SignalConv2D` with its Fourier-parameterized kernels, `tfc.GDN`, float32, and for coding one
`tfc.ContinuousBatchedEntropyModel` whose `compress` makes a single string of each image.
"""

import tensorflow as tf
import tensorflow_compression as tfc
import tensorflow_probability as tfp

from balle2017.model.competing_prior import CompetingPrior, prior_of
from balle2017.model.network import PIXEL_SCALE


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
      num_gdns: 2, as in the example, or 3: also one at the latents.
      **gdn: Arguments of `tfc.GDN` other than its defaults.
    """

    def __init__(self, lmbda, num_filters=128, num_latents=128, num_gdns=2, **gdn):
        super().__init__()
        self.lmbda = lmbda
        n, m = num_filters, num_latents
        at_latents = num_gdns == 3
        self.analysis = tf.keras.Sequential(
            [
                tf.keras.layers.Rescaling(1 / PIXEL_SCALE),
                _stage(n, 9, 4, False, True, tfc.GDN(**gdn)),
                _stage(n, 5, 2, False, True, tfc.GDN(**gdn)),
                _stage(m, 5, 2, False, at_latents, tfc.GDN(**gdn) if at_latents else None),
            ]
        )
        self.synthesis = tf.keras.Sequential(
            [
                *([tfc.GDN(inverse=True, **gdn)] if at_latents else []),
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
            rate_point.lmbda, rate_point.num_filters, rate_point.num_latents, len(rate_point.analysis.betas), **gdn
        )
        # With a GDN at the latents the bias stands before it.
        self._bias = 0.0 if len(rate_point.analysis.betas) == 3 else tf.constant(rate_point.analysis.biases[2])
        _assign(self._model.analysis, rate_point.analysis, kernel_axes=(0, 1, 2, 3))
        _assign(self._model.synthesis, rate_point.synthesis, kernel_axes=(0, 1, 3, 2))
        self._entropy_model = tfc.ContinuousBatchedEntropyModel(
            single_density(rate_point.prior), coding_rank=3, compression=True, offset_heuristic=False
        )

    @tf.function(input_signature=[tf.TensorSpec([None, None, 3], tf.uint8)])
    def compress(self, pixels):
        """uint8 `[height, width, 3]` to a string, and the two shapes that its decoder needs."""
        latents = self._model.analysis(tf.cast(pixels[tf.newaxis], tf.float32)) + self._bias
        return self._entropy_model.compress(latents)[0], tf.shape(pixels)[:2], tf.shape(latents)[1:3]

    @tf.function(input_signature=[tf.TensorSpec([], tf.string)] + 2 * [tf.TensorSpec([2], tf.int32)])
    def decompress(self, string, shape, latents_shape):
        """Inverse of `compress`."""
        latents = self._entropy_model.decompress(string[tf.newaxis], latents_shape)
        pixels = self._model.synthesis(latents)[0, : shape[0], : shape[1]]
        return tf.saturate_cast(tf.round(pixels), tf.uint8)


def _assign(transform, weights, kernel_axes):
    """Gives the layers of a `Sequential` the weights of a `rate_point.Transform`."""
    layers = [layer for layer in transform.layers if isinstance(layer, tfc.SignalConv2D)]
    for stage, layer in enumerate(layers):
        fresh = tfc.RDFTParameter(weights.kernels[stage].transpose(kernel_axes))
        layer.kernel_parameter.real.assign(fresh.real)
        layer.kernel_parameter.imag.assign(fresh.imag)
        if layer.use_bias:
            layer.bias_parameter.assign(weights.biases[stage])
    # Those behind a convolution are its activation, one at the latents of the synthesis stands alone.
    gdns = [getattr(layer, "activation", layer) for layer in transform.layers]
    gdns = [layer for layer in gdns if isinstance(layer, tfc.GDN)]
    for gdn, beta, gamma in zip(gdns, weights.betas, weights.gammas):
        for parameter, value in ((gdn.beta_parameter, beta), (gdn.gamma_parameter, gamma)):
            fresh = tfc.GDNParameter(value, minimum=parameter.minimum, offset=parameter.offset)
            parameter.variable.assign(fresh.variable)


def single_density(parameters):
    """One density a channel, as tfc's coder takes it, of a prior: all classes together where some compete."""
    prior = prior_of(parameters)
    if not isinstance(prior, CompetingPrior):
        return prior
    distributions = tfp.distributions
    share = tf.tile(prior.share[tf.newaxis], [prior.num_latents, 1])
    # Narrower ones all say the same, and are too narrow for tfc's search for their tails.
    scale = tf.exp(tf.maximum(prior.log_scale, -3.0))
    return tfc.NoisyMixtureSameFamily(
        distributions.Categorical(probs=share / tf.reduce_sum(share, 1, keepdims=True)),
        distributions.Logistic(tf.transpose(prior.loc), tf.transpose(scale)),
    )
