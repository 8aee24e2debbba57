"""Files and streams: modes, owners, protection, whole or not at all; and pipes by their paths."""

import errno
import io
import os
import pathlib
import stat
import subprocess
import sys
import threading

import numpy as np
from PIL import Image
import pytest

from balle2017 import tfci
from balle2017.commands import folders, names
from balle2017.files import streams, writing
from balle2017.pictures import formats, images, streamed
from helpers.commands import ROOT, workplace  # noqa: F401 (a fixture)
from helpers.pictures import photograph
from helpers.requirements import needs_tensorflow


@pytest.fixture
def umask():
    """A umask that nobody has by accident."""
    before = os.umask(0o027)
    yield 0o027
    os.umask(before)


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def write(path, content=b"new"):
    writing.write(path, io.BytesIO(content))


def test_a_new_file_has_the_usual_mode_from_its_first_byte_on(umask):
    with writing.replacing("a") as file:
        file.write(b"first")
        file.flush()
        (name,) = [n for n in os.listdir() if n.startswith(".balle2017-")]
        assert mode(name) == 0o640
    assert mode("a") == 0o640 and open("a", "rb").read() == b"first"
    assert sorted(os.listdir()) == ["a", "photo.png"]


def test_the_umask_is_not_touched(monkeypatch):
    def fail(_):
        raise AssertionError("Other threads would see it.")

    monkeypatch.setattr(os, "umask", fail)
    write("a")
    assert tfci.main(["compress", "tiny-1", "photo.png"]) == 0


@pytest.mark.parametrize("old", [0o600, 0o640, 0o664, 0o755, 0o606])
def test_a_replaced_file_hands_on_its_mode(old, umask):
    pathlib.Path("a").write_text("old")
    os.chmod("a", old)
    with writing.replacing("a") as file:
        file.write(b"new")
        (name,) = [n for n in os.listdir() if n.startswith(".balle2017-")]
        assert mode(name) & ~old == 0
    assert mode("a") == old and open("a").read() == "new"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root")
def test_a_replaced_file_hands_on_its_owner():
    write("a")
    os.chown("a", 12345, 23456)
    os.chmod("a", 0o640)
    write("a")
    found = os.stat("a")
    assert (found.st_uid, found.st_gid, mode("a")) == (12345, 23456, 0o640)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize("old, new", [(0o664, 0o604), (0o640, 0o600), (0o606, 0o600), (0o2755, 0o705)])
def test_nobody_gains_a_right_where_the_group_cannot_be_kept(old, new, monkeypatch):
    write("a")
    os.chown("a", 0, 23456)
    os.chmod("a", old)

    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(os, "fchown", refuse)
    with writing.replacing("a") as file:
        file.write(b"new")
        (name,) = [n for n in os.listdir() if n.startswith(".balle2017-")]
        assert mode(name) & ~new == 0
    assert mode("a") == new and os.stat("a").st_gid != 23456


def test_a_file_system_without_modes_and_owners(monkeypatch):
    write("a", b"old")

    def refuse(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", refuse)
    monkeypatch.setattr(os, "fchmod", refuse)
    write("a")
    assert open("a", "rb").read() == b"new"


def test_a_run_without_outputs_leaves_no_folder(capsys):
    pathlib.Path("bad.png").write_bytes(b"no picture")
    os.mkdir("there")
    for pattern, out in (("no*match*", "z"), ("bad.png", "a/b/z"), ("bad.png", "there/z"), ("bad.png", "there")):
        assert tfci.main(["compress", "tiny-1", pattern, "--out", out]) == 1
        assert capsys.readouterr().out == f"0 files compressed into {out}, 0 bytes to 0 bytes.\n"
    assert sorted(os.listdir()) == ["bad.png", "photo.png", "there"] and not os.listdir("there")
    assert tfci.main(["compress", "tiny-1", "photo.png", "bad.png", "--out", "a/b/z"]) == 1
    assert os.listdir("a/b/z") == ["photo.png.tfci"]


def test_write_protected_files_are_refused():
    pathlib.Path("a").write_text("old")
    os.chmod("a", 0o444)
    with pytest.raises(writing.OutputError) as error:
        write("a")
    assert (error.value.filename, error.value.strerror) == ("a", "It is write-protected")
    assert open("a").read() == "old" and mode("a") == 0o444 and len(os.listdir()) == 2


def test_a_link_stays_and_its_file_is_replaced():
    os.mkdir("elsewhere")
    pathlib.Path("elsewhere/a").write_text("old")
    os.symlink("elsewhere/a", "link")
    write("link")
    assert os.path.islink("link") and open("elsewhere/a").read() == "new"
    os.symlink("elsewhere/b", "dangling")
    write("dangling")
    assert os.path.islink("dangling") and open("elsewhere/b").read() == "new"


def test_a_failure_leaves_the_old_file():
    pathlib.Path("a").write_text("old")
    with pytest.raises(ZeroDivisionError):
        with writing.replacing("a") as file:
            file.write(b"half")
            raise ZeroDivisionError
    assert open("a").read() == "old" and sorted(os.listdir()) == ["a", "photo.png"]


def test_to_check_a_folder_changes_nothing(monkeypatch):
    os.mkdir("there")
    before = sorted(os.listdir())
    for path in ("there", "new", "there/new/newer"):
        writing.check_folder(path)
    assert sorted(os.listdir()) == before and not os.listdir("there")
    for path in ("photo.png", "photo.png/a"):
        with pytest.raises(writing.OutputError) as error:
            writing.check_folder(path)
        assert error.value.filename == path
    monkeypatch.setattr(writing, "new_folder", lambda path: os.open(os.devnull, os.O_DIRECTORY))
    with pytest.raises(writing.OutputError, match="there: Not a directory"):
        writing.check_folder("there")


@pytest.mark.parametrize("path", ["nowhere/a", "photo.png/a", "folder"])
def test_errors_name_the_output(path):
    os.mkdir("folder")
    before = sorted(os.listdir())
    with pytest.raises(writing.OutputError) as error:
        write(path)
    assert error.value.filename == path and error.value.strerror
    assert sorted(os.listdir()) == before


def test_the_commands_name_the_output(capsys):
    pathlib.Path("a.tfci").write_bytes(b"")
    os.chmod("a.tfci", 0o444)
    assert tfci.main(["compress", "tiny-1", "photo.png", "a.tfci"]) == 1
    assert capsys.readouterr().err == "balle2017: a.tfci: It is write-protected.\n"
    assert tfci.main(["compress", "tiny-1", "photo.png", "b.tfci"]) == 0
    assert tfci.main(["decompress", "b.tfci", "b.xyz"]) == 1
    assert capsys.readouterr().err.startswith("balle2017: b.xyz: Pictures cannot be written")
    os.mkdir("out")
    pathlib.Path("out/sub").write_text("a file where a folder should be")
    os.makedirs("in/sub")
    os.rename("photo.png", "in/sub/photo.png")
    assert tfci.main(["compress", "tiny-1", "in", "--out", "out"]) == 1
    assert "balle2017: in/sub/photo.png: out/sub: " in capsys.readouterr().err


@needs_tensorflow
def test_exports_and_reports_have_usual_modes(umask, tiny_rate_point):
    from balle2017.evaluation import results
    from balle2017.saved_model import writing as saving

    saving.export(tiny_rate_point, "models/tiny-1")
    assert mode("models/tiny-1") == 0o750 and mode("models/tiny-1/model.json") == 0o640
    pathlib.Path("results").mkdir()
    results.write_results("results", [], [])
    assert {mode(path) for path in pathlib.Path("results").glob("*.*")} == {0o640}


def test_one_file_under_several_names_is_done_once(capsys):
    os.makedirs("in/sub")
    os.rename("photo.png", "in/sub/photo.png")
    os.symlink("in", "link")
    names = ["in", "in/sub", "./in/sub/photo.png", "in/../in/sub/photo.png", "link/sub", os.path.abspath("in")]
    assert tfci.main(["compress", "tiny-1", *names, "--out", "out"]) == 0
    assert "1 file compressed" in capsys.readouterr().out
    found = [os.path.join(parent, n) for parent, _, files in os.walk("out") for n in files]
    assert found == ["out/sub/photo.png.tfci"]


def test_what_a_folder_run_leaves_out_is_said(capsys, monkeypatch):
    os.makedirs("in/sub")
    os.rename("photo.png", "in/photo.png")
    for name in ("a.txt", "sub/b.TXT", "c.h5", "d.mpg", "e.wmf", "f.eps", "README", "g.heic", ".hidden", "h.tfci"):
        pathlib.Path("in", name).write_text("no picture")
    os.symlink("sub", "in/link")
    os.mkfifo("in/pipe.png")
    formats.extensions()
    monkeypatch.setattr(formats, "extensions", lambda: {".png", ".jpg"})
    assert tfci.main(["compress", "tiny-1", "in", "--out", "out"]) == 0
    out = capsys.readouterr().out
    assert "1 file compressed" in out
    assert (
        "Left out: 1 .eps, 1 .h5, 1 .heic (needs the package pillow-heif), 1 .mpg, 1 .tfci, 2 .txt, 1 .wmf,"
        " 1 links to folders, 1 pipes and devices, 1 without extension.\n"
    ) in out
    os.remove("in/photo.png")
    assert tfci.main(["compress", "tiny-1", "in", "--out", "out"]) == 2
    assert "pillow-heif" in capsys.readouterr().err


def test_what_is_no_picture():
    import balle2017.pillow  # noqa: F401 (registers .tfci)

    no_pictures = ".mpg .mpeg .h5 .hdf .wmf .emf .eps .ps .grib .bufr .iim .tfci .pdf"
    assert not formats.extensions() & set(no_pictures.split())
    assert formats.extensions() >= {".png", ".jpg", ".jpeg", ".tif", ".webp", ".bmp", ".gif", ".jp2"}
    for name, data in {
        "a.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n",
        "a.mpg": b"\0\0\1\xb3\x01\x00\x10" + bytes(50),
        "a.h5": b"\x89HDF\r\n\x1a\n" + bytes(50),
    }.items():
        with pytest.raises(images.ImageError, match="not a picture"):
            images.read(io.BytesIO(data))
        with pytest.raises(images.ImageError, match="cannot be written"):
            images.format_of(name)


@pytest.mark.parametrize("name", ["a.heic", "a.jxl"])
def test_formats_of_packages_that_may_be_installed(name, capsys):
    if formats.missing_package("." + name[-4:].strip(".")):
        pytest.skip("The package is not installed.")
    Image.fromarray(photograph(50, 70)).save(name)
    assert images.read(name).pixels.shape == (50, 70, 3)
    with open(name, "rb") as file:
        assert images.read(io.BytesIO(file.read())).pixels.shape == (50, 70, 3)
    assert tfci.main(["compress", "tiny-1", ".", "--out", "out"]) == 0
    assert "2 files compressed" in capsys.readouterr().out


def test_a_folder_that_cannot_be_read_is_named(capsys, monkeypatch):
    os.makedirs("in/closed")
    os.rename("photo.png", "in/photo.png")
    scandir = os.scandir

    def refusing(path):
        if "closed" in os.fspath(path):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    assert tfci.main(["compress", "tiny-1", "in", "--out", "out"]) == 1
    out, err = capsys.readouterr()
    assert "1 file compressed" in out and "balle2017: in/closed: Permission denied.\n" in err
    assert tfci.main(["compress", "tiny-1", "in/closed", "--out", "out"]) == 1
    assert "balle2017: in/closed: Permission denied.\n" in capsys.readouterr().err


def test_names_of_open_files():
    paths = ["/dev/stdin", "/dev/stdout", "/dev/fd/63", "/proc/self/fd/7"]
    assert [streams.descriptor(path) for path in paths] == [0, 1, 63, 7]
    assert [streams.descriptor(p) for p in ("-", "a", "/dev/null", "/dev/fd/x", "/dev/fd/1/2")] == [None] * 5
    os.mkfifo("pipe")
    assert streams.is_stream("pipe") and streams.is_stream("/dev/null") and streams.is_stream("/dev/fd/9")
    assert not any(streams.is_stream(path) for path in ("photo.png", ".", "nowhere", "nowhere/a"))


def feed(path, data):
    """Writes into a named pipe while somebody else reads it."""
    thread = threading.Thread(target=lambda: pathlib.Path(path).write_bytes(data), daemon=True)
    thread.start()
    return thread


def test_a_named_pipe_is_read_once(monkeypatch):
    monkeypatch.setattr(streamed, "LARGE_PIXELS", 100)
    os.mkfifo("pipe.png")
    expected = images.read("photo.png").pixels
    feed("pipe.png", pathlib.Path("photo.png").read_bytes())
    assert streamed.read("pipe.png") is None
    np.testing.assert_array_equal(images.read("pipe.png").pixels, expected)
    feed("pipe.png", b"no picture")
    with pytest.raises(images.ImageError, match="not a picture"):
        images.read("pipe.png")


def test_named_pipes_in_both_directions():
    tfci.main(["compress", "tiny-1", "photo.png", "expected.tfci"])
    os.mkfifo("in.png")
    os.mkfifo("out.tfci")
    feed("in.png", pathlib.Path("photo.png").read_bytes())
    found = []
    reader = threading.Thread(target=lambda: found.append(pathlib.Path("out.tfci").read_bytes()), daemon=True)
    reader.start()
    assert tfci.main(["compress", "tiny-1", "in.png", "out.tfci"]) == 0
    reader.join(60)
    assert found == [pathlib.Path("expected.tfci").read_bytes()]
    assert stat.S_ISFIFO(os.stat("out.tfci").st_mode)
    assert tfci.main(["compress", "tiny-1", "in.png", "in.png"]) == 2


def shell(line):
    """Runs a line of bash in which `balle2017` is the command."""
    function = f'balle2017() {{ "{sys.executable}" -m balle2017.tfci "$@"; }}; '
    return subprocess.run(
        ["bash", "-c", function + line], env={**os.environ, "PYTHONPATH": ROOT}, capture_output=True, timeout=300
    )


def test_the_shell_s_pipes():
    done = shell("balle2017 compress --verbose tiny-1 <(cat photo.png) /dev/stdout | cat > a.tfci")
    assert done.returncode == 0 and done.stdout == b"" and b"PSNR" in done.stderr
    assert tfci.main(["compress", "tiny-1", "photo.png", "expected.tfci"]) == 0
    assert pathlib.Path("a.tfci").read_bytes() == pathlib.Path("expected.tfci").read_bytes()


@pytest.mark.slow
def test_more_of_the_shell_s_pipes():
    tfci.main(["compress", "tiny-1", "photo.png", "expected.tfci"])
    expected = pathlib.Path("expected.tfci").read_bytes()
    done = shell(
        "balle2017 compress tiny-1 <(cat photo.png) a.tfci"
        " && cat photo.png | balle2017 compress tiny-1 /dev/stdin b.tfci"
        " && balle2017 compress tiny-1 /dev/stdin < photo.png > c.tfci"
        " && balle2017 compress --verbose tiny-1 photo.png /dev/stdout | cat > d.tfci"
        " && (printf before; balle2017 compress tiny-1 photo.png /dev/stdout; printf after) > e.tfci"
        " && balle2017 compress tiny-1 <(cat photo.png) > f.tfci"
        " && balle2017 compress tiny-1 photo.png >(cat > g.tfci) && wait $! && sleep 0.2"
        " && balle2017 decompress <(cat a.tfci) /dev/stdout > h.png"
        " && balle2017 decompress a.tfci >(cat > i.png) && wait $! && sleep 0.2"
    )
    assert done.returncode == 0, done.stderr
    for name in "abcdfg":
        assert pathlib.Path(name + ".tfci").read_bytes() == expected, name
    assert pathlib.Path("e.tfci").read_bytes() == b"before" + expected + b"after"
    assert Image.open("h.png").size == Image.open("i.png").size == (70, 50)
    assert done.stdout == b"" and b"PSNR" in done.stderr


def test_folders_hand_on_what_they_found():
    os.makedirs("in")
    found = folders.find(["in", "nothing.png"], {".png"}, "out", names.compressed)
    assert found.files == [("nothing.png", "out/nothing.png.tfci")] and not found.left_out and not found.errors
