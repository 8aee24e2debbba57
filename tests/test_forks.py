"""Forked processes: what would hang in them says so, and what would not works."""

import multiprocessing
import os
import subprocess
import sys

import numpy as np
import pytest

from balle2017 import codec
from balle2017.codec.forks import ForkError
from balle2017.pictures import images, streamed
from helpers.pictures import photograph
from helpers.requirements import needs_tensorflow

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="Nothing forks here.")
FORK = multiprocessing.get_context("fork") if hasattr(os, "fork") else None
# Seconds after which a process has not only been slow.
PATIENCE = 300


def compressed(folder, runtime):
    return codec.load("tiny-1", folder, runtime=runtime).compress(photograph(30, 40))


def decompressed(folder, runtime, data):
    return codec.decompress(data, folder, runtime=runtime).pixels


@needs_tensorflow
def test_a_child_that_would_hang_says_so(tiny_models_dir):
    arguments = str(tiny_models_dir), "tensorflow"
    data = compressed(*arguments)
    with FORK.Pool(1) as pool:
        for function, more in ((compressed, ()), (decompressed, (data,))):
            with pytest.raises(ForkError, match="spawn"):
                pool.apply_async(function, (*arguments, *more)).get(PATIENCE)
    assert compressed(*arguments) == data


def test_the_light_runtime_works_in_children(tiny_models_dir):
    pytest.importorskip("onnxruntime")
    arguments = str(tiny_models_dir), "onnx"
    data = compressed(*arguments)
    pixels = decompressed(*arguments, data)
    with FORK.Pool(2) as pool:
        files = [pool.apply_async(compressed, arguments) for _ in range(4)]
        assert [file.get(PATIENCE) for file in files] == 4 * [data]
        np.testing.assert_array_equal(pool.apply_async(decompressed, (*arguments, data)).get(PATIENCE), pixels)
        # A child's child.
        assert pool.apply_async(compressed_by_a_child, arguments).get(PATIENCE) == data
    assert compressed(*arguments) == data


def compressed_by_a_child(*arguments):
    compressed(*arguments)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, compressed(*arguments))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    return os.read(reader, 2**16)


def read(path):
    streamed.LARGE_PIXELS = 100
    picture = streamed.read(path) or images.read(path)
    return type(picture.pixels).__name__, np.asarray(picture.pixels[:])


def test_pictures_are_read_on_both_sides_of_a_fork(tmp_path, monkeypatch):
    monkeypatch.setattr(streamed, "LARGE_PIXELS", 100)
    path = str(tmp_path / "a.png")
    with open(path, "wb") as file:
        images.write(file, photograph(200, 300))
    kind, pixels = read(path)
    with FORK.Pool(1) as pool:
        other_kind, others = pool.apply_async(read, (path,)).get(PATIENCE)
    assert kind == other_kind == "StreamedPixels"
    np.testing.assert_array_equal(others, pixels)


PROGRAM = """
import multiprocessing, sys
from test_forks import compressed

if __name__ == "__main__":
    arguments = sys.argv[1], "tensorflow"
    with multiprocessing.get_context("fork").Pool(1) as pool:
        before = pool.apply(compressed, arguments)
    data = compressed(*arguments)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(compressed, arguments) == data == before
"""


@pytest.mark.slow
@needs_tensorflow
def test_forks_before_the_first_use_and_spawned_processes_work(tiny_models_dir, tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    tests = os.path.dirname(__file__)
    paths = os.pathsep.join([os.path.dirname(tests), tests])
    command = [sys.executable, str(tmp_path / "program.py"), str(tiny_models_dir)]
    subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, check=True, timeout=4 * PATIENCE)
