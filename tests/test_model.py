"""The objective, its optimizer and its starting point."""

import os

import numpy as np
import pytest
import tensorflow as tf

from balle2017.model import ms_ssim
from balle2017.model.objective import RateDistortionModel
from balle2017.training import klt
from balle2017.training.loop import FineTuning
from balle2017.training.photographs import CropSource, load_images
from balle2017.training.settings import EXAMPLE_IMAGES
from balle2017.training.soap import SOAP


@pytest.fixture(scope="module")
def crops():
    files = sorted(os.path.join(EXAMPLE_IMAGES, f) for f in os.listdir(EXAMPLE_IMAGES) if f.endswith(".jpg"))
    return list(CropSource(load_images(files, 3, 128)).batches(64, 16, 0.6, seed=0).take(8))


def test_loss_is_rate_plus_lambda_times_distortion(crops):
    tf.keras.utils.set_random_seed(0)
    model = RateDistortionModel(0.01, num_filters=8)
    loss, bpp, mse, _ = model.losses_of(crops[0], training=False)
    assert float(loss) == pytest.approx(float(bpp) + 0.01 * float(mse), rel=1e-6)
    reconstruction, bits = model(crops[0], training=False)
    assert float(bpp) == pytest.approx(float(tf.reduce_mean(bits)) / 64**2, rel=1e-6)
    rounded = np.clip(np.round(reconstruction), 0, 255)
    assert float(mse) == pytest.approx(np.mean((rounded - crops[0].numpy().astype(float)) ** 2), rel=1e-4)


def test_validation_rounds_and_training_does_not(crops):
    model = RateDistortionModel(0.01, num_filters=8)
    repeated = [model.losses_of(crops[0], training=False)[0] for _ in range(2)]
    noisy = [model.losses_of(crops[0], training=True)[0] for _ in range(2)]
    assert repeated[0] == repeated[1]
    assert noisy[0] != noisy[1]


def test_training_for_ms_ssim_minds_the_means_of_channels():
    model = RateDistortionModel(10.0, num_filters=8, distortion="ms_ssim")
    images = tf.cast(np.random.default_rng(0).integers(20, 236, [1, 176, 176, 3]), tf.float32)
    redder, bits = images + [6.0, 0.0, 0.0], tf.zeros([1])
    _, _, trained, _ = model._terms(images, redder, bits, training=True)
    _, _, measured, _ = model._terms(images, redder, bits, training=False)
    assert float(measured) < 0.001
    assert float(trained - measured) == pytest.approx(5e-4 * 6**2 / 3, rel=0.01)


def test_some_weight_of_ms_ssim_counts_in_training_alone():
    models = [RateDistortionModel(0.01, num_filters=8, ms_ssim_weight=weight) for weight in (0.0, 250.0)]
    images = tf.cast(np.random.default_rng(0).integers(20, 236, [1, 176, 176, 3]), tf.float32)
    smooth, bits = tf.nn.avg_pool2d(images, 3, 1, "SAME"), tf.zeros([1])
    plain, weighed = (float(model._terms(images, smooth, bits, training=True)[2]) for model in models)
    measured = [float(model._terms(images, smooth, bits, training=False)[2]) for model in models]
    assert weighed - plain == pytest.approx(250 * (1 - float(ms_ssim.ms_ssim(images, smooth)[0])), rel=1e-3)
    assert measured[0] == measured[1]


def test_ms_ssim_as_distortion():
    model = RateDistortionModel(10.0, num_filters=8, distortion="ms_ssim")
    images = tf.cast(tf.random.uniform([1, 176, 176, 3], 0, 255), tf.uint8)
    assert 0 <= float(model.losses_of(images, training=False)[2]) <= 1


def test_unknown_distortion_is_refused():
    with pytest.raises(ValueError, match="distortion is one of"):
        RateDistortionModel(0.01, num_filters=8, distortion="vmaf")


def test_weight_of_ms_ssim_beside_itself_is_refused():
    with pytest.raises(ValueError, match="ms_ssim_weight is for the distortion mse"):
        RateDistortionModel(0.01, num_filters=8, distortion="ms_ssim", ms_ssim_weight=250.0)


def test_fine_tuning_lowers_the_distortion_of_training():
    tf.keras.utils.set_random_seed(0)
    model = RateDistortionModel(0.01, num_filters=8, ms_ssim_weight=250.0)
    images = tf.image.resize(tf.random.uniform([1, 11, 11, 3], 0, 255), [176, 176])
    latents = tf.round(model.analysis(images))

    def distortion():
        return float(model.training_distortion(images, model.synthesis(latents)))

    tuning, before = FineTuning(model), distortion()
    tuning.compile(optimizer=tf.keras.optimizers.Adam(1e-2))
    # What it says is of the weights before the step.
    assert float(tuning.train_step(images)["distortion"]) == pytest.approx(before, rel=1e-4)
    for _ in range(9):
        tuning.train_step(images)
    assert distortion() < before
    np.testing.assert_array_equal(tf.round(model.analysis(images)), latents)


def test_linear_transform_code_is_a_codec_before_any_training(crops):
    patches = np.concatenate(crops)
    analysis, synthesis = klt.linear_transform_code(patches, lmbda=0.05, num_filters=64)
    model = RateDistortionModel(0.05, num_filters=64)
    model.analysis.set_plain_weights(analysis)
    model.synthesis.set_plain_weights(synthesis)
    _, _, _, psnr = model.losses_of(crops[0], training=False)
    assert float(psnr) > 24


def test_linear_transform_code_needs_enough_filters(crops):
    with pytest.raises(ValueError, match="at least 48 filters"):
        klt.linear_transform_code(crops[0].numpy(), 0.01, 32)


def quadratic_loss(optimizer_of, steps):
    """Minimizes ‖A X B − C‖² with ill-conditioned, rotated A and B; returns the last loss."""
    random = np.random.default_rng(0)

    def ill_conditioned():
        q, _ = np.linalg.qr(random.normal(size=[16, 16]))
        return tf.constant(q @ np.diag(np.geomspace(1, 0.05, 16)) @ q.T, tf.float32)

    a, b = ill_conditioned(), ill_conditioned()
    target = tf.constant(random.normal(size=[16, 16]), tf.float32)
    variable = tf.Variable(random.normal(size=[16, 1, 16]), dtype=tf.float32)
    optimizer = optimizer_of(variable)
    optimizer.build([variable])
    for _ in range(steps):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(a @ variable[:, 0] @ b - a @ target @ b))
        optimizer.apply_gradients([(tape.gradient(loss, variable), variable)])
    return float(loss)


def test_soap_beats_adam_on_rotated_curvature():
    soap = quadratic_loss(lambda variable: SOAP(0.05, [variable]), 200)
    assert soap < 0.5 * quadratic_loss(lambda variable: tf.keras.optimizers.Adam(0.05), 200)


def test_soap_rotates_only_what_it_is_told_are_kernels():
    kernel, other = tf.Variable(tf.ones([16, 1, 16])), tf.Variable(tf.ones([16, 1, 16]))
    optimizer = SOAP(0.05, [kernel])
    optimizer.build([kernel, other])
    assert [variable.shape for variable in optimizer.variables].count([16, 16]) == 4


def test_soap_is_restored_with_its_bases(tmp_path):
    def new():
        model = RateDistortionModel(0.01, num_filters=8)
        model.compile(optimizer=SOAP(1e-3, model.kernels))
        model.optimizer.build(model.trainable_variables)
        return model

    first, second = new(), new()
    images = tf.zeros([2, 32, 32, 3], tf.uint8)
    for _ in range(3):
        first.train_step(images)
    path = tf.train.Checkpoint(model=first, optimizer=first.optimizer).save(str(tmp_path / "c"))
    tf.train.Checkpoint(model=second, optimizer=second.optimizer).restore(path).assert_consumed()
    for a, b in zip(first.optimizer.variables, second.optimizer.variables):
        np.testing.assert_array_equal(a, b)
