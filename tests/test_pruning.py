"""Channels that died in training do not ship, and what ships is the same."""

import numpy as np
import pytest
import tensorflow as tf

from balle2017.model.transforms import analyze, synthesize
from balle2017.training import conditioning, pruning
from helpers.pictures import photograph
from helpers.rate_points import random_rate_point

PICTURE = photograph(64, 80)
DEAD = [1, 4]


@pytest.mark.parametrize("at_latents", [False, True])
def test_without_dead_channels_a_rate_point_is_the_same(at_latents):
    rate_point = random_rate_point()
    if at_latents:
        conditioning.add_gdn_at_latents(rate_point.analysis, rate_point.synthesis)
        rate_point.analysis.gammas[-1][:] = 1e-4
    exponents = rate_point.gdn_alpha, rate_point.gdn_epsilon
    rate_point.analysis.kernels[-1][..., DEAD] *= 1e-3
    rate_point.analysis.biases[-1][DEAD] = 0
    alive = np.setdiff1d(np.arange(rate_point.num_latents), DEAD)
    parameters = {
        "loc": np.tile(np.arange(rate_point.num_latents, dtype=np.float32), [2, 1]),
        "share": np.full([2], 0.5, np.float32),
    }
    x = tf.cast(PICTURE[None], tf.float32)
    latents = analyze(x, rate_point.analysis, *exponents).numpy()
    assert all(np.any(np.round(latents[..., k]) != 0) == (k in alive) for k in range(rate_point.num_latents))
    before = synthesize(tf.round(latents), rate_point.synthesis, *exponents).numpy()

    kept = pruning.alive([np.round(latents[0])])
    analysis, synthesis, prior = pruning.without_dead_latents(
        rate_point.analysis, rate_point.synthesis, parameters, kept, exponents, [("one", PICTURE)]
    )
    fewer = analyze(x, analysis, *exponents).numpy()
    assert fewer.shape[-1] == len(alive)
    np.testing.assert_allclose(fewer, latents[..., alive], rtol=1e-3, atol=1e-3)
    after = synthesize(tf.round(latents[..., alive]), synthesis, *exponents).numpy()
    np.testing.assert_allclose(after, before, atol=1e-2)
    np.testing.assert_array_equal(prior["loc"], [alive, alive])
    assert len(prior["share"]) == 2


def test_a_point_that_says_nothing_keeps_one_channel():
    assert list(pruning.alive([np.zeros([2, 3, 4], np.int16)])) == [True, False, False, False]
