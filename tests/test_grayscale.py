"""A point for gray photographs, made of one for photographs in colour: the same code before any training."""

import dataclasses
import os

import numpy as np
from PIL import Image
import pytest

from balle2017 import codec
from balle2017.evaluation import metrics
from balle2017.model.transforms import analyze, synthesize
from balle2017.saved_model import reading
from balle2017.saved_model.writing import export
from balle2017.training import loop
from balle2017.training.grayscale import grayscale
from balle2017.training.settings import Settings, SettingsError
from helpers.pictures import photograph
from helpers.rate_points import random_rate_point

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SHIPPED = os.path.join(ROOT, "saved_models", "bls2017-mse-2")
GRAY = photograph(64, 80)[np.newaxis, ..., :1].astype(np.float32)
EXPONENTS = 2, 0.5


def test_latents_are_the_same_and_the_picture_is_the_mean_of_its_channels():
    point = random_rate_point()
    converted = grayscale(point)
    assert (point.channels, converted.channels) == (3, 1)
    latents = analyze(np.repeat(GRAY, 3, -1), point.analysis, *EXPONENTS)
    own = analyze(GRAY, converted.analysis, *EXPONENTS)
    np.testing.assert_allclose(own, latents, atol=1e-4 * np.abs(latents).max())
    made = synthesize(latents, point.synthesis, *EXPONENTS).numpy().mean(-1, keepdims=True)
    np.testing.assert_allclose(
        synthesize(latents, converted.synthesis, *EXPONENTS), made, atol=1e-4 * np.abs(made).max()
    )
    # Of a gray point it is that point.
    for before, after in zip(converted.analysis.arrays(), grayscale(converted).analysis.arrays()):
        np.testing.assert_array_equal(before, after)


@pytest.mark.slow
def test_training_for_gray_starts_from_a_point_for_colours(tmp_path):
    """Without a step that changes anything, what is exported has the latents of the start."""
    export(random_rate_point("start"), tmp_path / "start")
    settings = dict(
        models_dir=str(tmp_path / "models"), channels=1, lmbda=0.01, num_filters=8, num_latents=12, num_gdns=2,
        num_classes=4, patch_size=32, batch_size=2, steps=1, steps_per_epoch=1, fine_tune_steps=0, learning_rate=0.0,
        arithmetic="float32",
    )  # fmt: skip
    run = Settings(name="gray", run_dir=str(tmp_path / "run"), init_from=str(tmp_path / "start"), **settings)
    made = reading.load_rate_point(loop.train(run).directory)
    assert made.channels == 1 and made.info["runs"][-1]["settings"]["init_from"] == "start"
    start = random_rate_point("start")
    before = analyze(np.repeat(GRAY, 3, -1), start.analysis, *EXPONENTS)
    np.testing.assert_allclose(analyze(GRAY, made.analysis, *EXPONENTS), before, atol=5e-3 * np.abs(before).max())
    # There is no way back.
    back = {**settings, "channels": 3, "init_from": str(tmp_path / "models/gray")}
    with pytest.raises(SettingsError, match="gray has num_filters=8, num_latents=12 and channels=1"):
        loop.train(Settings(name="colour", run_dir=str(tmp_path / "other"), **back))


@pytest.mark.skipif(not os.path.isdir(SHIPPED), reason="no rate points in saved_models")
def test_before_any_training_a_gray_photograph_is_as_small_and_as_good(tmp_path):
    point = reading.load_rate_point(SHIPPED)
    export(dataclasses.replace(grayscale(point).rounded(), name="gray"), tmp_path / "gray")
    pixels = np.asarray(Image.open(os.path.join(ROOT, "examples", "kodak-23.png")).convert("L"))[..., np.newaxis]
    results = []
    for model, picture in ((codec.load(SHIPPED), np.repeat(pixels, 3, -1)), (codec.load(tmp_path / "gray"), pixels)):
        data = model.compress(picture)
        decoded = codec.decompress(data, os.path.dirname(model.folder)).pixels
        results.append((len(data), metrics.psnr_luma(picture, decoded)))
    (colour_size, colour_psnr), (size, psnr) = results
    assert size == pytest.approx(colour_size, rel=0.01) and psnr > colour_psnr - 0.05
