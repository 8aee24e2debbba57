"""The experiments run with one command, on a small model and a few small images."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
from PIL import Image
import pytest

from balle2017.evaluation import baselines
from helpers.rate_points import copy_export

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    """A folder of images, and a folder of two models, of either kind of prior, and the same again for MS-SSIM."""
    from balle2017.entropy.fitting import coding_tables, latent_histogram
    from balle2017.model.competing_prior import CompetingPrior
    from balle2017.model.prior import FactorizedPrior, prior_parameters
    from balle2017.model.transforms import analyze
    from balle2017.saved_model.rate_point import RatePoint
    from balle2017.saved_model.writing import export
    from balle2017.training import klt

    folder = tmp_path_factory.mktemp("experiments")
    (folder / "images").mkdir()
    random = np.random.default_rng(0)
    patches = []
    for index in range(2):
        small = Image.fromarray(random.integers(0, 256, [12, 16, 3], np.uint8))
        picture = small.resize((256, 192), Image.Resampling.BICUBIC)
        picture.save(folder / "images" / f"{index}.png")
        pixels = np.array(picture)
        patches += [pixels[y : y + 64, x : x + 64] for y in range(0, 129, 16) for x in range(0, 193, 16)]
    patches = np.stack(patches)
    for number, lmbda in ((1, 0.001), (2, 0.01)):
        analysis, synthesis = klt.linear_transform_code(patches, lmbda, 48)
        prior = FactorizedPrior(batch_shape=[48])
        latents = np.round(analyze(patches.astype(np.float32), analysis, 2, 0.5)).astype(np.int32)
        tables = coding_tables(prior, latent_histogram([latents], 48))
        rate_point = RatePoint(f"small-mse-{number}", lmbda, 48, 3, 16, 2, 0.5, analysis, synthesis, tables,
                               prior=prior_parameters(prior if number == 1 else CompetingPrior(4, 48)))  # fmt: skip
        export(rate_point, folder / "models" / rate_point.name)
        about = {"distortion": "ms_ssim", "lambda": 3e3 * lmbda}
        copy_export(folder / "models" / rate_point.name, folder / f"models/small-msssim-{number}", **about)
    return folder


def run(name, setting, *arguments, images=None):
    command = [
        sys.executable, ROOT / "experiments" / f"{name}.py", f"--images={images or setting / 'images'}",
        f"--models_dir={setting / 'models'}", f"--results={setting / 'results'}", *arguments,
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=setting)


@pytest.mark.parametrize(
    "name, figure",
    [
        ("rate_distortion", "small-mse, Mean of 2 images"),
        ("reconstructions", "MS-SSIM"),
        ("relaxation", "small-mse-2"),
        ("variational_bound", "Largest relative difference"),
        ("filters", "IGDN 2"),
    ],
)
def test_experiment_prints_figures_and_writes_its_picture(name, figure, setting):
    picture = setting / f"{name}.png"
    done = run(name, setting, f"--out={picture}")
    assert done.returncode == 0, done.stderr
    assert figure in done.stdout
    # What is about squared error is about models that were trained for it.
    assert ("small-msssim" in done.stdout) == (name == "rate_distortion")
    with Image.open(picture) as image:
        assert image.format == "PNG" and min(image.size) > 300


@pytest.mark.slow
def test_nonlinearities_are_trained_alike(setting):
    picture = setting / "nonlinearity.png"
    command = [sys.executable, ROOT / "experiments/nonlinearity.py", f"--out={picture}", "--steps=3",
               "--num_filters=8", f"--data={ROOT / 'balle2017/examples'}"]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert all(kind in done.stdout for kind in ("GDN", "ReLU", "none"))
    assert picture.exists() and picture.with_suffix(".csv").exists()


def test_rd_writes_tables_and_only_its_parts_of_the_documents(setting, tmp_path, monkeypatch):
    """In this process, with few codecs: the others take long."""
    monkeypatch.syspath_prepend(str(ROOT / "experiments"))
    from absl import flags

    import rd

    class FewQualities(baselines.Jpeg):
        qualities = (10, 40, 80)

    class FewRates(baselines.Jpeg2000):
        qualities = (0.2, 0.5, 1.5)

    monkeypatch.setattr(baselines, "CODECS", [FewQualities, FewRates])
    models = tmp_path / "models"
    shutil.copytree(setting / "models", models)
    readme, measurements = tmp_path / "README.md", tmp_path / "measurements.md"
    for document in (readme, measurements):
        document.write_text("before\n<!-- rd:begin -->\nold\n<!-- rd:end -->\nafter\n")
    values = flags.FlagValues()
    monkeypatch.setattr(rd, "FLAGS", values)
    monkeypatch.setattr(rd.kodak, "FLAGS", values)
    settings = dict(images=setting / "images", models_dir=models, results=tmp_path / "results",
                    out=tmp_path / "docs", readme=readme, measurements=measurements)  # fmt: skip
    for name, value in settings.items():
        flags.DEFINE_string(name, str(value), "", flag_values=values)
    flags.DEFINE_bool("report", True, "", flag_values=values)
    flags.DEFINE_integer("viewer_images", 1, "", flag_values=values)
    values.mark_as_parsed()
    rd.main([])

    for document in (readme, measurements):
        text = document.read_text()
        assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
        assert "![Rate–distortion curves on Kodak](docs/kodak.png)" in text
        # Each family is held against the paper's own table of its kind.
        assert "balle2017 (MSE): " in text and "balle2017 (MS-SSIM): " in text
        assert (
            "\n| Ballé 2017 (ICLR, opt. MSE), tfc | " in text and "\n| Ballé 2017 (ICLR, opt. MS-SSIM), tfc | " in text
        )
    assert "| `small-mse-1` | 0.001 |" in text and "| `small-msssim-1` | 3 |" in text
    assert "JPEG 2000 (Kakadu), tfc" in text and "\n| BPG (4:4:4), tfc | " in text
    # Four files: of two images and two models.
    assert len(re.findall(r"\| JPEG \| \d of \d \| \d of \d \|", text)) == 2
    assert "2 × 2 files: by MS-SSIM" in readme.read_text() and "| `small-msssim-1` | " in readme.read_text()
    assert {path.name for path in (tmp_path / "docs").iterdir()} == {
        "kodak.png",
        "ms_ssim.png",
        "kodak.md",
        "kodak.json",
    }
    results = json.loads((tmp_path / "docs/kodak.json").read_text())
    assert len(results["small-mse"]["results"]["psnr-rgb"]) == len(results["small-msssim"]["results"]["bpp"]) == 2
    for name in ("small-mse-1", "small-msssim-2"):
        assert set(json.loads((models / name / "model.json").read_text())["kodak"]) == {"bpp", "psnr", "ms_ssim"}
    assert (tmp_path / "results/report.html").exists()


def test_crops_of_both_families_beside_avif_and_jpeg(setting, tmp_path):
    """Of the photographs that it has words for, those that are there."""
    folder = tmp_path / "images"
    folder.mkdir()
    shutil.copy(setting / "images/0.png", folder / "04.png")
    shutil.copy(setting / "images/1.png", folder / "13.png")
    done = run("crops", setting, f"--out={tmp_path}/docs/crops", "--effort=0", images=folder)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "docs/crops.md").read_text()
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith(("| skin (04)", "| foliage (13)"))]
    # Four codecs, two photographs, two rate points.
    assert [row[1].rpartition("-")[0] or row[1] for row in rows] == 4 * ["small-mse", "small-msssim", "AVIF", "JPEG"]
    for number in (1, 2):
        assert f"(crops-{number}.png)" in text
        with Image.open(tmp_path / f"docs/crops-{number}.png") as image:
            assert image.width == 5 * 256 + 4 * 8 and image.height > 2 * 192
    empty = run("crops", setting)
    assert empty.returncode == 1 and "None of 04, 21, 14, 13 is in " in empty.stderr


@pytest.mark.slow
def test_efforts_are_compared_and_rates_hit(setting, tmp_path):
    document = tmp_path / "measurements.md"
    document.write_text("before\n<!-- effort:begin -->\nold\n<!-- effort:end -->\nafter\n")
    process = run(
        "effort", setting, "--efforts=1,2", "--rate_points=", f"--out={tmp_path}", f"--measurements={document}"
    )
    assert process.returncode == 0, process.stderr
    rows = [line.split(" | ") for line in process.stdout.splitlines() if line.startswith("| ")]
    family = ["| effort", "| 0", "| 1", "| 2", "| --target_bpp", "| 0.25", "| 0.5", "| 1"]
    assert [row[0] for row in rows] == 2 * family
    for table, measure in ((rows[:4], 1), (rows[8:12], 2)):
        # More effort is never worse in what the family is for; on these models, which are no photograph's, it may
        # gain nothing.
        assert all(row[measure] == "+0.0 %" or row[measure].startswith("−") for row in table[2:])
        # The time of an effort holds that of the one below.
        assert float(table[3][4]) >= float(table[2][4])
    assert (tmp_path / "kodak.png").exists() and "| 1 |" in (tmp_path / "kodak.md").read_text()
    text = document.read_text()
    assert text.startswith("before\n") and "| 1 |" in text and "old" not in text


def test_a_folder_that_is_not_there_is_one_sentence(setting):
    for name in ("rd", "filters"):
        done = run(name, setting, images="no_such_folder") if name == "rd" else run(
            name, setting, f"--models_dir={setting / 'images'}")  # fmt: skip
        assert done.returncode != 0 and "Traceback" not in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
