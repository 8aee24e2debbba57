"""The runtime without TensorFlow: what it imports, and that it agrees on the models that ship."""

import os
import pathlib
import shutil
import subprocess
import sys
import threading

import numpy as np
from PIL import Image
import pytest

from balle2017 import codec, tfci
from balle2017.codec.onnx_runtime import OnnxRuntime
from balle2017.container import bitstream
import balle2017.pillow  # noqa: F401 (it registers)
from helpers.pictures import photograph
from helpers.requirements import needs_tensorflow

ROOT = pathlib.Path(codec.__file__).parents[2]
KODAK = ROOT.parent / "shared" / "images" / "kodak"
EXAMPLE = ROOT / "examples" / "kodak-23.png"

# What other packages do on Linux is their affair, so they are imported before; but for their own
# names, nothing of what is missing on Windows, or without TensorFlow, may be asked for then.
PROGRAM = """
import builtins, concurrent.futures, importlib, os, pathlib, signal, sys, tempfile
import fastcrc, numpy, onnxruntime, PIL.Image, PIL.ImageCms, pyvips, tqdm
PIL.Image.init()

MISSING = ("tensorflow", "tensorflow_compression", "tensorflow_probability", "onnx", "scipy", "matplotlib", "absl",
           "fcntl", "grp", "posix", "pwd", "resource", "termios", "tty", "pty", "syslog")
for name in MISSING:
    if name != "posix":
        sys.modules[name] = None
for name in ("fork", "forkpty", "getuid", "geteuid", "getgid", "getegid", "setsid", "mkfifo", "sched_getaffinity",
             "sched_setaffinity", "sysconf", "uname", "wait3", "killpg", "nice", "openpty", "register_at_fork"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGKILL", "SIGALRM", "SIGHUP", "SIGPIPE", "SIGUSR1", "alarm", "setitimer"):
    delattr(signal, name)
opened = builtins.open

def open_what_is_there(path, *args, **options):
    assert not str(path).startswith(("/proc", "/dev", "/sys", "/etc")), path
    return opened(path, *args, **options)

builtins.open = open_what_is_there

import balle2017.pillow
from balle2017 import tfci
effort = ("refine", "fidelity", "latent_rate", "size_search")
for path in sorted(pathlib.Path(balle2017.__file__).parent.glob("c*/*.py")):
    if path.stem not in (*effort, "container_graph", "pipeline", "serving_client", "__init__"):
        importlib.import_module(".".join(path.with_suffix("").parts[-3:]))
for arguments in (
    ["compress", "tiny-1", "a.png", "a.tfci", "--verbose"],
    ["decompress", "a.tfci", "b.png"],
    ["compress", "tiny-1", "a.png", "b.png", "--out", "files"],
    ["decompress", "files", "--out", "pictures"],
    ["models"],
):
    assert tfci.main(arguments) == 0, arguments
assert tfci.main(["compress", "tiny-1", "a.png", "c.tfci", "--effort", "1"]) == 2
assert not [name for name in MISSING[:-10] if sys.modules.get(name)]
"""


def test_the_light_path_asks_for_nothing_that_is_not_everywhere(tiny_models_dir, tmp_path):
    Image.fromarray(photograph(40, 50)).save(tmp_path / "a.png")
    variables = {"PYTHONPATH": str(ROOT), "BALLE2017_MODELS": str(tiny_models_dir)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, env={**os.environ, **variables}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "effort above 0 needs TensorFlow" in done.stderr
    assert {Image.open(path).size for path in (tmp_path / "pictures").iterdir()} == {(50, 40)}


def test_the_tests_can_be_collected_without_tensorflow():
    program = (
        "import pytest, sys; sys.modules.update(dict.fromkeys(sys.argv[1:]));"
        "sys.exit(pytest.main(['-q', '--collect-only', '-p', 'no:cacheprovider', 'tests']))"
    )
    missing = ["tensorflow", "tensorflow_compression", "tensorflow_probability", "tensorflow_serving"]
    done = subprocess.run([sys.executable, "-c", program, *missing], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_a_target_without_tensorflow_takes_the_nearest_model(tiny_models_dir, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    monkeypatch.setenv("BALLE2017_MODELS", str(tiny_models_dir))
    monkeypatch.chdir(tmp_path)
    pixels = photograph(40, 50)
    Image.fromarray(pixels).save("a.png")
    nearest = codec.load("tiny-1", runtime="onnx").compress(pixels)
    target = ["compress", "--target_bpp", "0.01", "tiny"]
    assert tfci.main([*target, "a.png", "a.tfci"]) == tfci.main([*target, "a.png", "--out", "files"]) == 0
    assert capsys.readouterr().err.count("an --effort above 0, for which TensorFlow is needed, finds rates") == 2
    Image.fromarray(pixels).save("b.tfci", model="tiny", target_bpp=0.01)
    for path in ("a.tfci", "b.tfci", "files/a.png.tfci"):
        assert pathlib.Path(path).read_bytes() == nearest


def test_an_effort_without_tensorflow_is_refused_before_anything_is_done(
    tiny_models_dir, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    monkeypatch.setenv("BALLE2017_MODELS", str(tiny_models_dir))
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.png"):
        Image.fromarray(photograph(40, 50)).save(name)
    for args in (["tiny-1"], ["tiny", "--target_bpp", "1"]):
        assert tfci.main(["compress", *args, "a.png", "b.png", "--out", "files", "--effort", "2"]) == 2
        err = capsys.readouterr().err
        assert err.startswith("balle2017: An effort above 0 needs TensorFlow") and err.count("\n") == 1
    assert sorted(os.listdir()) == ["a.png", "b.png"]


def agree(name, path):
    """Checks that both runtimes decode the other's files, to the same latents, and code these to the same slices."""
    pixels = np.asarray(Image.open(path).convert("RGB"))
    models = [codec.load(name, runtime=runtime) for runtime in ("tensorflow", "onnx")]
    files = [model.compress(pixels) for model in models]
    # Where the transforms round alike, what is true of one file is true of the other.
    for model, data in zip(models, files[: len(set(files))]):
        contents = bitstream.unpack(data)
        latents = [other.decode_latents(contents) for other in models]
        np.testing.assert_array_equal(*latents)
        height, width, _ = pixels.shape
        decoded = [other.runtime.synthesize(latents[0])[:height, :width].astype(int) for other in models]
        assert np.abs(decoded[0] - decoded[1]).max() <= 1
        if len(set(files)) > 1:
            (other,) = (other for other in models if other is not model)
            assert other.runtime.encode_slices(latents[0].reshape(-1, model.num_latents)) == contents.slices


@needs_tensorflow
def test_a_model_that_ships_agrees():
    agree("bls2017-mse-4", EXAMPLE)


@needs_tensorflow
@pytest.mark.slow
@pytest.mark.parametrize("name", [info["name"] for info in codec.list_models()])
def test_all_models_that_ship_agree_on_kodak(name):
    if not KODAK.exists():
        pytest.skip(f"the Kodak images are not in {KODAK}")
    for path in sorted(KODAK.glob("*.png")):
        agree(name, path)


def test_a_model_that_ships_without_tensorflow():
    pixels = np.asarray(Image.open(EXAMPLE).convert("RGB"))
    data = codec.load("bls2017-mse-4", runtime="onnx").compress(pixels)
    decoded = codec.decompress(data, runtime="onnx").pixels
    assert 8 * len(data) / (pixels.shape[0] * pixels.shape[1]) < 0.4
    assert np.mean(np.square(decoded - pixels.astype(float))) < 30


def test_a_picture_there_and_back_imports_nothing_that_it_does_not_need(tiny_models_dir, tmp_path):
    Image.fromarray(photograph(40, 50)).save(tmp_path / "a.png")
    program = (
        "import sys; from balle2017 import tfci;"
        "assert tfci.main(['compress', 'tiny-1', 'a.png', 'a.tfci', '--runtime', 'onnx']) == 0;"
        "assert tfci.main(['decompress', 'a.tfci', 'b.png', '--runtime', 'onnx']) == 0;"
        "print(*{'email', 'http', 'importlib.metadata', 'pyvips', 'tensorflow', 'tqdm', 'xml', 'PIL.TiffImagePlugin'}"
        ".intersection(sys.modules))"
    )
    variables = {"PYTHONPATH": str(ROOT), "BALLE2017_MODELS": str(tiny_models_dir)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env={**os.environ, **variables}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


@pytest.fixture
def opened(monkeypatch):
    """The halves whose graphs are opened."""
    halves, open_graph = [], OnnxRuntime._open
    monkeypatch.setattr(OnnxRuntime, "_open", lambda *args: halves.append(args[1]) or open_graph(*args))
    return halves


def test_latents_alone_need_no_graph(tiny_models_dir, opened):
    data = codec.Model(tiny_models_dir / "tiny-1", runtime="onnx").compress(photograph(40, 50))
    model = codec.Model(tiny_models_dir / "tiny-1", runtime="onnx")
    assert opened == ["encoder"]
    assert model.decode_latents(bitstream.unpack(data)).shape == (3, 4, model.num_latents)
    assert opened == ["encoder"]


def test_a_graph_that_cannot_be_opened_is_asked_for_ahead_once(tiny_models_dir, tmp_path, opened, monkeypatch):
    monkeypatch.setattr("balle2017.codec.tiling.CODER_POSITIONS", 1)
    whole = codec.load("tiny-1", tiny_models_dir, runtime="onnx")
    contents = bitstream.unpack(whole.compress(photograph(40, 50)))
    assert contents.num_slices > 1
    shutil.copytree(tiny_models_dir / "tiny-1", tmp_path / "tiny-1")
    (tmp_path / "tiny-1" / "decoder" / "1" / "synthesis.onnx").write_bytes(b"no graph")
    damaged = codec.load("tiny-1", tmp_path, runtime="onnx")
    del opened[:]
    with pytest.raises(codec.ModelError, match="decoder of tiny-1 cannot be loaded"):
        damaged.decode(contents)
    assert opened == ["decoder"] * 2
    np.testing.assert_array_equal(damaged.decode_latents(contents), whole.decode_latents(contents))


def test_where_no_thread_can_be_started_pictures_are_decoded_all_the_same(tiny_models_dir, monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    contents = bitstream.unpack(codec.load("tiny-1", tiny_models_dir, runtime="onnx").compress(photograph(40, 50)))
    expected = codec.Model(tiny_models_dir / "tiny-1", runtime="onnx").decode(contents)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    decoded = codec.Model(tiny_models_dir / "tiny-1", runtime="onnx").decode(contents)
    np.testing.assert_array_equal(decoded, expected)


@pytest.mark.parametrize("side", [8, 1000], ids=["several tiles", "one tile"])
def test_a_thread_that_outlives_the_main_one_decodes(tiny_models_dir, tmp_path, side):
    model = codec.load("tiny-1", tiny_models_dir, runtime="onnx")
    (tmp_path / "a.tfci").write_bytes(model.compress(photograph(200, 300)))
    program = (
        "import pathlib, sys, threading\nfrom balle2017 import codec\nfrom balle2017.codec import tiling\n"
        "tiling._TILE_SIDE = int(sys.argv[2])\n"
        "data, main = pathlib.Path('a.tfci').read_bytes(), threading.main_thread()\n"
        "def decode():\n"
        "    while main.is_alive():\n"
        "        pass\n"
        "    print(*codec.decompress(data, sys.argv[1], runtime='onnx').pixels.shape)\n"
        "threading.Thread(target=decode).start()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tiny_models_dir), str(side)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["200", "300", "3"], done.stderr
