"""The Beam pipeline on the local runner: the same bytes as the command."""

import pathlib

import pytest
from PIL import Image

from test_codec import photograph

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
    assert (
        beam.main(["compress", "--model", "tiny-1", "--input", pattern, "--output", out, *models])
        == 0
    )
    assert (
        tfci.main(["compress", "tiny-1", f"{pictures}/in", "--out", f"{pictures}/cmd", *models])
        == 0
    )
    files = sorted(p.relative_to(pictures / "cmd") for p in (pictures / "cmd").rglob("*.tfci"))
    assert sorted(p.relative_to(out) for p in pathlib.Path(out).rglob("*.tfci")) == files
    assert len(files) == 3
    for name in files:
        assert (pictures / "out" / name).read_bytes() == (pictures / "cmd" / name).read_bytes()

    back = f"{pictures}/back"
    assert beam.main(["decompress", "--input", f"{out}/**.tfci", "--output", back, *models]) == 0
    assert len(list(pathlib.Path(back).rglob("*.tfci.png"))) == 3


def test_bad_files_are_listed(pictures, tiny_models_dir, capsys):
    from balle2017 import beam

    (pictures / "in" / "bad.png").write_bytes(b"no picture")
    args = ["compress", "--model", "tiny-1", "--models_dir", str(tiny_models_dir)]
    args += ["--input", f"{pictures}/in/**.png", "--output", f"{pictures}/out"]
    assert beam.main(args) == 1
    assert capsys.readouterr().err.startswith("balle2017.beam: 1 files failed")
    failures = (pictures / "out" / "failures.tsv").read_text()
    assert failures == f"{pictures}/in/bad.png\tIt is not a picture that Pillow can read.\n"
    assert len(list((pictures / "out").rglob("*.tfci"))) == 3
    assert beam.main(["compress", "--model", "tiny-9", *args[3:]]) == 2
