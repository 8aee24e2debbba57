"""`--help` of every program names every flag that its source defines, and says what it is for."""

import ast
import os
import pathlib
import re
import subprocess
import sys

import pytest

from helpers.requirements import NEEDS_TENSORFLOW

ROOT = pathlib.Path(__file__).parents[1]
# Programs with the sources of their flags, and the words that make them print their help.
DOORS = {
    "balle2017": (
        ["balle2017/commands/arguments.py"],
        [[], ["compress"], ["decompress"], ["info"], ["models"], ["web"], ["compare"]],
    ),
    "balle2017.client": (["balle2017/client.py"], [["compress"], ["decompress"]]),
    "balle2017.beam": (["balle2017/beam.py"], [[]]),
    "balle2017.export": (["balle2017/export.py"], [[]]),
    "balle2017.evaluate": (["balle2017/evaluate.py"], [[]]),
    "balle2017.train": (["balle2017/train.py", "balle2017/training/settings.py"], [[]]),
}
PROGRAMS = sorted(
    str(path.relative_to(ROOT))
    for folder in ("benchmarks", "experiments")
    for path in (ROOT / folder).rglob("*.py")
    if "__main__" in path.read_text(encoding="utf-8")
)


def defined(source):
    """Flags that a file defines with argparse or absl, and those of them that come without an explanation."""
    flags, silent = [], []
    for node in ast.walk(ast.parse((ROOT / source).read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        words = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        if node.func.attr == "add_argument":
            names = [word.lstrip("-") for word in words if word.startswith("--")]
            explained = any(keyword.arg == "help" for keyword in node.keywords)
        elif node.func.attr.startswith("DEFINE_"):
            names, explained = words[:1], True
        else:
            continue
        flags += names
        silent += [] if explained else names
    return flags, silent


def help_of(command, *words):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    done = subprocess.run([sys.executable, *command, *words, "--help"], capture_output=True, text=True, env=environment)
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout + done.stderr


def check(sources, text):
    for source in sources:
        flags, silent = defined(source)
        assert not silent, f"{source} does not say what these are for"
        missing = [flag for flag in flags if not re.search(rf"--(\[no\])?{flag}\b", text)]
        assert not missing, f"not in --help, but in {source}"


@pytest.mark.parametrize("module", DOORS)
def test_doors(module):
    if module == "balle2017.train":
        pytest.importorskip("tensorflow_compression", reason=NEEDS_TENSORFLOW)
    sources, words = DOORS[module]
    check(sources, "\n".join(help_of(["-m", module], *of_command) for of_command in words))


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
def test_programs(program):
    text = help_of([str(ROOT / program)])
    check([program], text)
    if "kodak.define_flags" in (ROOT / program).read_text(encoding="utf-8"):
        assert all(f"--{flag}:" in text for flag in ("images", "models_dir", "results", "out"))
