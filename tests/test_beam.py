"""The Beam pipeline, on the local runner and on Dask: the same bytes as the command."""

import os
import pathlib
import subprocess
import sys
import threading
import time

from PIL import Image
import pytest

from helpers.pictures import photograph

pytest.importorskip("apache_beam", reason="needs pip install balle2017[beam]")
pytestmark = pytest.mark.slow


@pytest.fixture
def pictures(tmp_path):
    for index, name in enumerate(["a.png", "b.png", "sub/c.png"]):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photograph(40, 30 + index)).save(path)
    return tmp_path


def test_same_bytes_as_the_command(pictures, tiny_models_dir):
    from balle2017 import beam, tfci

    models = ["--models_dir", str(tiny_models_dir)]
    pattern, out = f"{pictures}/in/**.png", f"{pictures}/out"
    assert beam.main(["compress", "--model", "tiny-1", "--input", pattern, "--output", out, *models]) == 0
    assert tfci.main(["compress", "tiny-1", f"{pictures}/in", "--out", f"{pictures}/cmd", *models]) == 0
    files = sorted(p.relative_to(pictures / "cmd") for p in (pictures / "cmd").rglob("*.tfci"))
    assert sorted(p.relative_to(out) for p in pathlib.Path(out).rglob("*.tfci")) == files
    assert len(files) == 3
    for name in files:
        assert (pictures / "out" / name).read_bytes() == (pictures / "cmd" / name).read_bytes()

    back = f"{pictures}/back"
    assert beam.main(["decompress", "--input", f"{out}/**.tfci", "--output", back, *models]) == 0
    assert len(list(pathlib.Path(back).rglob("*.png.png"))) == 3


def test_bad_files_are_listed(pictures, tiny_models_dir, capsys):
    from balle2017 import beam

    (pictures / "in" / "bad.png").write_bytes(b"no picture")
    odd = os.fsencode(pictures) + b"/in/\xff\t\n.png"
    with open(odd, "wb") as file:
        file.write(b"no picture")
    args = ["compress", "--model", "tiny-1", "--models_dir", str(tiny_models_dir)]
    args += ["--input", f"{pictures}/in/**.png", "--output", f"{pictures}/out"]
    assert beam.main(args) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("balle2017.beam: 2 files failed")
    failures = (pictures / "out" / "failures.tsv").read_bytes().splitlines()
    paths = f"{pictures}/in/bad.png".encode(), odd.replace(b"\t", b"\\t").replace(b"\n", b"\\n")
    assert failures == [path + b"\tIt is not a picture that Pillow can read." for path in paths]
    assert len(list((pictures / "out").rglob("*.tfci"))) == 3
    assert beam.main(["compress", "--model", "tiny-9", *args[3:]]) == 2


def test_what_was_lost_is_listed(pictures, tiny_models_dir, capsys):
    from balle2017 import beam

    transparent = Image.fromarray(photograph(40, 31)).convert("RGBA")
    transparent.putalpha(100)
    transparent.save(pictures / "in" / "clear.png")
    args = ["compress", "--model", "tiny-1", "--models_dir", str(tiny_models_dir)]
    args += ["--input", f"{pictures}/in/**.png", "--output", f"{pictures}/out"]
    assert beam.main(args) == 0
    assert capsys.readouterr().err.splitlines()[-1].startswith("balle2017.beam: 1 notice of what was lost")
    (line,) = (pictures / "out" / "notices.tsv").read_text().splitlines()
    assert line.startswith(f"{pictures}/in/clear.png\t") and "ransparen" in line
    assert (pictures / "out" / "failures.tsv").read_text() == ""
    names = {path.name for path in (pictures / "out").iterdir() if path.is_file()}
    assert names == {"a.png.tfci", "b.png.tfci", "clear.png.tfci", "failures.tsv", "notices.tsv"}


def test_nothing_to_do_is_said(pictures, tiny_models_dir, capsys):
    from balle2017 import beam

    args = ["--models_dir", str(tiny_models_dir), "--input", f"{pictures}/nothing/**", "--output", f"{pictures}/out"]
    assert beam.main(["compress", "--model", "tiny-1", *args]) == 2
    assert capsys.readouterr().err == f"balle2017.beam: There are no files {pictures}/nothing/**.\n"
    assert not (pictures / "out").exists()


def test_existing_outputs_are_left(pictures, tiny_models_dir):
    from balle2017 import beam

    args = ["compress", "--model", "tiny-1", "--models_dir", str(tiny_models_dir)]
    args += ["--input", f"{pictures}/in/**.png", "--output", f"{pictures}/out"]
    mine = pictures / "out" / "a.png.tfci"
    mine.parent.mkdir()
    mine.write_bytes(b"mine")
    assert beam.main(args) == 0 and mine.read_bytes() == b"mine"
    assert len(list((pictures / "out").rglob("*.tfci"))) == 3
    assert beam.main([*args, "--overwrite"]) == 0 and mine.read_bytes() != b"mine"


def test_a_runner_that_is_not_there_is_named(pictures, tiny_models_dir, capsys):
    from balle2017 import beam

    args = ["compress", "--model", "tiny-1", "--models_dir", str(tiny_models_dir)]
    args += ["--input", f"{pictures}/in/**.png", "--output", f"{pictures}/out"]
    assert beam.main([*args, "--runner", "NoRunner"]) == 2
    assert "NoRunner" in capsys.readouterr().err
    assert not (pictures / "out").exists()


@pytest.fixture
def dask_cluster(tmp_path):
    """A scheduler and two workers on this machine: the arguments of Beam, and the workers' processes."""
    distributed = pytest.importorskip("distributed", reason="needs pip install dask[distributed]")
    root = pathlib.Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *sys.path])}
    file, processes = tmp_path / "scheduler.json", []

    def start(program, *arguments):
        command = [sys.executable, "-m", f"distributed.cli.{program}", "--scheduler-file", str(file), *arguments]
        processes.append(subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.DEVNULL))

    start("dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
    for name in ("one", "two"):
        start("dask_worker", "--name", name, "--nthreads", "1", "--no-nanny", "--no-dashboard")
    yield ["--runner", "DaskRunner", "--dask_scheduler_file", str(file)], processes[1:]
    # Beam leaves its client open, which would look for the scheduler until Python ends.
    distributed.default_client().close()
    for process in processes:
        process.kill()
        process.wait()


def test_dask_loses_a_worker_and_nothing_else(dask_cluster, tmp_path, tiny_models_dir, capsys):
    from balle2017 import beam, tfci

    arguments, workers = dask_cluster
    for index in range(200):
        path = tmp_path / "in" / ("sub" if index % 3 else "") / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photograph(40, 30 + index)).save(path)
    (tmp_path / "in" / "bad.png").write_bytes(b"no picture")
    # By name, as for so many files the command would take the one that is quicker in the long run.
    models, out = ["--models_dir", str(tiny_models_dir), "--runtime", "onnx"], tmp_path / "out"
    killed = []

    def kill():
        """Ends a worker in the middle, as a machine would that is switched off."""
        while len(list(out.rglob("[!.]*.tfci"))) < 60:
            time.sleep(0.05)
        workers[1].kill()
        killed.append(len(list(out.rglob("[!.]*.tfci"))))

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    run = ["compress", "--model", "tiny-1", "--input", f"{tmp_path}/in/**.png", "--output", str(out), *models]
    assert beam.main([*run, *arguments]) == 1
    thread.join(1)
    assert killed and killed[0] < 200 and workers[0].poll() is None
    assert "balle2017.beam: 1 file failed" in capsys.readouterr().err
    assert (out / "failures.tsv").read_text().splitlines() == [
        f"{tmp_path}/in/bad.png\tIt is not a picture that Pillow can read."
    ]
    assert tfci.main(["compress", "tiny-1", f"{tmp_path}/in", "--out", f"{tmp_path}/cmd", *models]) == 1
    expected = {p.relative_to(tmp_path / "cmd"): p for p in (tmp_path / "cmd").rglob("*.tfci")}
    found = {p.relative_to(out): p for p in out.rglob("*") if p.is_file() and p.suffix != ".tsv"}
    # Nothing unfinished is left either.
    assert set(found) == set(expected) and len(found) == 200
    for name, path in expected.items():
        assert found[name].read_bytes() == path.read_bytes()
