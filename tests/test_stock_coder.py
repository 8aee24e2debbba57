"""The coder in core ops against tensorflow-compression's, bit for bit."""

import numpy as np
import pytest
import tensorflow as tf

from balle2017.entropy.coder import units_of_sizes
from balle2017.entropy.numpy_coder import NumpyCoder
from balle2017.entropy.stock_coder import StockCoder
from balle2017.entropy.tables import CodingTables, bin_units
from balle2017.entropy.tfc_coder import TfcCoder
from helpers.rate_points import EDGES, random_cdf, random_class_cdfs

# Nearly certain values make long runs of carries, and intervals that stay at their smallest.
_PEAKED = [np.array([cdf], np.int32) for cdf in ([0, 1, 65535, 65536], [0, 65535, 65536], [0, 1, 65536])]


def make_coders(num_active, peaked=False, num_classes=1, seed=0):
    """`coders_of` random tables."""
    random = np.random.default_rng(seed)
    if peaked:
        cdfs = [np.repeat(_PEAKED[i % len(_PEAKED)], num_classes, 0) for i in range(num_active)]
    else:
        cdfs = [random_cdf(random, random.integers(1, 9), num_classes) for _ in range(num_active)]
    offsets = random.integers(-4, 1, num_active + 1).astype(np.int32)
    constants = np.full(num_active + 1, 5, np.int32)
    class_cdfs = random_class_cdfs(random, num_classes)
    return coders_of(CodingTables(offsets, [*cdfs, None], constants, class_cdfs))


def coders_of(tables):
    """For both coders of the same tables, functions that encode and decode."""
    ints = tf.TensorSpec([None], tf.int32)
    latents, payload = tf.TensorSpec([None, len(tables.cdfs)], tf.int32), tf.TensorSpec([None], tf.uint8)

    def functions(coder):
        def encode(latents, counts):
            return coder.to_bytes(*coder.encode(latents, counts))

        def decode(payload, lengths, counts):
            return coder.decode(coder.of_bytes(payload, lengths), counts)

        return (
            tf.function(encode, [latents, ints], autograph=False),
            tf.function(decode, [payload, ints, ints], autograph=False),
        )

    return [functions(coder) for coder in (TfcCoder(tables), StockCoder(tables))]


def random_latents(positions, num_active, scale, seed=0):
    random = np.random.default_rng(seed)
    latents = np.round(random.laplace(scale=scale, size=[positions, num_active + 1])).astype(np.int32)
    latents[:, -1] = 5
    return latents


def slice_counts(positions, slice_length):
    counts = np.full(-(-positions // slice_length), slice_length, np.int32)
    counts[-1] -= counts.sum() - positions
    return counts


def test_bins_of_all_sizes_cost_the_same_in_a_graph():
    sizes = np.arange(1, 2**CodingTables.PRECISION + 1, dtype=np.int32)
    expected = bin_units(np.stack([np.zeros_like(sizes), sizes], 1))[:, 0]
    np.testing.assert_array_equal(units_of_sizes(sizes), expected)


@pytest.mark.parametrize("num_classes", [1, CodingTables.MAX_CLASSES])
@pytest.mark.parametrize(
    "num_active, positions, slice_length, scale, peaked",
    [
        (1, 1, 1, 0.5, False),
        (1, 1, 1, 1000, False),
        (5, 20, 7, 1, False),
        (16, 20, 7, 3, False),
        (17, 64, 8, 30, False),
        (33, 300, 100, 2, False),
        (2, 40, 65535, 1e5, False),
        (3, 2000, 500, 0.0001, True),
        (3, 2000, 500, 0.2, True),
        (3, 2000, 500, 1, True),
    ],
)
def test_same_bytes_and_back(num_active, positions, slice_length, scale, peaked, num_classes):
    (tfc_encode, tfc_decode), (stock_encode, stock_decode) = make_coders(num_active, peaked, num_classes)
    latents = random_latents(positions, num_active, scale)
    counts = slice_counts(positions, slice_length)
    payload, lengths = tfc_encode(latents, counts)
    stock_payload, stock_lengths = stock_encode(latents, counts)
    np.testing.assert_array_equal(stock_lengths, lengths)
    np.testing.assert_array_equal(stock_payload, payload)
    for decode in (tfc_decode, stock_decode):
        decoded, valid = decode(payload, lengths, counts)
        np.testing.assert_array_equal(decoded, latents)
        assert np.all(valid)


@pytest.mark.parametrize("edge, k", EDGES)
def test_a_code_value_just_below_a_bound_is_below_it_in_every_row(edge, k):
    tables, latents = edge(k)
    (slice_,) = NumpyCoder(tables, 1).encode(latents)
    counts = np.array([1], np.int32)
    for encode, decode in coders_of(tables):
        payload, lengths = encode(latents, counts)
        assert payload.numpy().tobytes() == slice_
        decoded, valid = decode(payload, lengths, counts)
        np.testing.assert_array_equal(decoded, latents)
        assert np.all(valid)


@pytest.mark.parametrize("num_classes", [1, 3])
def test_largest_escapes(num_classes):
    coders = make_coders(2, num_classes=num_classes)
    latents = np.array([[2**20, -(2**20), 5], [-1, 2**19 - 1, 5], [0, 0, 5]], np.int32)
    counts = np.array([2, 1], np.int32)
    (payload, lengths), (stock_payload, stock_lengths) = (encode(latents, counts) for encode, _ in coders)
    np.testing.assert_array_equal(stock_lengths, lengths)
    np.testing.assert_array_equal(stock_payload, payload)
    np.testing.assert_array_equal(coders[1][1](payload, lengths, counts)[0], latents)


@pytest.mark.parametrize("num_classes", [1, 5])
def test_slices_of_several_lengths_at_once(num_classes):
    coders = make_coders(6, num_classes=num_classes)
    counts = np.array([3, 3, 1, 9, 9, 4, 2, 2], np.int32)
    latents = random_latents(counts.sum(), 6, 3)
    results = [encode(latents, counts) for encode, _ in coders]
    np.testing.assert_array_equal(results[0][0], results[1][0])
    for (_, decode), result in zip(coders, results):
        np.testing.assert_array_equal(decode(*result, counts)[0], latents)


def test_no_active_channel():
    coders = make_coders(0)
    latents = np.full([10, 1], 5, np.int32)
    counts = slice_counts(10, 4)
    for encode, decode in coders:
        payload, lengths = encode(latents, counts)
        assert payload.shape == [0] and list(lengths) == [0, 0, 0]
        decoded, valid = decode(payload, lengths, counts)
        np.testing.assert_array_equal(decoded, latents)
        assert np.all(valid)


@pytest.mark.parametrize("num_classes", [1, 4])
@pytest.mark.parametrize("num_active, peaked", [(2, False), (1, True), (3, True)])
def test_wrong_slices_are_found_alike(num_active, peaked, num_classes):
    (tfc_encode, tfc_decode), (_, stock_decode) = make_coders(num_active, peaked, num_classes)
    counts = slice_counts(150, 5)
    payload, lengths = tfc_encode(random_latents(150, num_active, 2), counts)
    slices = np.split(payload.numpy(), np.cumsum(lengths)[:-1])
    random = np.random.default_rng(0)

    def damage(data):
        kind = random.integers(7)
        if kind == 0 and len(data):
            data = data.copy()
            data[random.integers(len(data))] ^= 1 << random.integers(8)
        elif kind == 1:
            data = data[: random.integers(len(data) + 1)]
        elif kind == 2:
            data = np.append(data, np.uint8(0))
        elif kind == 3:
            data = random.integers(0, 256, random.integers(6))
        elif kind == 4:
            # Ends in escapes whose zeros do not end.
            data = random.choice([0, 0, 0, 255], random.integers(6))
        return data.astype(np.uint8)

    found = []
    for _ in range(10):
        wrong = [damage(data) for data in slices]
        wrong_lengths = np.array([len(data) for data in wrong], np.int32)
        results = [decode(np.concatenate(wrong), wrong_lengths, counts) for decode in (tfc_decode, stock_decode)]
        (latents, valid), (stock_latents, stock_valid) = results
        np.testing.assert_array_equal(stock_valid, valid)
        mask = np.repeat(valid, counts)
        np.testing.assert_array_equal(stock_latents.numpy()[mask], latents.numpy()[mask])
        found += list(valid.numpy())
    assert 0.1 < np.mean(found) < 0.9


def test_a_long_slice_among_many_short_ones_is_refused():
    _, (_, decode) = make_coders(1)
    counts = np.array([60000] + [1] * 5000, np.int32)
    with pytest.raises(tf.errors.InvalidArgumentError, match="one by one"):
        decode(np.zeros(0, np.uint8), np.zeros_like(counts), counts)
