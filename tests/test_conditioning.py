"""The units of GDN's inputs: what is exact, and what is asked for."""

import numpy as np
import pytest
import tensorflow as tf

from balle2017.model.objective import RateDistortionModel
from balle2017.model.transforms import TRACE_OF_GAMMA, analysis_operations, analyze, synthesis_operations, synthesize
from balle2017.training import conditioning
from helpers.pictures import photograph
from helpers.rate_points import random_rate_point

CROPS = np.stack([photograph(64, 80), photograph(64, 80)[::-1]])


def drifted(at_latents=False):
    """A rate point whose inner units lie orders of magnitude apart, with or without a GDN at the latents."""
    rate_point = random_rate_point()
    if at_latents:
        conditioning.add_gdn_at_latents(rate_point.analysis, rate_point.synthesis)
    random = np.random.default_rng(0)
    for weights in (rate_point.analysis, rate_point.synthesis):
        for gamma in weights.gammas:
            gamma *= random.choice([1e-6, 1.0, 1e2], gamma.shape).astype(np.float32)
    return rate_point


def codes(analysis, synthesis, rate_point):
    exponents = rate_point.gdn_alpha, rate_point.gdn_epsilon
    latents = analyze(tf.cast(CROPS, tf.float32), analysis, *exponents)
    return latents, synthesize(tf.round(latents), synthesis, *exponents)


@pytest.mark.parametrize("at_latents", [False, True])
def test_transforms_stay_the_same_functions(at_latents):
    rate_point = drifted(at_latents)
    before = codes(rate_point.analysis, rate_point.synthesis, rate_point)
    analysis, synthesis = conditioning.conditioned(rate_point, CROPS)
    for old, new in zip(before, codes(analysis, synthesis, rate_point)):
        assert np.abs(new - old).max() < 2e-3 * np.abs(old).max()


def test_inputs_have_power_1_and_pools_mean_1():
    rate_point = drifted()
    exponents = rate_point.gdn_alpha, rate_point.gdn_epsilon
    analysis, synthesis = conditioning.conditioned(rate_point, CROPS)
    latents = tf.round(analyze(tf.cast(CROPS, tf.float32), analysis, *exponents))
    for weights, operations_of, x in (
        (analysis, analysis_operations, tf.cast(CROPS, tf.float32)),
        (synthesis, synthesis_operations, latents),
    ):
        operations = list(operations_of(weights, *exponents))
        for i in range(2):
            v = operations[2 * i].function(x)
            power = tf.reshape(tf.square(v), [-1, v.shape[3]])
            np.testing.assert_allclose(tf.reduce_mean(power, 0), 1, rtol=1e-3)
            pools = tf.reduce_mean(power @ weights.gammas[i], 0) + weights.betas[i]
            np.testing.assert_allclose(pools, 1, rtol=1e-3)
            x = operations[2 * i + 1].function(v)


def test_a_share_makes_all_filters_count_and_keeps_powers():
    rate_point = drifted()
    analysis, synthesis = conditioning.conditioned(rate_point, CROPS, share=0.1)
    for gamma in analysis.gammas + synthesis.gammas:
        assert gamma.min() >= np.float32(0.1 / len(gamma))
    before = codes(rate_point.analysis, rate_point.synthesis, rate_point)
    after = codes(analysis, synthesis, rate_point)
    for old, new in zip(before, after):
        assert 0.5 < np.std(new) / np.std(old) < 2


def test_finer_steps_are_the_same_transforms():
    rate_point = drifted(at_latents=True)
    rate_point.analysis.gammas[-1][:], rate_point.synthesis.gammas[0][:] = 0.01, 0.02
    exponents = rate_point.gdn_alpha, rate_point.gdn_epsilon
    pixels = tf.cast(CROPS, tf.float32)
    latents = analyze(pixels, rate_point.analysis, *exponents)
    before = synthesize(latents, rate_point.synthesis, *exponents)
    conditioning.rescale_latents(rate_point, 3.0)
    finer = analyze(pixels, rate_point.analysis, *exponents)
    after = synthesize(finer, rate_point.synthesis, *exponents)
    for old, new in ((3 * latents, finer), (before, after)):
        assert np.abs(new - old).max() < 1e-4 * np.abs(old).max()


def test_a_gdn_at_the_latents_begins_as_the_identity_and_learns():
    rate_point = random_rate_point()
    before = codes(rate_point.analysis, rate_point.synthesis, rate_point)
    power = float(tf.reduce_mean(tf.reduce_sum(tf.square(before[0]), -1)))
    conditioning.add_gdn_at_latents(rate_point.analysis, rate_point.synthesis, power)
    after = codes(rate_point.analysis, rate_point.synthesis, rate_point)
    for old, new in zip(before, after):
        assert np.abs(new - old).max() < 5e-3 * np.abs(old).max()
    tf.keras.utils.set_random_seed(0)
    model = RateDistortionModel(0.01, 8, num_latents=12, num_classes=4)
    model.analysis.set_plain_weights(rate_point.analysis, power)
    model.synthesis.set_plain_weights(rate_point.synthesis, power)
    start = [model.analysis.plain_weights().gammas[-1], model.synthesis.plain_weights().gammas[0]]
    model.compile(optimizer=tf.keras.optimizers.Adam(1e-2))
    for _ in range(30):
        model.train_step(tf.constant(CROPS))
    moved = [model.analysis.plain_weights().gammas[-1], model.synthesis.plain_weights().gammas[0]]
    for old, new in zip(start, moved):
        np.testing.assert_allclose(old, TRACE_OF_GAMMA / power, rtol=1e-2)
        assert np.max(new) > 10 * np.max(old)
