"""The commands: what they write, what they say, and what they leave behind."""

import io
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
from PIL import Image
import pytest

from balle2017 import tfci
from balle2017.container import bitstream
from balle2017.files import writing
from helpers.commands import ROOT, command, fails, listing, workplace  # noqa: F401 (a fixture)
from helpers.pictures import DISPLAY_P3, photograph
from helpers.rate_points import copy_export
from helpers.requirements import needs_tensorflow


def test_round_trip_with_default_names(capsys):
    assert tfci.main(["compress", "tiny-1", "photo.png"]) == 0
    os.rename("photo.png", "original.png")
    assert tfci.main(["decompress", "photo.png.tfci"]) == 0
    assert listing() == ["original.png", "photo.png", "photo.png.tfci"]
    assert Image.open("photo.png").size == (70, 50)
    assert capsys.readouterr() == ("", "")
    # Results are ordinary files.
    assert os.stat("photo.png.tfci").st_mode == os.stat("photo.png").st_mode


def test_output_s_extension_says_the_format():
    tfci.main(["compress", "tiny-1", "photo.png", "a.tfci"])
    for name, format in [("a.jpg", "JPEG"), ("a.webp", "WEBP"), ("a.TIF", "TIFF")]:
        assert tfci.main(["decompress", "a.tfci", name]) == 0
        assert Image.open(name).format == format


def test_verbose_prints_what_the_file_is(capsys):
    Image.fromarray(photograph(200, 180)).save("large.png")
    assert tfci.main(["compress", "--verbose", "tiny-1", "large.png"]) == 0
    out = capsys.readouterr().out
    size = os.path.getsize("large.png.tfci")
    assert f"{size} bytes" in out and f"{8 * size / 36000:.4f}" in out
    assert "PSNR" in out and "MS-SSIM" in out
    assert tfci.main(["compress", "--verbose", "tiny-1", "photo.png"]) == 0
    assert "MS-SSIM  not defined" in capsys.readouterr().out


def test_notices_are_shown(capsys):
    Image.new("RGBA", (20, 20), (255, 0, 0, 100)).save("clear.png")
    assert tfci.main(["compress", "tiny-1", "clear.png"]) == 0
    assert capsys.readouterr().err == ("balle2017: clear.png: Its transparent parts are now white.\n")


def test_a_profile_that_could_be_kept_is_said_to_be(capsys):
    Image.fromarray(photograph(20, 20)).save("wide.png", icc_profile=DISPLAY_P3)
    assert tfci.main(["compress", "tiny-1", "wide.png"]) == 0
    assert capsys.readouterr().err.endswith(" are converted to sRGB; --keep_metadata keeps them.\n")
    assert tfci.main(["compress", "--keep_metadata", "--overwrite", "tiny-1", "wide.png"]) == 0
    assert capsys.readouterr().err == ""


def test_metadata_survive_on_request():
    exif = Image.Exif()
    exif[0x0110] = "a camera"
    exif.get_ifd(0x8825).update({1: "N", 2: (43.0, 36.0, 0.0)})
    Image.fromarray(photograph(50, 70)).save("photo.jpg", exif=exif)
    for flags, camera, position in [
        ([], None, {}),
        (["--keep_metadata"], "a camera", {}),
        (["--keep_gps"], "a camera", {1: "N", 2: (43.0, 36.0, 0.0)}),
    ]:
        assert tfci.main(["compress", *flags, "--overwrite", "tiny-1", "photo.jpg"]) == 0
        assert tfci.main(["decompress", "--overwrite", "photo.jpg.tfci", "again.jpg"]) == 0
        exif = Image.open("again.jpg").getexif()
        assert exif.get(0x0110) == camera and exif.get_ifd(0x8825) == position


@needs_tensorflow
def test_target_bpp(capsys):
    assert tfci.main(["compress", "--target_bpp", "1", "tiny", "photo.png", "a.tfci"]) == 0
    assert bitstream.unpack(open("a.tfci", "rb").read()).model == "tiny-1"
    strict = ["compress", "--target_bpp", "0.001", "--bpp_strict", "tiny", "photo.png"]
    fails(capsys, strict, 1, "Even tiny-1 takes")
    family = ["compress", "--target_bpp", "1", "huge", "photo.png"]
    fails(capsys, family, 2, "no family of models huge")


def test_models(capsys, tmp_path):
    assert tfci.main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["tiny-1", "0.01", "MSE", "8", "12", "1"]
    os.mkdir("empty")
    fails(capsys, ["models", "--models_dir", "empty"], 1, "No models are installed")
    fails(capsys, ["models", "--models_dir", "nowhere"], 2, "no folder of models")


def test_families_for_squared_error_and_for_ms_ssim(capsys, tiny_models_dir, tmp_path):
    """Side by side: listed one after the other with what they are for, and each has its own rates and its own files."""
    for number, lmbda in ((1, 2.4), (2, 4.58)):
        about = {
            "lambda": lmbda, "distortion": "ms_ssim", "kodak": {"bpp": 0.1, "psnr": 25.5, "ms_ssim": 0.9321},
        }  # fmt: skip
        copy_export(tiny_models_dir / "tiny-1", tmp_path / "both" / f"tiny-msssim-{number}", **about)
    copy_export(tiny_models_dir / "tiny-1", tmp_path / "both" / "tiny-1")
    models = ["--models_dir", str(tmp_path / "both")]
    assert tfci.main(["models", *models]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [row[0] for row in rows] == ["tiny-1", "tiny-msssim-1", "tiny-msssim-2"]
    assert rows[2] == ["tiny-msssim-2", "4.58", "MS-SSIM", "8", "12", "1", "0.1000", "25.50", "dB", "0.9321"]
    target = ["--target_bpp", "0.1", "--effort", "0", "--overwrite", "photo.png", "a.tfci", *models]
    for family, name in (("tiny", "tiny-1"), ("tiny-msssim", "tiny-msssim-1")):
        assert tfci.main(["compress", family, *target]) == 0
        assert bitstream.read_header(open("a.tfci", "rb").read()).model == name
        assert tfci.main(["decompress", "a.tfci", "a.png", "--overwrite", *models]) == 0
    fails(capsys, ["compress", "tiny-mssim", *target], 2, "did you mean tiny-msssim?")


def test_wrong_command_lines(capsys):
    os.mkdir("folder")
    open("text.txt", "w").write("no picture")
    for args, status, sentence in [
        (["compress", "tiny-9", "photo.png"], 2, "no model tiny-9"),
        (["compress", "tiny-1", "nothing.png"], 1, "nothing.png: No such file"),
        (["compress", "tiny-1", "text.txt"], 1, "not a picture"),
        (["compress", "tiny-1", "folder"], 2, "--out"),
        (["compress", "tiny-1", "photo.png", "folder"], 2, "--out"),
        (["compress", "tiny-1", "photo.png", "photo.png"], 2, "same file"),
        (["compress", "tiny-1", "photo.png", "text.txt"], 2, "no .tfci file"),
        (["compress", "tiny-1", "photo.png", "new.png"], 2, "named as a picture"),
        (["compress", "--overwrite", "tiny-1", "photo.png", "other.jpg"], 2, "several inputs need --out"),
        (["compress", "tiny-1", "photo.png", "nowhere/a.tfci"], 2, "no folder nowhere"),
        (["compress", "tiny-1"], 2, "Name a picture"),
        (["compress", "tiny-1", "a.png", "b.png", "c.png"], 2, "--out"),
        (["compress", "--bpp_strict", "tiny-1", "photo.png"], 2, "--target_bpp"),
        (["compress", "--max_pixels", "100", "tiny-1", "photo.png"], 1, "pixels); --max_pixels raises the limit."),
        (["compress", "tiny-1", "folder", "--out", "out"], 2, "no files to compress"),
        (["compress", "tiny-1", "photo.png", "--out", "text.txt"], 2, "text.txt: It is a file and no folder"),
        (["decompress", "photo.png"], 1, "not a .tfci file"),
        (["decompress", "photo.png", "a.xyz"], 1, "cannot be written"),
        (["decompress", "nothing.tfci"], 1, "No such file"),
    ]:
        fails(capsys, args, status, sentence)


@pytest.mark.parametrize("args", [[], ["compress"], ["decompress"], ["info"], ["explode"],
                                  ["compress", "--jobs", "0", "tiny-1", "a.png"],
                                  ["compress", "--target_bpp", "-1", "tiny", "a.png"]])  # fmt: skip
def test_argparse_refuses_with_status_2(args, capsys):
    with pytest.raises(SystemExit) as error:
        tfci.main(args)
    assert error.value.code == 2


def test_one_existing_output_is_skipped_as_many_are(capsys):
    old = bitstream.MAGIC + b"old"
    pathlib.Path("a.tfci").write_bytes(old)
    args = ["compress", "tiny-1", "photo.png", "a.tfci"]
    assert tfci.main(args) == 0
    assert capsys.readouterr().err == "balle2017: photo.png: Skipped, as a.tfci exists; --overwrite replaces it.\n"
    assert pathlib.Path("a.tfci").read_bytes() == old
    assert tfci.main([*args, "--overwrite"]) == 0
    data = pathlib.Path("a.tfci").read_bytes()
    bitstream.unpack(data)
    # The photograph that the file was made of may be there, or another one.
    photo = pathlib.Path("photo.png").read_bytes()
    pathlib.Path("photo.png.tfci").write_bytes(data)
    for args in (["photo.png.tfci"], ["a.tfci", "photo.png"]):
        assert tfci.main(["decompress", *args]) == 0
        assert "Skipped, as photo.png exists" in capsys.readouterr().err
        assert pathlib.Path("photo.png").read_bytes() == photo
    # An empty file is nothing that could be lost.
    pathlib.Path("empty").touch()
    assert tfci.main(["compress", "tiny-1", "photo.png", "empty"]) == 0
    assert pathlib.Path("empty").read_bytes() == data
    pathlib.Path("text.txt").write_text("text")
    assert tfci.main(["compress", "--overwrite", "tiny-1", "photo.png", "text.txt"]) == 0
    assert pathlib.Path("text.txt").read_bytes() == data


def test_damaged_files_and_salvage(capsys):
    Image.fromarray(photograph(160, 160)).save("p.png")
    tfci.main(["compress", "tiny-1", "p.png"])
    data = bytearray(open("p.png.tfci", "rb").read())
    data[-60:-50] = bytes(10)
    open("bad.tfci", "wb").write(data)
    fails(capsys, ["decompress", "bad.tfci"], 1, "damaged in slice")
    assert tfci.main(["decompress", "--salvage", "bad.tfci"]) == 3
    assert "slices are lost" in capsys.readouterr().err
    assert Image.open("bad.png").size == (160, 160)
    data[:] = open("p.png.tfci", "rb").read()
    data[30] ^= 4
    open("bit.tfci", "wb").write(data)
    fails(capsys, ["decompress", "bit.tfci"], 1, "bit.tfci: ")
    assert tfci.main(["decompress", "--salvage", "bit.tfci"]) == 0
    assert "put right" in capsys.readouterr().err


def make_folder():
    for index, name in enumerate(["a.png", "b.jpg", "sub/c.png", "sub/d.webp"]):
        path = pathlib.Path("in", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photograph(40, 30 + index)).save(path)
    for name in ("notes.txt", ".hidden.png"):
        pathlib.Path("in", name).write_text("no picture")


def test_folders(capsys):
    make_folder()
    assert tfci.main(["compress", "tiny-1", "in", "--out", "out"]) == 0
    expected = ["a.png.tfci", "b.jpg.tfci", "sub/c.png.tfci", "sub/d.webp.tfci"]
    assert listing("out") == expected
    assert "4 files compressed into out" in capsys.readouterr().out
    for name in expected:
        assert tfci.main(["compress", "--overwrite", "tiny-1", f"in/{name[:-5]}", "one.tfci"]) == 0
        assert open("one.tfci", "rb").read() == open(f"out/{name}", "rb").read()
    assert tfci.main(["decompress", "out", "--out", "back", "--jobs", "3"]) == 0
    assert listing("back") == ["a.png", "b.png", "sub/c.png", "sub/d.png"]


def test_existing_outputs_are_skipped(capsys):
    make_folder()
    tfci.main(["compress", "tiny-1", "in", "--out", "out"])
    pathlib.Path("out/a.png.tfci").write_bytes(b"mine")
    os.remove("out/b.jpg.tfci")
    capsys.readouterr()
    assert tfci.main(["compress", "tiny-1", "in", "--out", "out"]) == 0
    out = capsys.readouterr().out
    assert "1 file compressed" in out and "3 skipped" in out
    assert pathlib.Path("out/a.png.tfci").read_bytes() == b"mine"
    assert tfci.main(["compress", "--overwrite", "tiny-1", "in", "--out", "out"]) == 0
    assert pathlib.Path("out/a.png.tfci").read_bytes() != b"mine"


def test_globs_and_the_output_folder_inside_of_the_input():
    make_folder()
    assert tfci.main(["compress", "tiny-1", "in/*.png", "in/**/*.webp", "--out", "in/out"]) == 0
    assert listing("in/out") == ["a.png.tfci", "d.webp.tfci"]
    assert tfci.main(["compress", "tiny-1", "in", "--out", "in/out"]) == 0
    assert len(listing("in/out")) == 5
    assert tfci.main(["compress", "tiny-1", "in", "--out", "in/out"]) == 0
    assert len(listing("in/out")) == 5


def test_bad_files_are_named_at_the_end_and_do_not_end_the_run(capsys):
    make_folder()
    pathlib.Path("in/0.png").write_bytes(b"broken")
    pathlib.Path("in/sub/z.jpg").write_bytes(pathlib.Path("in/b.jpg").read_bytes()[:300])
    os.makedirs("other")
    Image.fromarray(photograph(20, 20)).save("other/a.png")
    args = ["compress", "tiny-1", "in", "other/a.png", "other/gone.png", "--out", "out"]
    assert tfci.main(args) == 1
    out, err = capsys.readouterr()
    assert "4 files compressed" in out
    lines = err[err.index("4 failed:") :].splitlines()
    assert [line.split(": ")[1] for line in lines[1:]] == [
        "in/0.png", "in/sub/z.jpg", "other/a.png", "other/gone.png",
    ]  # fmt: skip
    assert "Its output would be that of in/a.png." in lines[3]
    assert len(listing("out")) == 4


def test_standard_input_and_output():
    photo = open("photo.png", "rb").read()
    packed = command("compress", "tiny-1", "-", input=photo)
    assert packed.stderr == b"" and packed.returncode == 0
    tfci.main(["compress", "tiny-1", "photo.png"])
    assert packed.stdout == open("photo.png.tfci", "rb").read()
    unpacked = command("decompress", "photo.png.tfci", "-")
    assert unpacked.stderr == b"" and unpacked.returncode == 0
    tfci.main(["decompress", "photo.png.tfci", "again.png"])
    pixels = np.asarray(Image.open(io.BytesIO(unpacked.stdout)))
    np.testing.assert_array_equal(pixels, np.asarray(Image.open("again.png")))


def test_writing_fails_without_a_trace(monkeypatch, capsys):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    fails(capsys, ["compress", "tiny-1", "photo.png"], 1, "photo.png.tfci: No space left on device.")
    writing.write("/dev/null", io.BytesIO(b"still a device afterwards"))
    assert not os.path.isfile("/dev/null")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interruption_leaves_whole_files_only_and_can_be_resumed(number):
    os.mkdir("in")
    for index in range(40):
        Image.fromarray(photograph(500, 500, seed=index)).save(f"in/{index:02}.png")
    process = subprocess.Popen(
        [sys.executable, "-m", "balle2017.tfci", "compress", "tiny-1", "in", "--out", "out"],
        env={**os.environ, "PYTHONPATH": ROOT},
        stderr=subprocess.PIPE,
        # A test run in the background of a script inherits an ignored SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while process.poll() is None and not (os.path.isdir("out") and len(os.listdir("out")) >= 3):
        time.sleep(0.01)
    process.send_signal(number)
    error = process.communicate()[1]
    assert process.returncode == 130 and error == b"balle2017: interrupted\n"
    done = listing("out")
    assert 3 <= len(done) < 40 and all(name.endswith(".png.tfci") for name in done)
    for name in done:
        bitstream.unpack(open(f"out/{name}", "rb").read())
    assert tfci.main(["compress", "tiny-1", "in", "--out", "out"]) == 0
    assert len(listing("out")) == 40


@pytest.mark.slow
def test_five_hundred_photographs_of_which_ten_are_broken():
    os.mkdir("in")
    for index in range(500):
        picture = io.BytesIO()
        Image.fromarray(photograph(96, 128, seed=index)).save(picture, "JPEG", quality=92)
        data = picture.getvalue()
        if index % 50 == 7:
            # Cut off, overwritten, empty, or something else.
            data = [data[:900], data[:200] + bytes(3000), b"", b"<html></html>"][index // 50 % 4]
        pathlib.Path(f"in/{index:03}.jpg").write_bytes(data)
    done = command("compress", "tiny-1", "in", "--out", "out")
    assert done.returncode == 1
    assert done.stdout.startswith(b"490 files compressed into out")
    failures = done.stderr.decode().split("10 failed:\n")[1].splitlines()
    assert [line.split(": ")[1] for line in failures] == [f"in/{i:03}.jpg" for i in range(7, 500, 50)]
    assert len(listing("out")) == 490
    back = command("decompress", "out", "--out", "back")
    assert back.returncode == 0 and len(listing("back")) == 490


# What prints, and what writes a file.
PRINTED = (["models"], ["info", "a.tfci"], ["compress", "tiny-1", "photo.png", "-"], ["decompress", "a.tfci", "-"])


def command_to(output, args, **options):
    """Runs the command with a standard output that cannot take it; returns status and standard error."""
    environment = {**os.environ, "PYTHONPATH": ROOT}
    argv = [sys.executable, "-m", "balle2017.tfci", *args]
    done = subprocess.run(argv, stdout=output, stderr=subprocess.PIPE, text=True, env=environment, **options)
    return done.returncode, done.stderr


@pytest.mark.skipif(os.name != "posix", reason="a pipe of a POSIX shell")
def test_a_reader_that_leaves_gets_no_traceback():
    assert tfci.main(["compress", "tiny-1", "photo.png", "a.tfci"]) == 0
    for args in PRINTED:
        reader, writer = os.pipe()
        os.close(reader)
        assert command_to(writer, args) == (1, "")
        os.close(writer)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_standard_output_that_is_full_is_one_sentence():
    assert tfci.main(["compress", "tiny-1", "photo.png", "a.tfci"]) == 0
    with open("/dev/full", "wb") as full:
        for args in PRINTED:
            assert command_to(full, args) == (1, "balle2017: standard output: No space left on device.\n")


@pytest.mark.skipif(os.name != "posix", reason="closes what a POSIX shell has open")
def test_closed_standard_streams_are_one_sentence():
    for args, status, sentence in (
        (["compress", "tiny-1", "photo.png", "-"], 2, "There is no standard output."),
        (["compress", "tiny-1", "-", "a.tfci"], 1, "-: There is no standard input."),
        (["info", "-"], 1, "-: There is no standard input."),
    ):
        closed = [sys.executable, "-m", "balle2017.tfci", *args]
        shell = ["sh", "-c", 'exec "$@" <&- >&-', "sh", *closed]
        done = subprocess.run(shell, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": ROOT})
        assert (done.returncode, done.stderr) == (status, f"balle2017: {sentence}\n")
