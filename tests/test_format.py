"""`docs/format.md` and the exported files suffice to write a decoder: the plain one is made from them alone."""

import doctest
import json
import math

import numpy as np
import pytest

from balle2017 import codec
from balle2017.container import bitstream
from balle2017.entropy import plain_decoder
from helpers.pictures import photograph


def tables_of(folder):
    """The coding tables of an exported decoder, as the document says where they are."""
    index = json.loads((folder / "arrays.json").read_text(encoding="utf-8"))
    data = (folder / index["file"]).read_bytes()
    types = {"int32": "<i4", "uint16": "<u2"}
    return {
        key: np.frombuffer(data, types[entry["dtype"]], math.prod(entry["shape"]), entry["offset"]).tolist()
        for key, entry in index["arrays"].items()
        if key.startswith("coder/")
    }


def test_the_plain_decoder_s_example():
    failed, attempted = doctest.testmod(plain_decoder)
    assert attempted and not failed


def test_a_decoder_made_from_the_document(tiny_models_dir, tiny_rate_point):
    tables = tables_of(tiny_models_dir / "tiny-1" / "decoder" / "1")
    model = codec.load("tiny-1", tiny_models_dir)
    contents = bitstream.unpack(model.compress(photograph(100, 120)))
    expected = model.decode_latents(contents).reshape(contents.num_positions, -1)
    latents = []
    for string in contents.slices:
        length = min(contents.slice_length, contents.num_positions - len(latents))
        latents += plain_decoder.decode_slice(string, length, tables)
    np.testing.assert_array_equal(latents, expected)
    # With all that the format has: values that are not in the tables, and channels that are not coded.
    bins = [0 if cdf is None else cdf.shape[1] - 2 for cdf in tiny_rate_point.tables.cdfs]
    symbols = expected - tiny_rate_point.tables.offsets
    assert np.sum((symbols < 0) | (symbols >= bins)) > 100
    assert len(tables["coder/active_channels"]) < expected.shape[1]


def test_a_slice_that_goes_on_is_refused(tiny_models_dir):
    tables = tables_of(tiny_models_dir / "tiny-1" / "decoder" / "1")
    model = codec.load("tiny-1", tiny_models_dir)
    contents = bitstream.unpack(model.compress(photograph(40, 60)))
    with pytest.raises(ValueError, match="The slice is damaged."):
        plain_decoder.decode_slice(contents.slices[0] + b"\1" * 20, contents.slice_length, tables)
