"""The command line: any order, what was meant, and what files are called."""

import functools
import io
import os
import pathlib
import socket
import subprocess
import sys
import threading

from PIL import Image
import pytest

import balle2017
from balle2017 import codec, tfci
from balle2017.commands import folders, names, sizes
from balle2017.container import bitstream
from helpers.commands import ROOT, command, fails, listing, workplace  # noqa: F401 (a fixture)
from helpers.pictures import photograph
from helpers.requirements import needs_tensorflow


def test_version(capsys):
    with pytest.raises(SystemExit) as end:
        tfci.main(["--version"])
    assert end.value.code == 0 and capsys.readouterr().out == f"balle2017 {balle2017.__version__}\n"


@pytest.mark.parametrize("module", ["tfci", "client", "beam", "evaluate", "export"])
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_every_program_has_help(module, flag):
    done = subprocess.run(
        [sys.executable, "-m", f"balle2017.{module}", flag],
        env={**os.environ, "PYTHONPATH": ROOT},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and done.stdout.startswith("usage: ") and done.stderr == ""


@pytest.mark.parametrize(
    "words",
    [
        "tiny-1 photo.png --keep_metadata out.tfci",
        "--keep_metadata tiny-1 photo.png out.tfci",
        "tiny-1 --keep_metadata photo.png out.tfci",
        "tiny-1 photo.png out.tfci --keep_metadata",
        "tiny-1 photo.png --effort 0 out.tfci --max_pixels 9999",
        "tiny-1 photo.png --effort=0 -- out.tfci",
    ],
)
def test_options_stand_anywhere(words):
    assert tfci.main(["compress", *words.split()]) == 0
    assert listing() == ["out.tfci", "photo.png"]


def test_options_stand_anywhere_with_decompress_and_folders():
    assert tfci.main(["compress", "tiny-1", "--out", "out", "photo.png", "--jobs", "1"]) == 0
    assert tfci.main(["decompress", "out/photo.png.tfci", "--salvage", "back.png"]) == 0
    assert tfci.main(["decompress", "--out", "a", "out", "--jobs", "1", "out/photo.png.tfci"]) == 0
    assert listing("a") == ["photo.png"]


def test_a_name_that_begins_with_a_dash():
    os.rename("photo.png", "-photo.png")
    assert tfci.main(["compress", "--effort", "0", "tiny-1", "--", "-photo.png", "-a.tfci"]) == 0
    assert listing() == ["-a.tfci", "-photo.png"]


@pytest.mark.parametrize(
    "words, meant",
    [
        ("compress tiny-1 photo.png --overwite", "--overwrite"),
        ("compress tiny-1 photo.png --target-bpp=1", "--target_bpp"),
        ("decompress a.tfci --salvge", "--salvage"),
        ("models --model_dirs .", "--models_dir"),
        ("info a.tfci --jsn", "--json"),
    ],
)
def test_a_misspelt_option_is_answered_with_the_nearest(words, meant, capsys):
    with pytest.raises(SystemExit) as end:
        tfci.main(words.split())
    assert end.value.code == 2 and f"(did you mean {meant}?)" in capsys.readouterr().err


@needs_tensorflow
def test_the_other_programs_have_any_order_and_hints_too(client, capsys):
    from balle2017 import evaluate, export

    assert client("compress", "photo.png", "--overwrite", "a.tfci") == (0, ["bls2017-mse-4-encoder"])
    assert listing() == ["a.tfci", "photo.png"]
    assert export.main(["nothing", "--runtime", "tfc", "out"]) == 1
    capsys.readouterr()
    for main, words, meant in [
        (client, ["compress", "--overwrit", "--overwite", "photo.png"], "--overwrite"),
        (export.main, [["a", "b", "--runtme=tfc"]], "--runtime"),
        (evaluate.main, [["--images", ".", "--out", "out", "--codec_s", "jpeg"]], "--codecs"),
    ]:
        with pytest.raises(SystemExit) as end:
            main(*words)
        assert end.value.code == 2 and f"did you mean {meant}?" in capsys.readouterr().err


def test_the_model_forgotten(capsys):
    Image.fromarray(photograph(20, 20)).save("b.png")
    for args, sentence in [
        (["photo.png"], "MODEL comes first, such as tiny-1: balle2017 compress tiny-1 photo.png."),
        (["photo.png", "x.tfci"], "balle2017 compress tiny-1 photo.png x.tfci."),
        (["./photo.png", "x.tfci"], "balle2017 compress tiny-1 ./photo.png x.tfci."),
        (["photo.png", "b.png", "--out", "out"], "balle2017 compress tiny-1 photo.png b.png."),
        (["gone.jpg"], "MODEL comes first"),
        (["-"], "MODEL comes first"),
        (["photo.png", "--target_bpp", "0.5"], "compress --target_bpp 0.5 tiny photo.png."),
        (["tiny", "photo.png"], "tiny is a family: name one of tiny-1, or a rate with --target_bpp."),
        (["tiny1", "photo.png"], "did you mean tiny-1?"),
        (["--target_bpp", "1", "tiny-1", "photo.png"], "tiny-1 is one model"),
    ]:
        fails(capsys, ["compress", *args], 2, sentence)
    fails(capsys, ["decompress", "tiny-1", "a.tfci"], 2, "decompress takes no MODEL")


@needs_tensorflow
def test_lambda_is_spelt_as_in_training_too():
    for flag in ("--lambda", "--lmbda"):
        assert tfci.main(["compress", "tiny-1", "photo.png", "--effort", "1", flag, "0.02", flag[2:]]) == 0
    assert pathlib.Path("lambda").read_bytes() == pathlib.Path("lmbda").read_bytes()


def test_exit_status_3_is_named_where_it_belongs(capsys):
    for name, named in [("compress", False), ("decompress", True), ("models", False), ("info", False)]:
        with pytest.raises(SystemExit):
            tfci.main([name, "--help"])
        assert ("--salvage: decoded" in capsys.readouterr().out) == named


@pytest.mark.parametrize(
    "path, name, whole",
    [
        ("a.tfci", "a.png", "a.png"),
        ("a.jpg.tfci", "a.png", "a.jpg.png"),
        ("d.e/a.JPG.TFCI", "d.e/a.png", "d.e/a.JPG.png"),
        ("a.v2.tfci", "a.v2.png", "a.v2.png"),
        ("a", "a.png", "a.png"),
        ("a.jpg", "a.jpg.png", "a.jpg.png"),
        ("d/.jpg.tfci", "d/.jpg.png", "d/.jpg.png"),
    ],
)
def test_names_of_decompressed_files(path, name, whole):
    assert names.decompressed(path) == name and names.decompressed(path, whole=True) == whole


def test_formats_and_clashes_of_names():
    for name in ("a.png", "a.jpg", "b.jpg"):
        Image.fromarray(photograph(20, 30)).save(name)
    assert tfci.main(["compress", "tiny-1", "a.png", "a.jpg", "b.jpg", "--out", "out"]) == 0
    assert tfci.main(["decompress", "out", "--out", "back"]) == 0
    # Those that would have one name keep the longer ones.
    assert listing("back") == ["a.jpg.png", "a.png.png", "b.png"]
    for format, kind in [("jpg", "JPEG"), ("WEBP", "WEBP"), (".tif", "TIFF")]:
        assert tfci.main(["decompress", "out", "--out", f"in {format}", "--format", format]) == 0
        files = sorted(pathlib.Path(f"in {format}").iterdir())
        assert len(files) == 3 and {Image.open(file).format for file in files} == {kind}
    assert Image.open("in jpg/b.jpg").size == (30, 20)
    assert tfci.main(["decompress", "out/b.jpg.tfci", "b", "--format", "webp"]) == 0
    assert Image.open("b").format == "WEBP"
    assert tfci.main(["decompress", "--format", "bmp", "out/b.jpg.tfci"]) == 0
    assert Image.open("out/b.bmp").format == "BMP"
    done = command("decompress", "out/b.jpg.tfci", "-", "--format", "jpeg")
    assert Image.open(io.BytesIO(done.stdout)).format == "JPEG"


def test_a_format_that_nobody_writes(capsys):
    for format in ("xyz", "tfci", "pdq"):
        fails(capsys, ["decompress", "a.tfci", "--format", format], 2, "cannot be written")


def test_times_are_kept_on_request():
    os.mkdir("in")
    os.rename("photo.png", "in/photo.png")
    os.utime("in/photo.png", ns=(10**18, 10**18 + 12345))
    assert tfci.main(["compress", "tiny-1", "in", "--out", "out", "--keep_times"]) == 0
    assert tfci.main(["decompress", "out/photo.png.tfci", "back.png", "--keep_times"]) == 0
    assert tfci.main(["decompress", "out/photo.png.tfci", "now.png"]) == 0
    times = [os.stat(path).st_mtime_ns for path in ("out/photo.png.tfci", "back.png", "now.png")]
    assert times[:2] == [10**18 + 12345] * 2 and times[2] > 10**18 + 12345


@pytest.mark.parametrize(
    "count, words",
    [(0, "0 bytes"), (1, "1 byte"), (999, "999 bytes"), (1000, "1.0 kB"), (49_999, "50.0 kB"), (999_940, "999.9 kB"),
     (999_960, "1.0 MB"), (12_345_678, "12.3 MB"), (5 * 10**9, "5.0 GB")],
)  # fmt: skip
def test_sizes_in_words(count, words):
    assert sizes.size(count) == words


def test_small_sizes_are_no_0_mb(capsys):
    assert tfci.main(["compress", "tiny-1", "photo.png", "--out", "out"]) == 0
    before, after = (sizes.size(os.path.getsize(path)) for path in ("photo.png", "out/photo.png.tfci"))
    assert capsys.readouterr().out == f"1 file compressed into out, {before} to {after}.\n"


@needs_tensorflow
def test_a_rate_that_cannot_be_met_is_said(capsys):
    for args, notice in [
        (["0.01", "--effort", "0"], "bits per pixel and not 0.01: the nearest of the models, tiny-1"),
        (["0.01"], "bits per pixel and not 0.01: the nearest that tiny-1 can do"),
    ]:
        assert tfci.main(["compress", "--overwrite", "tiny", "photo.png", "a.tfci", "--target_bpp", *args]) == 0
        err = capsys.readouterr().err
        bpp = 8 * os.path.getsize("a.tfci") / (50 * 70)
        assert err.startswith(f"balle2017: photo.png: It has {bpp:.4f} ") and notice in err


def run_with_bars(*args):
    """Runs the command with bars that appear at once."""
    program = (
        "import sys; from balle2017 import tfci; from balle2017.commands import progress\n"
        "progress.DELAY = progress.INTERVAL = 0\nsys.exit(tfci.main(sys.argv[1:]))"
    )
    environment = {k: v for k, v in os.environ.items() if k != "TQDM_DISABLE"}
    return subprocess.run(
        [sys.executable, "-c", program, *args], env={**environment, "PYTHONPATH": ROOT}, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    "args, word",
    [
        (["compress", "tiny-1", "photo.png", "--effort", "2"], "14/14"),
        (["compress", "tiny", "photo.png", "--target_bpp", "1"], "tiny: "),
        (["compress", "tiny-1", "tall.png", "tall.tfci"], "2/2"),
        (["compress", "tiny-1", "photo.png", "--out", "out"], "1/1"),
        (["decompress", "photo.tfci", "again.png"], "43280/43280"),
        (["decompress", "photo.tfci", "--out", "out"], "1/1"),
    ],
)
@needs_tensorflow
def test_progress_is_on_standard_error_without_a_terminal_too(args, word):
    # Of two bands: a picture that is made in one step needs no bar.
    Image.new("RGB", (16, 43280)).save("tall.png")
    if args[0] == "decompress":
        tfci.main(["compress", "tiny-1", "tall.png", "photo.tfci"])
    done = run_with_bars(*args)
    assert done.returncode == 0 and word in done.stderr and "%" not in done.stdout


def test_what_is_done_in_one_step_has_no_bar():
    done = run_with_bars("compress", "tiny-1", "photo.png")
    assert done.returncode == 0 and done.stderr == ""


def test_completion():
    pytest.importorskip("argcomplete", reason="needs the package argcomplete")
    for line, word in [
        ("balle2017 de", "decompress"),
        ("balle2017 compress ti", "tiny-1"),
        ("balle2017 compress --target_bpp 1 t", "tiny"),
        ("balle2017 compress --over", "--overwrite"),
        ("balle2017 compress tiny-1 ph", "photo.png"),
    ]:
        environment = {
            "PYTHONPATH": ROOT,
            "_ARGCOMPLETE": "1",
            "_ARGCOMPLETE_SHELL": "bash",
            "_ARGCOMPLETE_STDOUT_FILENAME": "answer",
            "COMP_LINE": line,
            "COMP_POINT": str(len(line)),
        }
        subprocess.run([sys.executable, "-m", "balle2017"], env={**os.environ, **environment}, check=True)
        assert word in [answer.strip() for answer in pathlib.Path("answer").read_text().split("\x0b")]


def test_folders_find_each_clash():
    found = folders.find(["a.jpg.tfci", "b/a.png.tfci", "c.tfci"], {".tfci"}, "out", names.decompressed)
    assert found.files == [
        ("a.jpg.tfci", os.path.join("out", "a.jpg.png")),
        ("b/a.png.tfci", os.path.join("out", "a.png.png")),
        ("c.tfci", os.path.join("out", "c.png")),
    ]


def test_what_the_output_s_encoding_lacks_is_written_somehow(monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii:strict")
    done = command("compress", "--help")
    assert done.returncode == 0 and rb"\u03bb" in done.stdout
    pathlib.Path("b×.tfci").write_bytes(codec.load("tiny-1").compress(photograph(20, 20)))
    done = command("info", "b×.tfci")
    assert done.returncode == 0 and done.stdout.startswith(rb"b\xd7.tfci")


def test_a_limit_is_said_with_the_flag_that_raises_it(capsys):
    fails(capsys, ["compress", "tiny-1", "photo.png", "--max_pixels", "99"], 1, "; --max_pixels raises the limit.")
    pathlib.Path("a.tfci").write_bytes(codec.load("tiny-1").compress(photograph(20, 20)))
    fails(capsys, ["decompress", "a.tfci", "--max_pixels", "99"], 1, "20×20, more than 99 pixels); --max_pixels")


@pytest.mark.parametrize("folder", ["out[1]", "out*", "a?/out"])
def test_a_pipeline_writes_to_no_pattern(folder, capsys):
    from balle2017 import beam

    assert beam.main(["decompress", "--input", "*.tfci", "--output", folder]) == 2
    assert f"balle2017.beam: The folder {folder} has one of" in capsys.readouterr().err
    assert listing() == ["photo.png"]


@pytest.fixture
def client(monkeypatch):
    """The client's command, with a server that answers every request in its way."""
    from balle2017 import client
    from balle2017.commands import serving_client

    requests = []

    def predict(server, servable, inputs):
        requests.append(servable)
        return {"": [bitstream.MAGIC + b"new" if servable.endswith("encoder") else b"new picture"]}

    monkeypatch.setattr(serving_client, "predict_rest", predict)

    def run(*words):
        requests.clear()
        return client.main([words[0], "--rest", "--server", "there:1", *words[1:]]), list(requests)

    return run


def test_the_client_overwrites_nothing_unasked(client, capsys):
    photo = pathlib.Path("photo.png").read_bytes()
    pathlib.Path("other.png").write_bytes(photo)
    pathlib.Path("text.txt").write_text("text")
    data = codec.load("tiny-1").compress(photograph(20, 20))
    pathlib.Path("a.tfci").write_bytes(data)
    pathlib.Path("photo.png.tfci").write_bytes(data)
    os.mkdir("folder")
    before = {name: pathlib.Path(name).read_bytes() for name in listing()}
    for words, status, sentence in [
        (["compress", "photo.png", "photo.png"], 2, "same file"),
        (["compress", "photo.png", "other.png"], 2, "named as a picture"),
        (["compress", "--overwrite", "photo.png", "other.png"], 2, "named as a picture"),
        (["compress", "photo.png", "text.txt"], 2, "text.txt exists and is no .tfci file"),
        (["compress", "photo.png", "folder"], 2, "folder is a folder."),
        (["compress", "folder"], 2, "folder is a folder."),
        (["compress", "photo.png", "nowhere/a.tfci"], 2, "no folder nowhere"),
        (["compress", "photo.png", "a.tfci"], 0, "Skipped, as a.tfci exists; --overwrite replaces it."),
        (["compress", "photo.png"], 0, "Skipped, as photo.png.tfci exists"),
        (["decompress", "photo.png.tfci"], 0, "Skipped, as photo.png exists"),
        (["decompress", "a.tfci", "a.tfci"], 2, "same file"),
        (["decompress", "a.tfci", "photo.png.tfci"], 2, "photo.png.tfci exists and is a .tfci file itself"),
        (["decompress", "a.tfci", "a.jpg"], 2, "sends PNG files"),
        (["compress", "gone.png"], 1, "gone.png: No such file or directory."),
    ]:
        assert client(*words) == (status, [])
        out, err = capsys.readouterr()
        assert out == "" and sentence in err and err.count("\n") == 1 and "--out" not in err
        assert {name: pathlib.Path(name).read_bytes() for name in listing()} == before
    assert client("compress", "--overwrite", "photo.png", "a.tfci") == (0, ["bls2017-mse-4-encoder"])
    assert pathlib.Path("a.tfci").read_bytes() == bitstream.MAGIC + b"new"
    assert client("decompress", "--overwrite", "photo.png.tfci") == (0, ["tiny-1-decoder"])
    assert pathlib.Path("photo.png").read_bytes() == b"new picture"


@pytest.mark.parametrize(
    "extra, package, words",
    [
        ("beam", "apache_beam", ["balle2017.beam", "decompress", "--input", "a", "--output", "b"]),
        ("evaluate", "bjontegaard", ["balle2017.evaluate", "--images", ".", "--out", "out"]),
        ("train", "absl", ["balle2017.train", "--steps=1"]),
    ],
)
def test_a_package_that_is_not_installed_is_named(extra, package, words):
    program = (
        f"import runpy, sys; sys.path.insert(0, {ROOT!r}); sys.modules[sys.argv[1]] = None; sys.argv[:2] = []; "
        "runpy.run_module(sys.argv[0], run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", program, package, *words], capture_output=True)
    assert done.returncode == 2 and done.stderr.decode().count("\n") == 1, done.stderr
    assert f"needs the package {package}" in done.stderr.decode() and f"'balle2017[{extra}]'" in done.stderr.decode()


def http_answer(body):
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


@pytest.mark.parametrize(
    "answer, words",
    [
        (b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\r\n", "There is no TensorFlow Serving at "),
        (http_answer(b"[]"), "There is no TensorFlow Serving at "),
        (http_answer(b"no JSON"), "There is no TensorFlow Serving at "),
        (http_answer(b'{"outputs": null}'), "answers with something else than files"),
        (http_answer(b'{"outputs": ["text"]}'), "answers with something else than files"),
        (None, "has not answered in 0.5 seconds"),
    ],
)
def test_the_client_names_servers_of_another_kind(answer, words, monkeypatch, capsys):
    from balle2017 import client
    from balle2017.commands import serving_client

    monkeypatch.setattr(serving_client, "predict_rest", functools.partial(serving_client.predict_rest, timeout=0.5))
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            connection, _ = server.accept()
            with connection:
                while answer is not None and b"signature_name" not in connection.recv(2**16):
                    pass
                connection.sendall(answer or b"")
                # Until the client has seen enough.
                while connection.recv(2**16):
                    pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        there = f"127.0.0.1:{server.getsockname()[1]}"
        fails_by(capsys, client.main, ["compress", "--rest", "--server", there, "photo.png"], words)
    there = "127.0.0.1:no"
    fails_by(capsys, client.main, ["compress", "--rest", "--server", there, "photo.png"], "no TensorFlow Serving")


def fails_by(capsys, main, args, words):
    capsys.readouterr()
    before = listing()
    assert main(args) == 1
    err = capsys.readouterr().err
    assert words in err and err.count("\n") == 1 and listing() == before
