"""The house: rooms in one order, imports that only go down it, and an import that takes no time."""

import ast
import configparser
import graphlib
import pathlib
import re
import subprocess
import sys

import pytest

import balle2017
from balle2017 import codec

PACKAGE = pathlib.Path(balle2017.__file__).parent
ROOT = PACKAGE.parent

# From the ground up: a room may import itself and those before it. Above all are the doors, the
# modules at the top of the package.
ROOMS = (
    "files", "model", "entropy", "container", "saved_model", "pictures", "codec", "training", "evaluation", "web",
    "commands",
)  # fmt: skip
DOORS = "doors"
ORDER = (*ROOMS, DOORS)
MAX_LINES = 450


def module_name(path):
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


FILES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def room_of(module):
    room = module.split(".")[1] if "." in module else DOORS
    return room if room in ROOMS else DOORS


def imports_of(module):
    """Modules of the package that one imports anywhere in its file, also in its functions."""
    found = set()
    for node in ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports by a relative path"
            for alias in node.names:
                inside = f"{node.module}.{alias.name}"
                found.add(inside if inside in FILES else node.module)
    return {name for name in found if name.split(".")[0] == "balle2017"}


GRAPH = {module: imports_of(module) for module in FILES}


def test_all_imports_are_of_files_that_exist():
    assert {name for names in GRAPH.values() for name in names} <= set(FILES)


def test_every_folder_is_a_room_and_is_installed():
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders == set(ROOMS)
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    packages = set(config["options"]["packages"].split())
    assert packages == {"balle2017", "balle2017.saved_models", *(f"balle2017.{room}" for room in ROOMS)}


@pytest.mark.parametrize("room", ORDER)
def test_imports_go_down(room):
    allowed = ORDER[: ORDER.index(room) + 1]
    up = [
        f"{module} -> {name}"
        for module, names in GRAPH.items()
        for name in names
        if room_of(module) == room and room_of(name) not in allowed
    ]
    assert not up


def test_no_circles():
    # Raises CycleError, which names one.
    graphlib.TopologicalSorter(GRAPH).prepare()


def test_training_does_not_know_the_file_format():
    names = {name for module, names in GRAPH.items() if room_of(module) == "training" for name in names}
    assert not {"container", "codec"} & {room_of(name) for name in names}


def test_the_package_knows_no_pytorch():
    """Which only `experiments/gpu` needs."""
    assert not [
        name for name, path in FILES.items() if re.search(r"^\s*(import|from) torch", path.read_text("utf-8"), re.M)
    ]


def test_no_file_is_too_long():
    assert not [name for name, path in FILES.items() if len(path.read_text("utf-8").splitlines()) > MAX_LINES]


@pytest.mark.parametrize(
    "modules, absent",
    [
        ("balle2017", "tensorflow numpy PIL"),
        ("balle2017.codec", "tensorflow"),
        ("balle2017.tfci, balle2017.client, balle2017.pillow", "tensorflow"),
    ],
)
def test_importing_is_light(modules, absent):
    program = f"import sys, {modules}; print(*[name for name in {absent.split()} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""


def test_the_package_has_the_functions_of_the_codec():
    for name in balle2017.__all__:
        assert getattr(balle2017, name) is getattr(codec, name) and name in dir(balle2017)
    with pytest.raises(AttributeError, match="no attribute 'decode'"):
        balle2017.decode  # noqa: B018 (the attribute is what is asked for)


def test_the_package_is_the_command():
    result = subprocess.run([sys.executable, "-m", "balle2017", "--help"], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0 and result.stdout.startswith("usage: balle2017 ")


def test_compress_and_decompress(tiny_models_dir):
    import numpy as np

    pixels = np.random.default_rng(0).integers(0, 256, [20, 30, 3], np.uint8)
    data = balle2017.compress(pixels, "tiny-1", tiny_models_dir)
    assert data == codec.load("tiny-1", tiny_models_dir).compress(pixels)
    assert balle2017.decompress(data, tiny_models_dir).pixels.shape == pixels.shape
