"""`make setup` and a picture there and back, on each Python that is offered and found here."""

import configparser
import os
import pathlib
import shutil
import subprocess

from PIL import Image
import pytest

ROOT = pathlib.Path(__file__).parents[1]
CONFIG = configparser.ConfigParser()
CONFIG.read(ROOT / "setup.cfg", encoding="utf-8")
OFFERED = [line.split(" :: ")[-1] for line in CONFIG["metadata"]["classifiers"].splitlines() if ":: Python :: " in line]
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


@pytest.mark.slow
@pytest.mark.parametrize("version", OFFERED)
def test_setup_and_a_picture_there_and_back(version, tmp_path):
    python = find_python(version)
    if python is None:
        pytest.skip(f"needs Python {version}, on the PATH or of pyenv")
    if shutil.which("make") is None:
        pytest.skip("needs make")
    tree, environment = tmp_path / "tree", {**os.environ}
    # Neither this tree nor the one that runs the tests.
    for name in ("PYTHONPATH", "VIRTUAL_ENV", "MAKEFLAGS", "MAKELEVEL"):
        environment.pop(name, None)
    shutil.copytree(ROOT, tree, ignore=NOT_COPIED)

    def run(*words):
        done = subprocess.run(words, cwd=tree, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]

    venv = tmp_path / "venv"
    run("make", f"VENV={venv}", f"PYTHON={python}", "setup")
    command = str(venv / "bin" / "balle2017")
    run(command, "compress", "bls2017-mse-4", "examples/kodak-23.png", str(tmp_path / "23.tfci"))
    run(command, "decompress", str(tmp_path / "23.tfci"), str(tmp_path / "23.png"))
    with Image.open(tree / "examples" / "kodak-23.png") as before, Image.open(tmp_path / "23.png") as after:
        assert after.size == before.size
