"""The reference formulation: the network as tfc's published example composes it, with tfc's defaults.

`tfc.SignalConv2D` with its Fourier-parameterized kernels, `tfc.GDN`, float32, and for coding one
`tfc.ContinuousBatchedEntropyModel` whose `compress` makes a single string of each image.
"""

import tensorflow as tf
import tensorflow_compression as tfc


def _stage(filters, size, stride, up, bias, activation):
    strides = dict(strides_up=stride) if up else dict(strides_down=stride)
    return tfc.SignalConv2D(
        filters, (size, size), corr=not up, padding="same_zeros", use_bias=bias, activation=activation, **strides
    )


class ReferenceModel(tf.keras.Model):
    """Trains on float or uint8 batches `[batch, height, width, 3]`, as `balle2017.model` does.

    Attributes:
      analysis, synthesis: `tf.keras.Sequential`s of the three stages.
      prior: `tfc.NoisyDeepFactorized`.
    """

    def __init__(self, lmbda, num_filters=128):
        super().__init__()
        self.lmbda = lmbda
        n = num_filters
        self.analysis = tf.keras.Sequential(
            [
                tf.keras.layers.Rescaling(1 / 255),
                _stage(n, 9, 4, False, True, tfc.GDN()),
                _stage(n, 5, 2, False, True, tfc.GDN()),
                _stage(n, 5, 2, False, False, None),
            ]
        )
        self.synthesis = tf.keras.Sequential(
            [
                _stage(n, 5, 2, True, True, tfc.GDN(inverse=True)),
                _stage(n, 5, 2, True, True, tfc.GDN(inverse=True)),
                _stage(3, 9, 4, True, True, None),
                tf.keras.layers.Rescaling(255.0),
            ]
        )
        self.prior = tfc.NoisyDeepFactorized(batch_shape=(n,))
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
