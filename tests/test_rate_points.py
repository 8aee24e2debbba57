"""The rate points that ship, on a real photograph."""

import io
import os

import numpy as np
from PIL import Image
import pytest

from balle2017 import codec
from balle2017.container import bitstream
from balle2017.entropy.coder import Coder
from balle2017.entropy.tables import table_bits
from balle2017.evaluation import baselines, metrics
from balle2017.saved_model import reading

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SHIPPED = [info["name"] for info in codec.list_models(os.path.join(ROOT, "saved_models"))]

pytestmark = pytest.mark.skipif(not SHIPPED, reason="no rate points in saved_models")


@pytest.fixture(scope="module")
def photograph():
    return np.asarray(Image.open(os.path.join(ROOT, "examples", "kodak-23.png")).convert("RGB"))


def model(name):
    return codec.load(name, os.path.join(ROOT, "saved_models"))


@pytest.fixture(scope="module")
def figures(photograph):
    """`(bytes, PSNR)` of the photograph at each rate point."""
    result = {}
    for name in SHIPPED:
        data = model(name).compress(photograph)
        result[name] = data, metrics.psnr(photograph, model(name).decode(bitstream.unpack(data)))
    return result


@pytest.mark.parametrize("name", SHIPPED)
def test_file_is_as_large_as_the_prior_predicts(name, photograph, figures):
    point = reading.load_rate_point(os.path.join(ROOT, "saved_models", name))
    latents = np.concatenate(list(model(name).analyze(photograph))).reshape(-1, point.num_latents)
    classes, _ = Coder(point.tables).choose_classes(latents, np.int32([len(latents)]))
    predicted = table_bits(point.tables, latents, classes.numpy()) / 8
    assert abs(len(figures[name][0]) - predicted) <= 0.01 * predicted + 40


def test_more_lambda_gives_more_bits_and_less_distortion(figures):
    sizes = [len(data) for data, _ in figures.values()]
    psnrs = [psnr for _, psnr in figures.values()]
    assert sizes == sorted(sizes) and psnrs == sorted(psnrs)


@pytest.mark.parametrize("name", SHIPPED)
def test_better_than_jpeg_at_the_same_size(name, photograph, figures):
    data, psnr = figures[name]
    jpeg = baselines.find("jpeg")
    _, jpeg_data = baselines.match_size(jpeg, photograph, len(data))
    pixels = np.asarray(Image.open(io.BytesIO(jpeg_data)))
    assert psnr > metrics.psnr(photograph, pixels)
