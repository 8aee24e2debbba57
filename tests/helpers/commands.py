"""A folder with a photograph, and the command `balle2017` in it."""

import os
import pathlib
import subprocess
import sys

from PIL import Image
import pytest

from balle2017 import codec, tfci
from helpers.pictures import photograph

ROOT = str(pathlib.Path(codec.__file__).parents[2])


@pytest.fixture(autouse=True)
def workplace(tiny_models_dir, tmp_path, monkeypatch):
    """A folder with a photograph, and the tiny model as the installed one."""
    monkeypatch.setenv("BALLE2017_MODELS", str(tiny_models_dir))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    Image.fromarray(photograph(50, 70)).save("photo.png")
    return tmp_path


def listing(folder="."):
    return sorted(
        os.path.relpath(os.path.join(parent, name), folder) for parent, _, names in os.walk(folder) for name in names
    )


def command(*args, **options):
    """Runs the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "balle2017.tfci", *args],
        env={**os.environ, "PYTHONPATH": ROOT},
        capture_output=True,
        **options,
    )


def fails(capsys, args, status, sentence):
    """Runs a command that must fail with one sentence and leave nothing new."""
    before = listing()
    capsys.readouterr()
    assert tfci.main(args) == status
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("balle2017: ")
    assert sentence in err and err.endswith(".\n")
    assert listing() == before
