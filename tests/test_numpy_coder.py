"""The range coder in NumPy: the bytes of the graphs' coders, and the same slices refused."""

import numpy as np
import pytest

from balle2017.entropy.numpy_coder import NumpyCoder
from balle2017.entropy.plain_decoder import RangeDecoder
from balle2017.entropy.tables import CodingTables
from helpers.rate_points import EDGES, class_edge, random_rate_point


def random_latents(rate_point, positions, seed=0):
    """Latents of which many are outside of the tables, some of them far."""
    random = np.random.default_rng(seed)
    spread = random.choice([1, 4, 1000, 2**19], p=[0.6, 0.3, 0.09, 0.01], size=[positions, 1])
    latents = np.rint(random.normal(scale=spread, size=[positions, rate_point.num_latents]))
    return np.clip(latents, -(2**20), 2**20).astype(np.int32)


def expected_latents(rate_point, latents):
    """What the decoder gets to see: inactive channels have their constants."""
    active = rate_point.tables.active
    expected = np.tile(rate_point.tables.constants, [len(latents), 1])
    expected[:, active] = latents[:, active]
    return expected


@pytest.mark.parametrize("num_classes", [1, 3, 24, CodingTables.MAX_CLASSES])
@pytest.mark.parametrize("positions", [1, 6, 7, 8, 14, 100])
def test_latents_come_back(num_classes, positions):
    rate_point = random_rate_point(num_classes=num_classes)
    coder = NumpyCoder(rate_point.tables, 7)
    latents = random_latents(rate_point, positions)
    slices = coder.encode(latents)
    assert len(slices) == -(-positions // 7)
    decoded, valid = coder.decode(slices, 7, positions)
    np.testing.assert_array_equal(decoded, expected_latents(rate_point, latents))
    assert decoded.dtype == np.int32 and valid.all()


def test_slices_read_as_the_document_says():
    rate_point = random_rate_point()
    tables, latents = rate_point.tables, random_latents(rate_point, 10)
    classes = set()
    for index, string in enumerate(NumpyCoder(tables, 5).encode(latents)):
        decoder, row, chosen = RangeDecoder(string), 0, []
        for _ in range(5):
            chosen.append(decoder.symbol(tables.class_cdfs[row].tolist(), 16))
            row = 1 + chosen[-1]
        for position, k in enumerate(chosen):
            for channel in tables.active:
                value = decoder.latent(tables.cdfs[channel][k].tolist(), tables.offsets[channel])
                assert value == latents[5 * index + position, channel]
        assert decoder.is_at_its_end()
        classes.update(chosen)
    assert len(classes) > 1


@pytest.mark.parametrize("edge, k", EDGES)
def test_a_code_value_just_below_a_bound_is_below_it_in_every_row(edge, k):
    tables, latents = edge(k)
    coder = NumpyCoder(tables, 1)
    slices = coder.encode(latents)
    decoded, valid = coder.decode(slices, 1, 1)
    assert decoded.tolist() == latents.tolist() and valid.all()
    if edge is class_edge:
        # All that a decoder knows of the value when it looks for the class.
        assert int.from_bytes(slices[0][:4], "big") == 2**16 * tables.class_cdfs[0, k + 1] - 1


def test_groups_of_slices_change_nothing(monkeypatch):
    rate_point = random_rate_point()
    latents = random_latents(rate_point, 100)
    whole = NumpyCoder(rate_point.tables, 7).encode(latents)
    monkeypatch.setattr("balle2017.entropy.numpy_coder._SYMBOLS_AT_ONCE", 200)
    assert NumpyCoder(rate_point.tables, 7).encode(latents) == whole


def test_nothing_but_constants_takes_no_bytes():
    rate_point = random_rate_point()
    rate_point.tables.cdfs = [None] * rate_point.num_latents
    coder = NumpyCoder(rate_point.tables, 7)
    assert coder.encode(np.zeros([10, rate_point.num_latents], np.int32)) == [b"", b""]
    latents, valid = coder.decode([b"", b"x"], 7, 10)
    np.testing.assert_array_equal(latents, np.tile(rate_point.tables.constants, [10, 1]))
    assert valid.tolist() == [True, False]


@pytest.fixture(scope="module")
def graph(tiny_models_dir):
    pytest.importorskip("tensorflow_compression")
    from balle2017 import codec

    return codec.load("tiny-1", tiny_models_dir, runtime="tensorflow")


@pytest.mark.parametrize("positions", [1, 7, 20, 500])
def test_the_same_latents_give_the_bytes_of_the_graph(graph, tiny_rate_point, positions):
    coder = NumpyCoder(tiny_rate_point.tables, tiny_rate_point.slice_length)
    latents = random_latents(tiny_rate_point, positions)
    assert coder.encode(latents) == graph.runtime.encode_slices(latents)


def test_the_same_slices_are_refused_as_by_the_graph(graph, tiny_rate_point):
    coder = NumpyCoder(tiny_rate_point.tables, 7)
    random = np.random.default_rng(1)
    good = coder.encode(random_latents(tiny_rate_point, 4000))
    slices = []
    for string in good:
        broken = bytearray(string)
        broken[random.integers(len(broken))] ^= 1 << random.integers(8)
        cut, longer = string[: random.integers(len(string))], string + b"\0" * random.integers(4)
        others = bytes(broken), cut, longer, random.bytes(random.integers(60)), b"", b"\xff" * 70
        slices += [string, others[random.integers(len(others))]]
    positions = 7 * len(slices) - 3
    latents, valid = coder.decode(slices, 7, positions)
    expected, expected_valid = graph.decode_slices(slices, 7, positions)
    np.testing.assert_array_equal(valid, expected_valid)
    keep = np.repeat(valid, 7)[:positions]
    np.testing.assert_array_equal(latents[keep], expected[keep])
    assert len(good) - 1 <= np.sum(valid) < len(slices) - 400


@pytest.mark.parametrize("length", [1, 3, 100, 65535])
def test_any_slice_length_is_decoded(graph, tiny_rate_point, length):
    slices = NumpyCoder(tiny_rate_point.tables, length).encode(random_latents(tiny_rate_point, 150))
    latents, valid = NumpyCoder(tiny_rate_point.tables, 7).decode(slices, length, 150)
    expected, expected_valid = graph.decode_slices(slices, length, 150)
    np.testing.assert_array_equal(latents, expected)
    assert valid.all() and expected_valid.all()
