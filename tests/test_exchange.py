"""A model that is exported again: the old one or the new one is there at every moment."""

import os
import pathlib
import subprocess
import sys

import pytest

from balle2017.files.exchange import exchange
from balle2017.saved_model import folder

REPLACE = """
import itertools, sys
from balle2017.saved_model import folder
for number in itertools.count():
    with folder.replacing(sys.argv[1]) as temporary:
        for name in ("a", "b"):
            with open(f"{temporary}/{name}", "w") as file:
                file.write(str(number))
    print(number, flush=True)
"""


def contents(path):
    return {file.name: file.read_text() for file in path.iterdir()}


@pytest.fixture
def can_exchange(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    if not exchange(tmp_path / "one", tmp_path / "other"):
        pytest.skip("this system cannot exchange folders")


def test_two_folders_take_each_other_s_place(tmp_path, can_exchange):
    (tmp_path / "one" / "of one").touch()
    assert exchange(tmp_path / "one", tmp_path / "other")
    assert os.listdir(tmp_path / "other") == ["of one"] and os.listdir(tmp_path / "one") == []
    with pytest.raises(FileNotFoundError) as error:
        exchange(tmp_path / "one", tmp_path / "missing")
    assert error.value.filename == str(tmp_path / "missing")


def test_there_is_a_whole_model_whenever_the_process_is_killed(tmp_path, can_exchange):
    path = tmp_path / "model"
    for _ in range(3):
        command = [sys.executable, "-c", REPLACE, str(path)]
        root = pathlib.Path(folder.__file__).parents[2]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as process:
            try:
                assert process.stdout.readline() == "0\n"
                assert all(path.is_dir() for _ in range(20000))
                # It goes on all the while.
                assert process.stdout.readline() == "1\n"
            finally:
                process.kill()
        found = contents(path)
        assert found.keys() == {"a", "b"} and len(set(found.values())) == 1


def test_where_folders_cannot_be_exchanged(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "exchange", lambda one, other: False)
    for text in ("first", "second"):
        with folder.replacing(tmp_path / "model") as temporary:
            (pathlib.Path(temporary) / "a").write_text(text)
        assert contents(tmp_path / "model") == {"a": text} and os.listdir(tmp_path) == ["model"]
