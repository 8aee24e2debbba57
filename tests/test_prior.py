"""The prior: tfc's density, and coding tables that waste nothing."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_compression as tfc

from balle2017.entropy.coder import Coder
from balle2017.entropy.competition import competing_tables, merged_tables
from balle2017.entropy.fitting import coding_tables, latent_histogram
from balle2017.entropy.tables import table_bits
from balle2017.model.prior import FactorizedPrior, prior_parameters, set_prior_parameters


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
    assert entropy <= table_bits(tables, latents.reshape(-1, 4)) <= 1.005 * entropy


def is_distribution(cdf):
    return cdf[0] == 0 and cdf[-1] == 2**16 and np.all(np.diff(cdf) > 0)


@pytest.fixture(scope="module")
def pictures():
    """Latents of pictures that are flat on one side and busy on the other."""
    random = np.random.default_rng(2)
    scale = np.where(np.arange(24) < 12, 0.2, 5.0)[:, None] * [1.0, 0.5, 1e-3, 1e-3]
    return [np.round(random.laplace(scale=scale, size=[16, 24, 4]) + [0, 0, 0, 3]).astype(np.int16) for _ in range(40)]


@pytest.mark.parametrize("num_classes", [1, 2, 5])
def test_tables_are_well_formed(prior, pictures, num_classes):
    single = coding_tables(prior, latent_histogram(pictures, 4))
    tables = competing_tables(single, pictures, num_classes)
    assert tables.num_classes == num_classes
    assert list(tables.active) == [0, 1] and list(tables.constants[2:]) == [0, 3]
    for channel in tables.active:
        cdfs = tables.cdfs[channel]
        assert len(cdfs) == num_classes and all(is_distribution(cdf) for cdf in cdfs)
        values = np.concatenate([p[..., channel].ravel() for p in pictures])
        assert tables.offsets[channel] <= values.min()
        assert values.max() < tables.offsets[channel] + cdfs.shape[1] - 2
    if num_classes > 1:
        assert tables.class_cdfs.shape == (num_classes + 1, num_classes + 1)
        assert all(is_distribution(cdf) for cdf in tables.class_cdfs)


def test_competing_tables_take_fewer_bits_and_classes_follow_the_picture(prior, pictures):
    single = coding_tables(prior, latent_histogram(pictures, 4))
    tables = competing_tables(single, pictures, 2)
    latents = np.concatenate([p.reshape(-1, 4) for p in pictures]).astype(np.int32)
    classes, class_bits = Coder(tables).choose_classes(latents, np.full(40, 16 * 24, np.int32))
    busy = np.arange(len(latents)) % 24 >= 12
    assert np.mean(classes.numpy() == busy) > 0.95
    bits = table_bits(tables, latents, classes.numpy())
    assert bits < 0.9 * table_bits(single, latents)
    # All classes together are no worse than the tables that they were made from.
    assert bits < table_bits(merged_tables(tables), latents) <= 1.002 * table_bits(single, latents)
    # Two classes that stay as they are for twelve positions take next to nothing.
    assert 0 < np.sum(class_bits) < 0.7 * len(latents)


def test_classes_are_made_for_runs_of_positions(prior):
    """Two kinds of places that a single position hardly tells apart, each of twelve positions in a row."""
    random = np.random.default_rng(3)
    scale = np.where(np.arange(24) < 12, 0.5, 1.5)[:, None] * np.ones(4)
    pictures = [np.round(random.laplace(scale=scale, size=[16, 24, 4])).astype(np.int16) for _ in range(80)]
    single = coding_tables(prior, latent_histogram(pictures[:40], 4))
    others = np.concatenate([p.reshape(-1, 4) for p in pictures[40:]]).astype(np.int32)

    def bits(rounds):
        tables = competing_tables(single, pictures[:40], 2, rounds=rounds)
        return table_bits(tables, others, Coder(tables).choose_classes(others, np.int32([len(others)]))[0].numpy())

    assert bits(24) < 0.997 * bits(1) and bits(24) < 0.98 * table_bits(single, others)


def test_more_classes_than_the_training_set_has_are_harmless(prior):
    flat = [np.zeros([4, 4, 4], np.int16), np.eye(4, dtype=np.int16)[None].repeat(4, 0)]
    single = coding_tables(prior, latent_histogram(flat, 4))
    tables = competing_tables(single, flat, 16)
    assert all(is_distribution(cdf) for channel in tables.active for cdf in tables.cdfs[channel])
