"""What is installed: files that exist, ranges that hold the exact versions, nothing heavy that few need."""

import configparser
import pathlib
import re
import subprocess
import sys
import zlib

from packaging.requirements import Requirement
import pytest

ROOT = pathlib.Path(__file__).parents[1]
CONFIG = configparser.ConfigParser()
CONFIG.read(ROOT / "setup.cfg", encoding="utf-8")


def folder_of(package):
    """The folder of a package, as `package_dir` has it."""
    folders = dict(line.split(" = ") for line in CONFIG["options"]["package_dir"].strip().splitlines())
    return ROOT / folders.get(package, package.replace(".", "/"))


def requirements(text):
    return [Requirement(line) for line in text.strip().splitlines() if not line.startswith("#")]


def ranges():
    """All requirements of setup.cfg but the package itself, as `Requirement`s."""
    texts = [CONFIG["options"]["install_requires"], *CONFIG["options.extras_require"].values()]
    return [one for text in texts for one in requirements(text) if one.name != "balle2017"]


@pytest.mark.parametrize("package, patterns", CONFIG["options.package_data"].items())
def test_package_data_exist(package, patterns):
    for pattern in patterns.split():
        assert any(path.is_file() for path in folder_of(package).glob(pattern)), pattern


# Rate points that are in a clone and not in a wheel, which would be too large.
LEFT_OUT = {"bls2017-msssim-8"}


@pytest.fixture
def rate_point_files(monkeypatch):
    """What setuptools puts into a wheel of a folder of models: a function of its files to those of them that are."""
    setuptools = pytest.importorskip("setuptools", reason="setuptools, which packs, is not installed")

    def packed(root):
        monkeypatch.chdir(root)
        distribution = setuptools.Distribution()
        distribution.parse_config_files([ROOT / "setup.cfg"])
        distribution.packages, distribution.package_data = ["balle2017.saved_models"], {
            "balle2017.saved_models": distribution.package_data["balle2017.saved_models"]
        }  # fmt: skip
        command = distribution.get_command_obj("build_py")
        command.ensure_finalized()
        return {f"saved_models/{name}" for *_, files in command.data_files for name in files}

    return packed


def test_a_wheel_has_whole_rate_points_but_those_that_are_left_out(rate_point_files, tmp_path):
    parts = ("model.json", "prior.npz", "decoder/1/saved_model.pb", "decoder/1/variables/variables.index")
    names = [f"bls2017-{family}-{number}" for family in ("mse", "msssim") for number in range(1, 9)]
    for name in names:
        for part in parts:
            (tmp_path / "saved_models" / name / part).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "saved_models" / name / part).touch()
    packed = rate_point_files(tmp_path)
    assert packed == {f"saved_models/{name}/{part}" for name in names if name not in LEFT_OUT for part in parts}


@pytest.mark.slow
def test_a_wheel_stays_under_100_megabytes():
    """As far as what is packed weighs anything; a wheel's members are deflated one by one."""
    paths = [*(ROOT / "balle2017").rglob("*"), *(ROOT / "saved_models").rglob("*")]
    files = [path for path in paths if path.is_file() and not set(path.parts) & {"__pycache__", *LEFT_OUT}]
    assert sum(len(zlib.compress(path.read_bytes(), 6)) for path in files) < 99e6


def test_exact_versions_lie_in_the_ranges():
    exact = requirements((ROOT / "constraints.txt").read_text())
    by_name = {}
    for one in ranges():
        by_name.setdefault(re.sub("[-_.]+", "-", one.name.lower()), []).append(one)
    for one in exact:
        assert [clause.operator for clause in one.specifier] == ["=="], one
        [version] = [clause.version for clause in one.specifier]
        # Of requirements with markers, one range is of the Pythons that the exact version is for.
        assert any(other.specifier.contains(version) for other in by_name[one.name]), one


def test_what_make_setup_installs_is_exact():
    """What the commands and the tests need; pipelines and data sets by name are for who asks for them."""
    exact = {one.name for one in requirements((ROOT / "constraints.txt").read_text())}
    optional = {
        one.name
        for extra in ("beam", "formats", "tfds")
        for one in requirements(CONFIG["options.extras_require"].get(extra, ""))
    }
    assert {one.name for one in ranges()} - optional <= exact


def test_plots_and_their_mathematics_are_extras():
    needed = {one.name for one in requirements(CONFIG["options"]["install_requires"])}
    assert not needed & {"matplotlib", "scipy", "bjontegaard", "absl-py"}


def test_evaluation_without_its_extra_is_one_sentence():
    program = "import sys; sys.modules['bjontegaard'] = None; from balle2017 import evaluate; sys.exit(evaluate.main())"
    done = subprocess.run(
        [sys.executable, "-c", program, "--images=.", "--out=results"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2 and "balle2017[evaluate]" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_what_tests_share_lives_in_helpers():
    names = {path.stem for path in (ROOT / "tests").glob("test_*.py")} | {"conftest"}
    for path in (ROOT / "tests").rglob("*.py"):
        imported = re.findall(r"^(?:from|import) (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert not (names - {path.stem}) & set(imported), path
