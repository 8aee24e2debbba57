"""Densities that compete: their rate is that of the coding tables."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_compression as tfc

from balle2017.entropy.coder import Coder
from balle2017.entropy.competition import competing_tables
from balle2017.entropy.fitting import coding_tables, latent_histogram
from balle2017.entropy.tables import table_bits
from balle2017.model.competing_prior import CompetingPrior, log_likelihood, prior_of
from balle2017.model.prior import FactorizedPrior, prior_parameters
from balle2017.model.transforms import analyze
from balle2017.training import klt
from balle2017.training.photographs import find_files, hold_out, load_images
from balle2017.training.settings import EXAMPLE_IMAGES

M, K = 48, 8


def test_density_is_a_logistic_one_with_uniform_noise():
    y = np.linspace(-30, 30, 200, dtype=np.float32)[:, None]
    loc, scale = np.float32([0.3, -4.0, 9.0]), np.float32([0.05, 1.0, 6.0])
    expected = tfc.NoisyLogistic(loc=loc, scale=scale).log_prob(y)
    np.testing.assert_allclose(log_likelihood(y, loc, np.log(scale)), np.maximum(expected, np.log(1e-9)), atol=1e-2)


def test_all_classes_together_are_a_density():
    prior = CompetingPrior(5, 2)
    prior.loc.assign(np.random.default_rng(0).normal(scale=3, size=[5, 2]))
    y = tf.tile(tf.range(-300.0, 301.0)[:, None], [1, 2])
    np.testing.assert_allclose(np.sum(np.exp(prior.log_prob(y)), 0), 1, rtol=1e-4)


@pytest.mark.parametrize("prior", [CompetingPrior(3, 4), FactorizedPrior(batch_shape=[4])])
def test_a_prior_is_found_by_its_parameters(prior):
    again = prior_of(prior_parameters(prior))
    assert type(again) is type(prior)
    y = tf.random.normal([5, 4])
    np.testing.assert_array_equal(prior.log_prob(y), again.log_prob(y))


def test_each_position_goes_to_the_class_that_takes_the_fewest_bits():
    """With classes that say nothing of their neighbours."""
    prior = CompetingPrior(3, 2)
    latents = np.round(np.random.default_rng(1).normal(scale=4, size=[2, 4, 5, 2])).astype(np.float32)
    values = latents[..., None, :]
    each = -np.sum(log_likelihood(values, prior.loc, prior.log_scale), -1) / np.log(2) + np.log2(3)
    np.testing.assert_array_equal(prior.choose(latents), np.argmin(each, -1))
    np.testing.assert_allclose(prior(latents, training=False)[1], each.min(-1).sum((1, 2)), rtol=1e-5)


def test_classes_are_counted_as_they_follow_each_other():
    prior = CompetingPrior(2, 1)
    prior.log_scale.assign([[-4.0], [2.0]])
    # From left to right a flat half, and a busy one.
    latents = np.zeros([3, 4, 8, 1], np.float32)
    latents[:, :, 4:] = np.random.default_rng(2).choice([-9, 9], [3, 4, 4, 1])
    untaught = prior(latents, training=False)[1]
    for _ in range(600):
        prior(latents, training=True)
    np.testing.assert_array_equal(prior.choose(latents)[0, 0], [0, 0, 0, 0, 1, 1, 1, 1])
    np.testing.assert_allclose(prior.share, [0.5, 0.5], atol=0.01)
    np.testing.assert_allclose(prior.pairs, np.array([[3, 1], [0, 3]]) / 7, atol=0.01)
    # 8 bits of classes a row before; now 1 for the first, and what three of four say that stay as they are.
    saved = (untaught - prior(latents, training=False)[1]) / 4
    np.testing.assert_allclose(saved, 8 - (1 + 3 * np.log2(4 / 3) + 2), atol=0.5)


def test_a_class_that_is_not_taken_stays_affordable():
    prior = CompetingPrior(4, 1)
    flat = np.zeros([1, 8, 8, 1], np.float32)
    prior.share.assign([1.0, 0.0, 0.0, 0.0])
    prior.pairs.assign(np.diag([1.0, 0.0, 0.0, 0.0]))
    assert np.all(prior.choose(flat) == 0)
    costs = np.concatenate([np.ravel(bits) for bits in prior._costs()])
    assert costs.max() < 7 and costs.min() < 0.1


@pytest.fixture(scope="module")
def latents():
    """Unquantized latents of whole photographs under a transform code: to train on, and held out."""
    training, held_out = hold_out(load_images(find_files([EXAMPLE_IMAGES]), 3, 128), 0.25)
    patches = [p[y : y + 64, x : x + 64] for _, p in training for y in range(0, 256, 64) for x in range(0, 256, 64)]
    analysis, _ = klt.linear_transform_code(np.stack(patches), 0.02, M)
    result = []
    for images in (training, held_out):
        cut = (p[None, : p.shape[0] // 16 * 16, : p.shape[1] // 16 * 16] for _, p in images)
        result.append([analyze(tf.cast(p, tf.float32), analysis, 2, 0.5)[0].numpy() for p in cut])
    return result


def test_the_rate_is_what_tables_then_spend_on_photographs_held_out(latents):
    training, held_out = latents
    rounded = [np.round(y).astype(np.int16) for y in training]
    histogram = latent_histogram(rounded, M)
    prior = CompetingPrior(K, M)
    prior.set_from_tables(competing_tables(coding_tables(None, histogram), rounded, K))
    positions = np.concatenate([y.reshape(-1, M) for y in training])
    optimizer, variables = tf.keras.optimizers.Adam(2e-2), prior.trainable_variables
    optimizer.build(variables)

    @tf.function
    def step(y):
        with tf.GradientTape() as tape:
            bits = tf.reduce_sum(prior(y, training=True)[1])
        optimizer.apply_gradients(zip(tape.gradient(bits, variables), variables))

    random = np.random.default_rng(0)
    for _ in range(120):
        step(positions[random.integers(0, len(positions), 1024)].reshape(1, 32, 32, M))
    tables = competing_tables(coding_tables(prior, histogram), rounded, K)
    objective = spent = 0.0
    for y in held_out:
        flat = np.round(y.reshape(-1, M)).astype(np.int32)
        objective += float(prior(y[None], training=False)[1][0])
        spent += table_bits(tables, flat, Coder(tables).choose_classes(flat, np.int32([len(flat)]))[0].numpy())
    assert objective == pytest.approx(spent, rel=0.02)
