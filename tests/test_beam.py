"""The Beam pipeline on the local runner: the same bytes as the command."""

import pathlib

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
    args = ["compress", "--model", "tiny-1", "--models_dir", str(tiny_models_dir)]
    args += ["--input", f"{pictures}/in/**.png", "--output", f"{pictures}/out"]
    assert beam.main(args) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("balle2017.beam: 1 file failed")
    failures = (pictures / "out" / "failures.tsv").read_text()
    assert failures == f"{pictures}/in/bad.png\tIt is not a picture that Pillow can read.\n"
    assert len(list((pictures / "out").rglob("*.tfci"))) == 3
    assert beam.main(["compress", "--model", "tiny-9", *args[3:]]) == 2


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
