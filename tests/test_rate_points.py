"""The rate points that ship, on a real photograph."""

import io
import os

import numpy as np
from PIL import Image
import pytest

from balle2017 import codec
from balle2017.codec import tiling
from balle2017.container import bitstream
from balle2017.entropy.coder import Coder
from balle2017.entropy.tables import table_bits
from balle2017.evaluation import artefacts, baselines, metrics
from balle2017.model.network import STRIDE
from balle2017.saved_model import reading

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SHIPPED = [info["name"] for info in codec.list_models(os.path.join(ROOT, "saved_models"))]

pytestmark = pytest.mark.skipif(not SHIPPED, reason="no rate points in saved_models")


@pytest.fixture(scope="module")
def photograph():
    return np.asarray(Image.open(os.path.join(ROOT, "examples", "kodak-23.png")).convert("RGB"))


def model(name):
    return codec.load(name, os.path.join(ROOT, "saved_models"))


# The measure that a rate point was trained for, on the scale of dB.
MEASURES = {"mse": metrics.psnr, "ms_ssim": lambda a, b: metrics.decibels(metrics.ms_ssim(a, b))}


def measure_of(name):
    return MEASURES[model(name).info.get("distortion", "mse")]


@pytest.fixture(scope="module")
def decoded(photograph):
    """`(bytes, pixels)` of the photograph at each rate point."""
    result = {}
    for name in SHIPPED:
        data = model(name).compress(photograph)
        result[name] = data, model(name).decode(bitstream.unpack(data))
    return result


@pytest.mark.parametrize("name", SHIPPED)
def test_file_is_as_large_as_the_prior_predicts(name, photograph, decoded):
    point = reading.load_rate_point(os.path.join(ROOT, "saved_models", name))
    latents = np.concatenate(list(model(name).analyze(photograph))).reshape(-1, point.num_latents)
    classes, _ = Coder(point.tables).choose_classes(latents, np.int32([len(latents)]))
    predicted = table_bits(point.tables, latents, classes.numpy()) / 8
    # A slice has its length and its end, and a first class that costs more than one that follows another.
    slices = len(bitstream.unpack(decoded[name][0]).slices)
    assert abs(len(decoded[name][0]) - predicted - 3 * slices) <= 0.003 * predicted + 40


@pytest.mark.parametrize("family", sorted({name.rpartition("-")[0] for name in SHIPPED}))
def test_more_lambda_gives_more_bits_and_less_distortion(family, photograph, decoded):
    members = [name for name in SHIPPED if name.rpartition("-")[0] == family]
    sizes = [len(decoded[name][0]) for name in members]
    quality = [measure_of(name)(photograph, decoded[name][1]) for name in members]
    assert sizes == sorted(sizes) and quality == sorted(quality)


@pytest.mark.parametrize("name", SHIPPED)
def test_better_than_jpeg_at_the_same_size(name, photograph, decoded):
    data, pixels = decoded[name]
    jpeg = baselines.find("jpeg")
    _, jpeg_data = baselines.match_size(jpeg, photograph, len(data))
    rival = np.asarray(Image.open(io.BytesIO(jpeg_data)))
    assert measure_of(name)(photograph, pixels) > measure_of(name)(photograph, rival)


@pytest.mark.parametrize("name", SHIPPED)
def test_colours_stay_and_no_grid_shows(name, photograph, decoded):
    pixels = decoded[name][1]
    # Of 255 levels; JPEG at such sizes is one or two off.
    assert np.abs(artefacts.colour_shift(photograph, pixels)).max() < 1.5
    rows, columns = (range(STRIDE, side, STRIDE) for side in photograph.shape[:2])
    assert artefacts.border_visibility(photograph, pixels, rows, columns) < 1.05


@pytest.mark.parametrize("effort", [0, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", [name for name in SHIPPED if name[-2:] == "-1"])
def test_tiles_have_no_borders(name, effort, photograph):
    """At the lowest points, in a picture that is divided both ways."""
    picture = np.tile(photograph, (2, 2, 1))[100:, 150:]
    size = tiling.latent_size(picture)
    rows, columns = tiling.tiles(*size, sum(tiling.SYNTHESIS_CONTEXT))
    if effort:
        more = tiling.tiles(*size, sum(tiling.SYNTHESIS_CONTEXT), tiling.REFINED_SIDE)
        rows, columns = rows + more[0], columns + more[1]
    borders = [sorted({STRIDE * first for first, _ in part if first}) for part in (rows, columns)]
    assert all(borders)
    pixels = model(name).decode(bitstream.unpack(model(name).compress(picture, effort=effort)))
    assert artefacts.border_visibility(picture, pixels, *borders) < 1.15
