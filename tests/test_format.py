"""`docs/format.md` suffices to write a decoder: this one is made from it alone."""

import numpy as np

from balle2017 import codec
from balle2017.container import bitstream
from helpers.pictures import photograph
from helpers.range_decoder import RangeDecoder


def test_a_decoder_made_from_the_document(tiny_models_dir, tiny_rate_point):
    tables = tiny_rate_point.tables
    pixels = photograph(100, 120)
    model = codec.load("tiny-1", tiny_models_dir)
    contents = bitstream.unpack(model.compress(pixels))
    expected = model.decode_latents(contents).reshape(contents.num_positions, -1)
    latents, escapes, seen = [], 0, set()
    for string in contents.slices:
        decoder = RangeDecoder(string)
        length = min(contents.slice_length, contents.num_positions - len(latents))
        classes = []
        for _ in range(length):
            row = 1 + classes[-1] if classes else 0
            classes.append(decoder.symbol(tables.class_cdfs[row].tolist(), 16))
        seen.update(classes)
        for k in classes:
            position = []
            for cdfs, offset, constant in zip(tables.cdfs, tables.offsets, tables.constants):
                if cdfs is None:
                    position.append(constant)
                    continue
                cdf = cdfs[k].tolist()
                position.append(decoder.latent(cdf, offset))
                escapes += not offset <= position[-1] < offset + len(cdf) - 2
            latents.append(position)
        assert decoder.is_at_its_end()
    np.testing.assert_array_equal(latents, expected)
    assert escapes > 100 and seen == {0, 1, 2}
