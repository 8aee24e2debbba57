"""Every program ends alike when its user ends it: one sentence, status 130, no traceback."""

import os
import pathlib
import signal
import subprocess
import sys

import pytest

from balle2017.commands import ending
from helpers.requirements import NEEDS_TENSORFLOW

ROOT = pathlib.Path(__file__).parents[1]
# Interrupts a program where it begins to work, and not before.
PROGRAM = """
import importlib, runpy, sys
def interrupt(*args, **named):
    raise KeyboardInterrupt
owner, name = sys.argv[2:]
module, _, inner = owner.partition(":")
found = importlib.import_module(module)
setattr(getattr(found, inner) if inner else found, name, interrupt)
module, sys.argv[1:] = sys.argv[1], []
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


def test_an_import_that_was_interrupted_is_an_interruption(capsys, monkeypatch):
    def main():
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as interruption:
            raise ImportError("initialization failed") from interruption

    def missing():
        raise ImportError("no such module")

    monkeypatch.setattr(os, "_exit", sys.exit)
    monkeypatch.setattr(signal, "signal", lambda *handler: None)
    with pytest.raises(SystemExit) as ended:
        ending.run(main)
    assert ended.value.code == 130 and capsys.readouterr().err == "balle2017: interrupted\n"
    with pytest.raises(ImportError):
        ending.run(missing)


@pytest.mark.parametrize("module", ["balle2017", "client", "export", "beam", "evaluate", "train"])
def test_interrupted_programs_say_so(module):
    where = ["argparse:ArgumentParser", "parse_known_args"]
    if module == "train":
        pytest.importorskip("tensorflow_compression", reason=NEEDS_TENSORFLOW)
        where = ["absl.app", "run"]
    program = module if module == "balle2017" else f"balle2017.{module}"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, program, *where],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 130, done.stderr
    assert done.stderr == f"{'balle2017' if module == 'client' else program}: interrupted\n"
