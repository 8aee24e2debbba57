"""`make setup` and a picture there and back, on each Python that is offered and found here."""

import configparser
import os
import pathlib
import shutil
import subprocess

import numpy as np
from PIL import Image
import pytest

from balle2017 import codec

ROOT = pathlib.Path(__file__).parents[1]
CONFIG = configparser.ConfigParser()
CONFIG.read(ROOT / "setup.cfg", encoding="utf-8")
OFFERED = [line.split(" :: ")[-1] for line in CONFIG["metadata"]["classifiers"].splitlines() if ":: Python :: " in line]
# tensorflow-compression, and with it TensorFlow 2.14, ends before.
FIRST_WITHOUT_2_14 = "3.12"
# What is built or installed in a tree, and what is no part of the package.
NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv*", "*.egg-info", "__pycache__", "build", "dist", "runs", "node_modules"
)


def find_python(version):
    """The path of a Python of this version, on the PATH or of pyenv, or `None`."""
    candidates = [shutil.which(f"python{version}")]
    if shutil.which("pyenv"):
        root = subprocess.run(["pyenv", "root"], capture_output=True, text=True).stdout.strip()
    else:
        root = os.environ.get("PYENV_ROOT") or pathlib.Path.home() / ".pyenv"
    candidates += sorted(pathlib.Path(root).glob(f"versions/{version}.*/bin/python"))
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    for path in filter(None, candidates):
        # One on the PATH may stand for a Python that pyenv has switched off.
        done = subprocess.run([path, "-c", code], capture_output=True, text=True)
        if done.returncode == 0 and done.stdout.strip() == version:
            return str(path)
    return None


def test_all_pythons_that_are_offered_are_tried():
    assert OFFERED[0] == CONFIG["options"]["python_requires"].removeprefix(">=")
    assert OFFERED == [f"3.{minor}" for minor in range(9, 9 + len(OFFERED))]


class Tree:
    """A copy of this tree, with an environment of its own of a Python."""

    def __init__(self, version, folder):
        self.python = find_python(version) or pytest.skip(f"needs Python {version}, on the PATH or of pyenv")
        self.folder, self.venv = folder / "tree", folder / "venv"
        self._environment = {**os.environ}
        # Neither this tree nor the one that runs the tests, and what users have set.
        for name in ("PYTHONPATH", "VIRTUAL_ENV", "MAKEFLAGS", "MAKELEVEL", "TF_CPP_MIN_LOG_LEVEL"):
            self._environment.pop(name, None)
        shutil.copytree(ROOT, self.folder, ignore=NOT_COPIED)

    def run(self, *words):
        """Runs a program of the environment or the system in the tree; returns what it said on standard error."""
        program = self.venv / "bin" / words[0]
        words = [str(program) if program.exists() else words[0], *words[1:]]
        done = subprocess.run(words, cwd=self.folder, env=self._environment, capture_output=True, text=True)
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
        return done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("version", OFFERED)
def test_setup_and_a_picture_there_and_back(version, tmp_path):
    if shutil.which("make") is None:
        pytest.skip("needs make")
    tree = Tree(version, tmp_path)
    make = "make", f"VENV={tree.venv}", f"PYTHON={tree.python}"
    tree.run(*make, "setup")
    tree.run(*make, "demo")
    tree.run("balle2017", "compress", "bls2017-mse-4", "examples/kodak-23.png", "demo/23.tfci")
    tree.run("balle2017", "decompress", "demo/23.tfci", "demo/23.png")
    with Image.open(tree.folder / "examples/kodak-23.png") as before, Image.open(tree.folder / "demo/23.png") as after:
        assert after.size == before.size


@pytest.mark.slow
def test_effort_with_the_tensorflow_of_today(tmp_path):
    newer = OFFERED[OFFERED.index(FIRST_WITHOUT_2_14) :]
    tree = Tree(next(filter(find_python, newer), newer[0]), tmp_path)
    tree.run(tree.python, "-m", "venv", str(tree.venv))
    tree.run("pip", "install", "--quiet", ".[tensorflow]")
    with Image.open(tree.folder / "examples/kodak-23.png") as image:
        pixels = np.asarray(image.crop((0, 0, 256, 192)))
    Image.fromarray(pixels).save(tree.folder / "a.png")

    def compressed(name, *options):
        # Nothing on standard error, TensorFlow's greetings neither.
        assert tree.run("balle2017", "compress", *options, "a.png", name) == ""
        return (tree.folder / name).read_bytes()

    model = codec.load("bls2017-mse-4", runtime="onnx")
    values = []
    for effort in "012":
        data = compressed(f"{effort}.tfci", model.name, "--effort", effort)
        # What it makes is a file like all others.
        error = np.mean(np.square(codec.decompress(data, runtime="onnx").pixels.astype(float) - pixels))
        values.append(8 * len(data) / (192 * 256) + model.info["lambda"] * error)
    assert values[0] > values[1] > values[2]
    data = compressed("half.tfci", "--target_bpp", "0.5", "bls2017-mse")
    assert abs(8 * len(data) / (192 * 256) / 0.5 - 1) <= 0.01
    assert tree.run("python", "-m", "balle2017.export", "saved_models/bls2017-mse-1", "exported") == ""
    assert (tree.folder / "exported/bls2017-mse-1/decoder/1/saved_model.pb").exists()
