"""Where a training starts: the weights of the transforms, and a prior that fits their latents."""

import os

import numpy as np
import tensorflow as tf

from balle2017.entropy import competition, fitting
from balle2017.model.competing_prior import CompetingPrior, prior_of
from balle2017.model.objective import DISTORTIONS, bottleneck_of, distortion_per_image
from balle2017.model.prior import FactorizedPrior, prior_parameters, set_prior_parameters
from balle2017.model.transforms import analyze, synthesize
from balle2017.saved_model import reading
from balle2017.training import conditioning, klt
from balle2017.training.grayscale import grayscale
from balle2017.training.photographs import whole_blocks
from balle2017.training.settings import SettingsError

# Photographs whose latents the competing densities start from.
_PRIOR_PHOTOGRAPHS = 150
# A class that is taken less often than this part of its equal share is dead.
_ALIVE = 0.05
# Patches of which the linear transform code is made.
_KLT_PATCHES = 600


def initialize(model, settings, crops, training):
    """Sets the weights that training starts from.

    Args:
      model: `RateDistortionModel`, of any strategy.
      settings: `Settings`.
      crops: Dataset of batches, uint8 `[batch, size, size, channels]`.
      training: List of `(name, uint8 [height, width, channels])`.

    Returns:
      The runs that the exported point at the start came from, as its `model.json` lists them; `[]` without one.

    Raises:
      SettingsError: If the point at the start is another network.
      OSError, ValueError: If there is none.
    """
    start = None
    if settings.init_from:
        start = rate_point_to_start_from(settings, crops)
        analysis, synthesis = start.analysis, start.synthesis
    elif settings.start == "klt":
        analysis, synthesis = _linear_transform_code(settings, crops)
    else:
        return []
    power = conditioning.latents_power(analysis, settings.exponents, tf.concat(list(crops.take(3)), 0))
    model.analysis.set_plain_weights(analysis, power)
    model.synthesis.set_plain_weights(synthesis, power)
    prior = _prior(settings, analysis, crops, training, start)
    set_prior_parameters(model.prior, prior_parameters(prior))
    return ancestry(start) if start else []


def rounded_latents(analysis, exponents, images):
    """Yields the rounded latents `[h, w, num_latents]` of whole photographs, int16.

    Args:
      analysis: `weights.Transform`.
      exponents: α and ε of GDN.
      images: Iterable of `(name, uint8 [height, width, channels])`; cut to whole blocks.
    """
    rounded = tf.function(lambda pixels: tf.round(analyze(pixels, analysis, *exponents)), reduce_retracing=True)
    for _, pixels in images:
        yield tf.cast(rounded(tf.cast(whole_blocks(pixels)[None], tf.float32)), tf.int16)[0].numpy()


def ancestry(rate_point):
    """The runs that made an exported rate point, oldest first, as `model.json` lists them."""
    info = rate_point.info
    if "runs" in info:
        return info["runs"]
    # Exports from before runs were listed say a few things of the last one.
    kept = (
        "distortion", "relaxation", "prior", "objective", "optimizer", "learning_rate", "steps", "fine_tune_steps",
        "batch_size", "patch_size", "data", "init_from",
    )  # fmt: skip
    run = {"name": rate_point.name, "lambda": rate_point.lmbda}
    if {"steps", "batch_size", "patch_size"} <= set(info):
        steps = info["steps"] + info.get("fine_tune_steps", 0)
        run["gigapixels"] = round(steps * info["batch_size"] * info["patch_size"] ** 2 / 1e9, 3)
    return [{**run, "date": info.get("date"), "settings": {key: info[key] for key in kept if key in info}}]


def squared_error_per_ms_ssim(analysis, synthesis, exponents, pixels):
    """How much squared error goes with one unit of 1 − MS-SSIM, where the quantizer's steps change a little.

    λ of the one measure divided by it is λ of the other that weighs such a change alike.

    Args:
      analysis, synthesis: `weights.Transform`s.
      exponents: α and ε of GDN.
      pixels: float32 `[batch, height, width, channels]`, of at least 176×176.
    """
    latents = analyze(pixels, analysis, *exponents)
    errors = []
    for factor in (0.8, 1.25):
        made = tf.clip_by_value(synthesize(tf.round(latents * factor) / factor, synthesis, *exponents), 0.0, 255.0)
        errors.append([float(tf.reduce_mean(distortion_per_image(pixels, made, kind))) for kind in DISTORTIONS])
    (mse, ms_ssim), (mse_finer, ms_ssim_finer) = errors
    return max(mse - mse_finer, 1e-3) / max(ms_ssim - ms_ssim_finer, 1e-7)


def rate_point_to_start_from(settings, crops):
    """The exported rate point to start from, with weights in the units of this training."""
    start = reading.load_rate_point(settings.init_from)
    name = os.path.basename(os.path.normpath(settings.init_from))
    if settings.channels == 1 and start.channels > 1:
        start = grayscale(start)
    sizes = (start.num_filters, start.num_latents, start.channels)
    if sizes != (settings.num_filters, settings.latents, settings.channels):
        filters, latents, channels = sizes
        raise SettingsError(
            f"{name} has num_filters={filters}, num_latents={latents} and channels={channels}: give the same"
        )
    if (start.gdn_alpha, start.gdn_epsilon) != settings.exponents:
        raise SettingsError(f"{name} has other exponents of GDN than gdn={settings.gdn}")
    num_gdns = len(start.analysis.betas)
    if num_gdns > settings.num_gdns:
        raise SettingsError(f"{name} has {num_gdns} GDN: give num_gdns={num_gdns}")
    pixels = tf.cast(tf.concat(list(crops.take(3)), 0), tf.float32)
    if num_gdns < settings.num_gdns:
        power = conditioning.latents_power(start.analysis, settings.exponents, pixels)
        conditioning.add_gdn_at_latents(start.analysis, start.synthesis, power)
    lmbda = start.lmbda
    if start.info.get("distortion", "mse") != settings.distortion:
        rate = squared_error_per_ms_ssim(start.analysis, start.synthesis, settings.exponents, pixels)
        lmbda = lmbda * rate if settings.distortion == "ms_ssim" else lmbda / rate
        print(f"λ of {name} is worth {lmbda:.4g} in {settings.distortion}", flush=True)
    # The optimal step of a uniform quantizer falls with the root of λ.
    finer = (settings.lmbda / lmbda) ** 0.5
    conditioning.rescale_latents(start, finer)
    if "log_scale" in start.prior:
        start.prior["loc"] = start.prior["loc"] * np.float32(finer)
        start.prior["log_scale"] = start.prior["log_scale"] + np.float32(np.log(finer))
    start.analysis, start.synthesis = conditioning.conditioned(start, pixels, settings.gdn_share)
    return start


def _linear_transform_code(settings, crops):
    patches = np.concatenate([batch.numpy() for batch in crops.take(1 + _KLT_PATCHES // settings.batch_size)])
    lmbda = settings.lmbda

    def code(lmbda):
        return klt.linear_transform_code(
            patches, lmbda, settings.num_filters, settings.latents, settings.num_gdns, seed=settings.seed
        )

    if settings.distortion == "ms_ssim":
        # The λ of squared error at which the two measures weigh alike depends on the code itself.
        pixels, lmbda = patches[:32].astype(np.float32), 0.01
        for _ in range(3):
            lmbda = settings.lmbda / squared_error_per_ms_ssim(*code(lmbda), settings.exponents, pixels)
        print(f"λ is worth {lmbda:.4g} in squared error at the start", flush=True)
    return code(lmbda)


def _prior(settings, analysis, crops, training, start):
    """A prior that is fitted to the latents of the start."""
    trained = start.prior if start else {}
    if settings.prior == "competing":
        shape = (settings.num_classes, settings.latents)
        # Classes that died in the training before are begun anew, with all others.
        if np.shape(trained.get("log_scale")) == shape and np.min(trained["share"]) > _ALIVE / len(trained["share"]):
            return prior_of(trained)
        prior, learning_rate = CompetingPrior(*shape), 3e-3
        latents = list(rounded_latents(analysis, settings.exponents, training[:_PRIOR_PHOTOGRAPHS]))
        tables = fitting.coding_tables(None, fitting.latent_histogram(latents, settings.latents))
        if tables.active.size:
            prior.set_from_tables(competition.competing_tables(tables, latents, settings.num_classes))
    else:
        prior, learning_rate = FactorizedPrior(batch_shape=[settings.latents]), 2e-2
        if "bias_0" in trained:
            set_prior_parameters(prior, trained)
    images = tf.cast(tf.concat(list(crops.take(3)), 0), tf.float32)
    bpp = _fit(prior, analyze(images, analysis, *settings.exponents), learning_rate) / settings.patch_size**2
    print(f"starting point: {bpp:.3f} bpp after fitting the prior", flush=True)
    return prior


def _fit(prior, latents, learning_rate, steps=400):
    """Fits a prior alone, which joint training would take minutes for; returns the bits of each image."""
    bottleneck, variables = bottleneck_of(prior), prior.trainable_variables
    optimizer = tf.keras.optimizers.Adam(learning_rate)
    optimizer.build(variables)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            _, bits = bottleneck(latents, training=True)
            loss = tf.reduce_mean(bits)
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
        return loss

    for _ in range(steps):
        bits = step()
    return float(bits)
