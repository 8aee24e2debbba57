"""What is installed: files that exist, ranges that hold the exact versions, nothing heavy that few need."""

import configparser
import pathlib
import re
import subprocess
import sys

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
