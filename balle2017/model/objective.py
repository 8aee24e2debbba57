"""The rate–distortion model (paper: "Optimization of nonlinear transform coding model", the relaxed objective).

    L = E[ -log2 p(ỹ) ] / pixels  +  λ · E[ d(x, x̂) ],    ỹ = g_a(x) + u,   x̂ = g_s(ỹ)

with u uniform on [-½, ½) standing in for rounding while training.
"""

import tensorflow as tf
import tensorflow_compression as tfc

from balle2017.model import ms_ssim
from balle2017.model.competing_prior import CompetingPrior
from balle2017.model.ms_ssim_scales import MIN_SIDE
from balle2017.model.network import STRIDE
from balle2017.model.prior import FactorizedPrior
from balle2017.model.transforms import AnalysisTransform, SynthesisTransform

DISTORTIONS = ("mse", "ms_ssim")
# MS-SSIM hardly weighs the mean of a channel, and colours of what is trained for it drift. This weight, per squared
# level, of the error of the means of 16×16 pixels keeps them; it is some hundredths of the loss.
_WEIGHT_OF_MEANS = 5e-4
RELAXATIONS = ("noise", "mixed")
PRIORS = ("competing", "factorized")


def distortion_per_image(original, reconstruction, kind):
    """Distortion of each image.

    Args:
      original, reconstruction: `[batch, height, width, channels]`, 0–255.
      kind: `mse` (squared levels) or `ms_ssim` (1 − MS-SSIM; needs at least 161×161 pixels).

    Returns:
      float32 `[batch]`.
    """
    if kind == "mse":
        return tf.reduce_mean(tf.math.squared_difference(original, reconstruction), axis=[1, 2, 3])
    return 1.0 - ms_ssim.ms_ssim(original, reconstruction)


def bottleneck_of(prior):
    """What makes of latents `[batch, h, w, M]` noisy or rounded ones, and their bits, under a prior of either kind."""
    if isinstance(prior, CompetingPrior):
        return prior
    # Latents are rounded to integers: an offset of the grid would be absorbed by the last bias.
    return tfc.ContinuousBatchedEntropyModel(prior, coding_rank=3, compression=False, offset_heuristic=False)


class RateDistortionModel(tf.keras.Model):
    """Transforms and prior, optimized jointly for rate + λ · distortion.

    `compile` with an optimizer and `fit` on batches of uint8 images
    `[batch, height, width, channels]` whose sides are multiples of 16.
    Training uses additive uniform noise, validation true rounding.
    Metrics: `loss`, `bpp` (bits per pixel), `distortion`, `psnr` (dB), and in validation on
    images of at least 161×161 pixels `ms_ssim`.

    Attributes:
      lmbda: λ, weight of the distortion, in bits per pixel per unit of distortion.
      distortion: `mse` or `ms_ssim`.
      ms_ssim_weight: With `mse`, what one unit of 1 − MS-SSIM adds to the distortion in training, in squared levels.
      relaxation: What stands in for rounding in training: `noise` in both terms (the paper), or
        `mixed`, noise in the rate and true rounding in the distortion, whose gradient passes
        straight through it (Minnen & Singh 2020, section 3.2).
      analysis, synthesis: The transforms' layers.
      prior: The density model of the noisy latents: `competing`, a `CompetingPrior` of `num_classes`,
        or `factorized`, one density a channel as in the paper, where the network of Ballé et al.
        2018 (appendix 6.1) replaces the piecewise linear one.
      bottleneck: What makes of latents noisy or rounded ones, and their bits.
    """

    def __init__(
        self,
        lmbda,
        num_filters=128,
        channels=3,
        gdn_alpha=2,
        gdn_epsilon=0.5,
        distortion="mse",
        convolution_dtype="float32",
        relaxation="noise",
        num_latents=None,
        num_gdns=3,
        prior="competing",
        num_classes=16,
        ms_ssim_weight=0.0,
    ):
        super().__init__()
        if distortion not in DISTORTIONS:
            raise ValueError(f"distortion is one of {DISTORTIONS}, not {distortion!r}")
        if relaxation not in RELAXATIONS:
            raise ValueError(f"relaxation is one of {RELAXATIONS}, not {relaxation!r}")
        if prior not in PRIORS:
            raise ValueError(f"prior is one of {PRIORS}, not {prior!r}")
        if ms_ssim_weight and distortion != "mse":
            raise ValueError(f"ms_ssim_weight is for the distortion mse, not {distortion}")
        self.lmbda = lmbda
        self.distortion = distortion
        self.ms_ssim_weight = ms_ssim_weight
        self.relaxation = relaxation
        num_latents = num_latents or num_filters
        settings = (num_filters, num_latents, channels, gdn_alpha, gdn_epsilon, convolution_dtype, num_gdns)
        self.analysis = AnalysisTransform(*settings, name="analysis")
        self.synthesis = SynthesisTransform(*settings, name="synthesis")
        self.analysis.build([None, None, None, channels])
        self.synthesis.build([None, None, None, num_latents])
        if prior == "competing":
            self.prior = CompetingPrior(num_classes, num_latents)
        else:
            self.prior = FactorizedPrior(batch_shape=[num_latents])
        self.bottleneck = bottleneck_of(self.prior)
        # Each replica already returns the mean over all of them; Keras would add these up.
        self.distribute_reduction_method = "first"
        self._ms_ssim = tf.keras.metrics.Mean("ms_ssim")
        self._trackers = [tf.keras.metrics.Mean(name) for name in ("loss", "bpp", "distortion", "psnr")]
        self.built = True

    def call(self, images, training=False):
        """Codes a batch: relaxed latents in training, rounded ones otherwise.

        Args:
          images: uint8 or float `[batch, height, width, channels]`, 0–255.
          training: Whether noise stands in for rounding.

        Returns:
          `(reconstruction, bits)`: float32 `[batch, height, width, channels]`, 0–255, not
          clipped, and the rate in bits of each image, float32 `[batch]`.
        """
        latents = self.analysis(tf.cast(images, tf.float32))
        quantized, bits = self.bottleneck(latents, training=training)
        if training and self.relaxation == "mixed":
            quantized = latents + tf.stop_gradient(tf.round(latents) - latents)
        return self.synthesis(quantized), bits

    def losses_of(self, images, training):
        """The terms of the objective, each averaged over the batch.

        Args:
          images: uint8 or float `[batch, height, width, channels]`, 0–255.
          training: Whether noise stands in for rounding.

        Returns:
          `(loss, bpp, distortion, psnr)` scalars; PSNR in dB from clipped, and outside of
          training rounded, pixels. In training the distortion is `training_distortion`.
        """
        images = tf.cast(images, tf.float32)
        return self._terms(images, *self(images, training=training), training)

    def _terms(self, images, reconstruction, bits, training):
        pixels = tf.cast(tf.shape(images)[1] * tf.shape(images)[2], tf.float32)
        clipped = tf.clip_by_value(reconstruction, 0.0, 255.0)
        if not training:
            reconstruction = clipped = tf.round(clipped)
        bpp = tf.reduce_mean(bits) / pixels
        if training:
            distortion = self.training_distortion(images, reconstruction)
        else:
            distortion = tf.reduce_mean(distortion_per_image(images, reconstruction, self.distortion))
        psnr = tf.reduce_mean(tf.image.psnr(images, clipped, max_val=255.0))
        return bpp + self.lmbda * distortion, bpp, distortion, psnr

    def training_distortion(self, images, reconstruction):
        """The distortion that training lowers, a scalar: with terms that keep what it alone lets go."""
        distortion = tf.reduce_mean(distortion_per_image(images, reconstruction, self.distortion))
        if self.distortion == "ms_ssim":
            means = tf.nn.avg_pool2d(images - reconstruction, STRIDE, STRIDE, "VALID")
            distortion += _WEIGHT_OF_MEANS * tf.reduce_mean(tf.square(means))
        elif self.ms_ssim_weight:
            distortion += self.ms_ssim_weight * tf.reduce_mean(distortion_per_image(images, reconstruction, "ms_ssim"))
        return distortion

    @property
    def kernels(self):
        """The variables of all kernels, each `[rows, taps, columns]`."""
        return [*self.analysis.kernels, *self.synthesis.kernels]

    @property
    def metrics(self):
        return [*self._trackers, self._ms_ssim]

    def _track(self, values):
        for tracker, value in zip(self._trackers, values):
            tracker.update_state(value)
        return {tracker.name: tracker.result() for tracker in self._trackers}

    def train_step(self, images):
        with tf.GradientTape() as tape:
            values = self.losses_of(images, training=True)
            # Gradients are summed over replicas, whose losses are means over their share.
            replicas = tf.distribute.get_strategy().num_replicas_in_sync
            loss = values[0] / replicas
        self.optimizer.minimize(loss, self.trainable_variables, tape=tape)
        return self._track(values)

    def test_step(self, images):
        images = tf.cast(images, tf.float32)
        reconstruction, bits = self(images, training=False)
        results = self._track(self._terms(images, reconstruction, bits, training=False))
        if min(images.shape[1] or 0, images.shape[2] or 0) >= MIN_SIDE:
            clipped = tf.round(tf.clip_by_value(reconstruction, 0.0, 255.0))
            self._ms_ssim.update_state(ms_ssim.ms_ssim(images, clipped))
            results["ms_ssim"] = self._ms_ssim.result()
        return results
