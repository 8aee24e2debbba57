"""What the commands `info` and `models` say of files and models."""

import json
import os
import pathlib
import subprocess
import sys

from balle2017 import codec, tfci
from balle2017.commands import info
from balle2017.container import bitstream
from helpers.commands import ROOT, workplace  # noqa: F401 (a fixture)
from helpers.pictures import photograph


def test_info(capsys):
    data = codec.load("tiny-1").compress(photograph(50, 70), {"EXIF": b"II*\0", "XMP ": b"<x/>"})
    pathlib.Path("a.tfci").write_bytes(data)
    pathlib.Path("cut.tfci").write_bytes(data[:-40])
    assert tfci.main(["info", "a.tfci"]) == 0
    out = capsys.readouterr().out
    for words in ("a.tfci\n", "tiny-1", "70×50 pixels, colour", f"{8 * len(data) / 3500:.4f} bits per pixel",
                  "3 of 7 latent positions", "EXIF (4 bytes), XMP (4 bytes)", "state     whole"):  # fmt: skip
        assert words in out
    assert tfci.main(["info", "a.tfci", "cut.tfci", "photo.png", "gone.tfci"]) == 1
    out, err = capsys.readouterr()
    assert "damaged" in out and "not a .tfci file of balle2017" in out
    assert err == "balle2017: gone.tfci: No such file or directory.\n"
    assert tfci.main(["info", "--json", "a.tfci", "cut.tfci", "photo.png", "gone.tfci"]) == 1
    whole, cut, other, gone = json.loads(capsys.readouterr().out)
    contents = bitstream.unpack(data)
    assert whole == {
        "file": "a.tfci", "bytes": len(data), "whole": True, "problem": None, "model": "tiny-1",
        "fingerprint": f"{contents.fingerprint:08x}", "width": 70, "height": 50, "channels": 3,
        "bits_per_pixel": 8 * len(data) / 3500, "slices": 3, "slice_length": 7, "damaged_slices": [],
        "metadata": {"EXIF": 4, "XMP": 4},
    }  # fmt: skip
    assert (cut["model"], cut["whole"], cut["metadata"]) == ("tiny-1", False, None)
    assert "model" not in other and not other["whole"] and not gone["whole"]


def test_info_names_damaged_slices():
    contents = bitstream.unpack(codec.load("tiny-1").compress(photograph(160, 160)))
    data = bytearray(bitstream.pack(contents))
    data[data.index(contents.slices[5])] ^= 1
    found = info.describe(bytes(data))
    assert found["damaged_slices"] == [6] and "slice 6 of 15" in info.text(found)


def test_damage_is_not_taken_for_another_model(capsys):
    data = codec.load("tiny-1").compress(photograph(50, 70))
    pathlib.Path("good.tfci").write_bytes(data)
    for name, place in (("fingerprint", 6), ("name", data.index(b"tiny-1"))):
        broken = bytearray(data)
        # More than the one bit that can be put right.
        broken[place] ^= 3
        pathlib.Path("bad.tfci").write_bytes(broken)
        assert tfci.main(["decompress", "bad.tfci"]) == 1
        assert "damaged outside of its slices" in capsys.readouterr().err
        assert tfci.main(["decompress", "bad.tfci", "--salvage"]) == 1
        assert "bad.tfci: The file is damaged, perhaps where it says what made it: " in capsys.readouterr().err, name
        assert tfci.main(["info", "bad.tfci", "good.tfci"]) == 1
        bad, good = capsys.readouterr().out.split("good.tfci")
        assert "may be damaged, too: model" in bad and "damaged" not in good


def test_info_of_anything_is_a_dictionary():
    data = codec.load("tiny-1").compress(photograph(20, 20))
    for length in range(len(data)):
        found = info.describe(data[:length])
        assert not found["whole"] and found["problem"].endswith(".") and info.text(found)


def test_info_imports_no_tensorflow():
    pathlib.Path("a.tfci").write_bytes(codec.load("tiny-1").compress(photograph(20, 20)))
    program = (
        "import sys; from balle2017 import tfci; tfci.main(['info', 'a.tfci']); sys.exit('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": ROOT}, capture_output=True)
    assert done.returncode == 0 and b"tiny-1" in done.stdout


def test_models_names_those_that_cannot_be_used(capsys, tiny_models_dir, tmp_path):
    folder = tmp_path / "models"
    for name in ("tiny-1", "bad"):
        (folder / name).mkdir(parents=True)
    info_file = tiny_models_dir / "tiny-1" / "model.json"
    (folder / "tiny-1" / "model.json").write_bytes(info_file.read_bytes())
    (folder / "bad" / "model.json").write_text("{")
    assert tfci.main(["models", "--models_dir", str(folder)]) == 1
    out, err = capsys.readouterr()
    assert "tiny-1" in out and err.count("\n") == 1 and "bad/model.json is damaged" in err
