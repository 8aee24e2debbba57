"""The units of GDN's inputs: what is exact, and what is asked for."""

import numpy as np
import tensorflow as tf

from balle2017.model.transforms import analysis_stages, analyze, synthesis_stages, synthesize
from balle2017.training import conditioning
from conftest import random_rate_point
from test_codec import photograph

CROPS = np.stack([photograph(64, 80), photograph(64, 80)[::-1]])


def drifted():
    """A rate point whose inner units lie orders of magnitude apart."""
    rate_point = random_rate_point()
    random = np.random.default_rng(0)
    for weights in (rate_point.analysis, rate_point.synthesis):
        for gamma in weights.gammas:
            gamma *= random.choice([1e-6, 1.0, 1e2], gamma.shape).astype(np.float32)
    return rate_point


def codes(analysis, synthesis, rate_point):
    exponents = rate_point.gdn_alpha, rate_point.gdn_epsilon
    latents = analyze(tf.cast(CROPS, tf.float32), analysis, *exponents)
    return latents, synthesize(tf.round(latents), synthesis, *exponents)


def test_transforms_stay_the_same_functions():
    rate_point = drifted()
    before = codes(rate_point.analysis, rate_point.synthesis, rate_point)
    analysis, synthesis = conditioning.conditioned(rate_point, CROPS)
    for old, new in zip(before, codes(analysis, synthesis, rate_point)):
        assert np.abs(new - old).max() < 2e-3 * np.abs(old).max()


def test_inputs_have_power_1_and_pools_mean_1():
    rate_point = drifted()
    exponents = rate_point.gdn_alpha, rate_point.gdn_epsilon
    analysis, synthesis = conditioning.conditioned(rate_point, CROPS)
    latents = tf.round(analyze(tf.cast(CROPS, tf.float32), analysis, *exponents))
    for weights, stages, x in (
        (analysis, analysis_stages, tf.cast(CROPS, tf.float32)),
        (synthesis, synthesis_stages, latents),
    ):
        stages = list(stages(weights, *exponents))
        for i in range(2):
            v = stages[2 * i].function(x)
            power = tf.reshape(tf.square(v), [-1, v.shape[3]])
            np.testing.assert_allclose(tf.reduce_mean(power, 0), 1, rtol=1e-3)
            pools = tf.reduce_mean(power @ weights.gammas[i], 0) + weights.betas[i]
            np.testing.assert_allclose(pools, 1, rtol=1e-3)
            x = stages[2 * i + 1].function(v)


def test_a_share_makes_all_filters_count_and_keeps_powers():
    rate_point = drifted()
    analysis, synthesis = conditioning.conditioned(rate_point, CROPS, share=0.1)
    for gamma in analysis.gammas + synthesis.gammas:
        assert gamma.min() >= np.float32(0.1 / len(gamma))
    before = codes(rate_point.analysis, rate_point.synthesis, rate_point)
    after = codes(analysis, synthesis, rate_point)
    for old, new in zip(before, after):
        assert 0.5 < np.std(new) / np.std(old) < 2
