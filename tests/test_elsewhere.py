"""The stock pair outside of this environment: the loader of servers, and the newest TensorFlow."""

import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from helpers.exports import PNGS, Pair, run_elsewhere

TESTS = pathlib.Path(__file__).parent
MODELS = TESTS.parent / "saved_models"
KODAK = TESTS.parent.parent / "shared" / "images" / "kodak"
NEWEST = "tensorflow-cpu==2.21.0"

pytestmark = pytest.mark.slow


def tensor_names(directory):
    """Names of input and output of `serving_default`."""
    from tensorflow.python.saved_model import loader_impl

    (meta_graph,) = loader_impl.parse_saved_model(str(directory)).meta_graphs
    signature = meta_graph.signature_def["serving_default"]
    (source,), (target,) = signature.inputs.values(), signature.outputs.values()
    return source.name, target.name


@pytest.fixture(scope="module")
def run_c(tmp_path_factory):
    """The compiled program, as a function of its arguments."""
    compiler = shutil.which("cc") or pytest.skip("needs a C compiler")
    program = tmp_path_factory.mktemp("c") / "run_pair"
    library = tf.sysconfig.get_lib()
    subprocess.run(
        [
            compiler,
            "-O1",
            "-Wall",
            "-Werror",
            f"-I{tf.sysconfig.get_include()}",
            str(TESTS / "run_pair.c"),
            "-o",
            str(program),
            f"-L{library}",
            "-l:libtensorflow_cc.so.2",
            "-l:libtensorflow_framework.so.2",
            f"-Wl,-rpath,{library}",
            "-Wl,--allow-shlib-undefined",
        ],
        check=True,
    )

    def run(*arguments):
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, env=environment)

    return run


def test_c_program(run_c, tiny_stock_dir, tmp_path):
    encoder, decoder = (tiny_stock_dir / "tiny-1" / part / "1" for part in ("encoder", "decoder"))
    pair = Pair(tiny_stock_dir / "tiny-1")
    for png in PNGS[1::2]:
        (tmp_path / "in.png").write_bytes(png)
        paths = tmp_path / "in.png", tmp_path / "out.tfci"
        result = run_c(encoder, *tensor_names(encoder), *paths)
        assert result.returncode == 0, result.stderr
        (file,) = pair.compress([png])
        assert paths[1].read_bytes() == file
        result = run_c(decoder, *tensor_names(decoder), paths[1], tmp_path / "out.png")
        assert result.returncode == 0, result.stderr
        assert [(tmp_path / "out.png").read_bytes()] == pair.decompress([file])
    (tmp_path / "out.tfci").write_bytes(file[:-1])
    result = run_c(decoder, *tensor_names(decoder), tmp_path / "out.tfci", tmp_path / "not.png")
    assert result.returncode == 1 and not (tmp_path / "not.png").exists()
    # 3 is INVALID_ARGUMENT.
    assert result.stderr.startswith("3: ") and "damaged or cut off" in result.stderr


@pytest.fixture(scope="module")
def newest_python(tmp_path_factory):
    """A Python that has the newest TensorFlow; BALLE2017_NEWEST_PYTHON names one that is there."""
    if "BALLE2017_NEWEST_PYTHON" in os.environ:
        return os.environ["BALLE2017_NEWEST_PYTHON"]
    folder = tmp_path_factory.mktemp("newest")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = str(folder / "bin" / "python")
    install = [python, "-m", "pip", "install", "--quiet", NEWEST]
    result = subprocess.run(install, capture_output=True, text=True)
    if result.returncode:
        pytest.skip(f"{NEWEST} could not be installed: {result.stderr.strip().splitlines()[-1]}")
    return python


def check_newest(python, directory, pngs, folder):
    pair = Pair(directory)
    files = pair.compress(pngs)
    out = run_elsewhere(python, directory, pngs, files, folder)
    assert str(out["version"]).startswith("2.21")
    pixels = [tf.io.decode_png(png)[tf.newaxis] for png in pngs]
    latents = [pair.encoder["latents"](pixels=p)["latents"].numpy().ravel() for p in pixels]
    # Other kernels may round a latent the other way.
    assert np.mean(np.concatenate(latents) != out["latents"]) < 1e-4
    for ours, theirs in zip(pair.decompress(files), out["images"]):
        difference = tf.io.decode_png(ours).numpy().astype(int) - tf.io.decode_png(theirs).numpy()
        assert np.abs(difference).max() <= 1


def test_newest_tensorflow(newest_python, tiny_stock_dir, tmp_path):
    check_newest(newest_python, tiny_stock_dir / "tiny-1", PNGS, tmp_path)


@pytest.fixture(scope="module", params=["bls2017-mse-1", "bls2017-mse-4", "bls2017-mse-8"])
def trained(request, tmp_path_factory):
    """Folders of a trained rate point, of the tfc and the stock runtime."""
    from balle2017.saved_model.reading import load_rate_point
    from balle2017.saved_model.writing import export

    directory = MODELS / request.param
    if not directory.exists():
        pytest.skip(f"{request.param} is not there")
    out = tmp_path_factory.mktemp("stock") / request.param
    export(load_rate_point(directory), out, "stock")
    return directory, out


@pytest.fixture(scope="module")
def kodak():
    if not KODAK.exists():
        pytest.skip(f"the Kodak images are not in {KODAK}")
    return [path.read_bytes() for path in sorted(KODAK.glob("*.png"))]


def large():
    rows, columns = np.mgrid[:1500, :2000]
    wave = np.stack([rows / 5, columns / 7, (rows + columns) / 11], -1)
    return tf.io.encode_png(np.uint8(127 + 60 * np.sin(wave))).numpy()


def test_trained_pairs_agree_bit_for_bit(trained, kodak):
    tfc, stock = map(Pair, trained)
    for png in [*kodak, *PNGS, large()]:
        files = tfc.compress([png])
        assert stock.compress([png]) == files
        assert stock.decompress(files) == tfc.decompress(files)


def test_trained_pair_in_newest_tensorflow(trained, kodak, newest_python, tmp_path):
    check_newest(newest_python, trained[1], kodak[:4], tmp_path)
