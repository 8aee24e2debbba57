"""The prior: tfc's density, and coding tables that waste nothing."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_compression as tfc

from balle2017.prior import (
    FactorizedPrior,
    coding_tables,
    latent_histogram,
    prior_parameters,
    set_prior_parameters,
    table_bits,
)


@pytest.fixture(scope="module")
def prior():
    tf.keras.utils.set_random_seed(0)
    return FactorizedPrior(batch_shape=[4])


@pytest.fixture(scope="module")
def latents():
    """Rounded latents of four channels: wide, narrow, silent and constantly 3."""
    random = np.random.default_rng(0)
    values = random.laplace(scale=[4.0, 0.4, 1e-3, 1e-3], size=[50, 40, 40, 4]) + [0, 0, 0, 3]
    return np.round(values).astype(np.int32)


def test_density_is_tfcs(prior):
    y = np.random.default_rng(1).normal(scale=20, size=[500, 4]).astype(np.float32)
    np.testing.assert_allclose(prior.log_prob(y), tfc.NoisyDeepFactorized._log_prob(prior, y), atol=1e-3)


def test_parameters_round_trip(prior):
    other = FactorizedPrior(batch_shape=[4])
    set_prior_parameters(other, prior_parameters(prior))
    np.testing.assert_array_equal(prior.log_prob([[1.0, 2, 3, 4]]), other.log_prob([[1.0, 2, 3, 4]]))


def test_silent_channels_are_not_coded(prior, latents):
    tables = coding_tables(prior, latent_histogram(latents, 4))
    assert list(tables.active) == [0, 1]
    assert list(tables.constants[2:]) == [0, 3]


def test_tables_code_at_the_entropy(prior, latents):
    histogram = latent_histogram(latents, 4)
    tables = coding_tables(prior, histogram)
    frequency = histogram / histogram.sum(1, keepdims=True)
    logs = np.log2(np.where(frequency > 0, frequency, 1.0))
    entropy = -np.sum(histogram * logs)
    assert entropy <= table_bits(tables, histogram) <= 1.005 * entropy


def test_tables_are_well_formed(prior, latents):
    tables = coding_tables(prior, latent_histogram(latents, 4))
    for channel in tables.active:
        cdf = tables.cdfs[channel]
        assert cdf[0] == 0 and cdf[-1] == 2**16 and np.all(np.diff(cdf) > 0)
        values = latents[..., channel]
        assert tables.offsets[channel] <= values.min()
        assert values.max() < tables.offsets[channel] + len(cdf) - 2
