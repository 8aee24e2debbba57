"""Colours that drift and borders that show: found where they are, and nowhere else."""

import numpy as np
import pytest

from balle2017.evaluation import artefacts, baselines
from helpers.pictures import photograph


def test_a_shift_of_colour_is_its_mean_per_channel():
    pixels = np.full([40, 50, 3], 100, np.uint8)
    shifted = pixels + np.uint8([0, 3, 0])
    shifted[:20, :, 2] -= 4
    np.testing.assert_allclose(artefacts.colour_shift(pixels, shifted), [0, 3, -2])
    np.testing.assert_array_equal(artefacts.colour_shift(pixels, pixels), 0)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_step_at_a_border_shows_and_one_beside_it_does_not(axis):
    original = np.full([64, 64, 3], 100, np.uint8)
    noisy = original + np.random.default_rng(0).integers(-4, 5, original.shape).astype(np.uint8)
    borders = {("rows", "columns")[axis]: [16, 32, 48]}
    assert artefacts.border_visibility(original, noisy, **borders) == pytest.approx(1, abs=0.1)
    stepped = np.moveaxis(noisy.copy(), axis, 0)
    stepped[32:] += 10
    stepped = np.moveaxis(stepped, 0, axis)
    assert artefacts.border_visibility(original, stepped, **borders) > 1.5
    beside = {("rows", "columns")[axis]: [31, 33]}
    assert artefacts.border_visibility(original, stepped, **beside) < 1
    # The picture's own edges are none of the error's.
    assert artefacts.border_visibility(stepped, stepped, **borders) == 1


def test_jpeg_shows_its_blocks_and_only_them():
    pixels = photograph(160, 200)
    decoded = baselines.pillow_pixels(baselines.pillow_bytes(pixels, "JPEG", quality=10, subsampling="4:4:4"))
    blocks, between = (range(first, 200, 8) for first in (8, 12))
    assert artefacts.border_visibility(pixels, decoded, blocks, blocks) > 1.15
    assert artefacts.border_visibility(pixels, decoded, between, between) < 1


def test_a_picture_too_small_for_a_comparison_is_an_error():
    pixels = np.zeros([10, 100, 3], np.uint8)
    with pytest.raises(ValueError, match="no border with 7 pixels"):
        artefacts.border_visibility(pixels, pixels, rows=[5], columns=[3, 98])
