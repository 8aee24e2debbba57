"""The arrays of a rate point, read by their index without TensorFlow."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from balle2017 import codec
from balle2017 import export as export_command
from balle2017.entropy import plain_decoder
from balle2017.entropy.coder import Coder
from balle2017.entropy.tables import CodingTables
from balle2017.saved_model import onnx_writing, stored_arrays
from balle2017.saved_model.reading import load_rate_point
from balle2017.saved_model.writing import export
from helpers.pictures import photograph
from helpers.rate_points import copy_export, random_rate_point


def assert_same(ours, theirs):
    for half in ("analysis", "synthesis"):
        for a, b in zip(getattr(ours, half).arrays(), getattr(theirs, half).arrays()):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype == np.float32
    np.testing.assert_array_equal(ours.tables.lookup(), theirs.tables.lookup())
    assert ours.fingerprint() == theirs.fingerprint()


def test_an_index_needs_nothing_but_numpy(tiny_rate_point, tiny_models_dir):
    folder = tiny_models_dir / "tiny-1" / "decoder" / "1"
    index = json.loads((folder / "arrays.json").read_text())
    data = (folder / index["file"]).read_bytes()
    for stage, kernel in enumerate(tiny_rate_point.synthesis.kernels):
        entry = index["arrays"][f"synthesis/kernels/{stage}"]
        assert entry["dtype"] == "float16"
        found = np.frombuffer(data, "<f2", kernel.size, entry["offset"]).reshape(entry["shape"])
        np.testing.assert_array_equal(found, kernel)
    entry = index["arrays"]["coder/lookup"]
    assert entry["dtype"] == "uint16"
    found = np.frombuffer(data, "<u2", entry["shape"][0], entry["offset"])
    np.testing.assert_array_equal(found, tiny_rate_point.tables.lookup() % 2**16)


def test_reading_imports_no_tensorflow(tiny_models_dir):
    program = (
        "import sys; from balle2017.saved_model.reading import load_rate_point;"
        f"print(load_rate_point({str(tiny_models_dir / 'tiny-1')!r}).name, 'tensorflow' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["tiny-1", "False"]


def test_single_numbers_and_full_precision_come_back(tmp_path):
    # One grey bias, one active channel; kernels that float16 does not hold.
    rate_point = random_rate_point("gray-1", num_latents=4, channels=1)
    assert len(rate_point.tables.active) == 1
    export(rate_point, tmp_path / "gray-1")
    assert_same(load_rate_point(tmp_path / "gray-1"), rate_point)
    stored = stored_arrays.read(tmp_path / "gray-1" / "encoder" / "1", "analysis/kernels")
    assert {array.dtype.name for array in stored.values()} == {"float32"}


def test_tables_without_active_channels_come_back(tmp_path):
    rate_point = random_rate_point("flat-1", num_latents=4).rounded()
    nothing = CodingTables(np.zeros(4, np.int32), [None] * 4, np.arange(4, dtype=np.int32))
    rate_point.tables = nothing
    export(rate_point, tmp_path / "flat-1")
    assert_same(load_rate_point(tmp_path / "flat-1"), rate_point)


@pytest.mark.parametrize("stored", [np.uint16, np.int32])
def test_a_lookup_is_the_same_whatever_it_is_stored_as(stored):
    # The sign of a row, the number before its end, and the sign of the row behind it look alike.
    cdf = np.array([[0, 16, 65520, 65536], [0, 1, 65520, 65536]], np.int32)
    class_cdfs = np.array([[0, 65520, 65536]] * 3, np.int32)
    offsets, constants = np.array([-1, 0, 3], np.int32), np.array([0, 7, 0], np.int32)
    tables = CodingTables(offsets, [cdf, None, cdf], constants, class_cdfs)
    arrays = {**tables.arrays(), "coder/lookup": tables.lookup().astype(stored)}
    found = stored_arrays.tables_of(arrays)
    np.testing.assert_array_equal(found.lookup(), tables.lookup())
    np.testing.assert_array_equal(found.active, tables.active)
    np.testing.assert_array_equal(found.class_cdfs, class_cdfs)
    lookup = Coder(tables)._lookup()
    np.testing.assert_array_equal(lookup, tables.lookup())
    of_channels, of_classes = plain_decoder._rows(arrays["coder/lookup"].tolist())
    np.testing.assert_array_equal(of_channels, [cdf[0], cdf[0], cdf[1], cdf[1]])
    np.testing.assert_array_equal(of_classes, class_cdfs)


def test_an_export_with_a_lookup_of_before_is_read(tmp_path):
    rate_point = random_rate_point("older-1").rounded()
    onnx_writing.export(rate_point, tmp_path / "older-1")
    for half in ("encoder", "decoder"):
        folder = tmp_path / "older-1" / half / "1"
        stored_arrays.write(folder, {**stored_arrays.read(folder), "coder/lookup": rate_point.tables.lookup()})
    assert_same(load_rate_point(tmp_path / "older-1"), rate_point)


def test_weights_of_other_transforms_are_refused(tiny_models_dir, tmp_path, capsys):
    other = tmp_path / "other-1"
    copy_export(tiny_models_dir / "tiny-1", other, transforms=2)
    sentence = f"{other} has weights for version 2 of the transforms, and this balle2017 computes version 1"
    with pytest.raises(ValueError, match=sentence):
        load_rate_point(other)
    pixels = photograph(20, 20)
    # What is in its graphs is what they compute.
    model = codec.load("other-1", tmp_path)
    assert model.compress(pixels)
    with pytest.raises(codec.ModelError, match=f"other-1 takes effort 0 only. {sentence}"):
        model.compress(pixels, effort=1)
    assert export_command.main([str(other), str(tmp_path / "exported"), "--runtime", "onnx"]) == 1
    assert sentence in capsys.readouterr().err and not (tmp_path / "exported").exists()


def test_models_of_before_have_the_first_transforms(tiny_models_dir, tiny_rate_point, tmp_path):
    shutil.copytree(tiny_models_dir / "tiny-1", tmp_path / "tiny-1")
    for path in (tmp_path / "tiny-1").rglob("model.json"):
        info = json.loads(path.read_text())
        assert info.pop("transforms") == 1
        path.write_text(json.dumps(info))
    assert_same(load_rate_point(tmp_path / "tiny-1"), tiny_rate_point)


def test_rounding_is_once_and_keeps_what_float16_cannot_hold():
    rate_point = random_rate_point()
    rate_point.synthesis.kernels[1][0, 0, 0, 0] = 1e5
    rounded = rate_point.rounded()
    assert_same(rounded.rounded(), rounded)
    np.testing.assert_array_equal(rounded.synthesis.kernels[1], rate_point.synthesis.kernels[1])
    np.testing.assert_array_equal(rounded.synthesis.biases[0], rate_point.synthesis.biases[0])
    kernel = rounded.synthesis.kernels[0]
    assert 0 < np.abs(kernel - rate_point.synthesis.kernels[0]).max() <= 2**-11 * np.abs(kernel).max()
    assert rounded.fingerprint() != rate_point.fingerprint()


@pytest.mark.parametrize("stages", [2, 3])
def test_as_many_stages_of_gdn_as_there_are(stages, tmp_path):
    rate_point = random_rate_point()
    for transform in (rate_point.analysis, rate_point.synthesis):
        transform.betas = [np.full(8 + i, 0.5, np.float32) for i in range(stages)]
        transform.gammas = [np.eye(8 + i, dtype=np.float32) for i in range(stages)]
    arrays = stored_arrays.of_half(rate_point, "decoder")
    stored_arrays.write(tmp_path, arrays)
    assert_same(
        type(rate_point)(
            **{
                **rate_point.__dict__,
                "synthesis": stored_arrays.transform_of(stored_arrays.read(tmp_path), "synthesis").map(np.float32),
            }
        ),
        rate_point,
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda index: index.pop("file"),
        lambda index: index.update(arrays=[]),
        lambda index: index["arrays"]["coder/lookup"].update(dtype="float8"),
        lambda index: index["arrays"]["coder/lookup"].update(offset=None),
        lambda index: index["arrays"]["coder/lookup"].update(shape=[10**7]),
    ],
)
def test_a_damaged_index_is_refused(change, tmp_path):
    stored_arrays.write(tmp_path, stored_arrays.of_half(random_rate_point(), "decoder"))
    index = json.loads((tmp_path / "arrays.json").read_text())
    change(index)
    (tmp_path / "arrays.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="arrays.json is damaged."):
        stored_arrays.read(tmp_path)


def test_nothing_outside_of_its_folder_is_read(tmp_path):
    (tmp_path / "inside").mkdir()
    stored_arrays.write(tmp_path, stored_arrays.of_half(random_rate_point(), "decoder"))
    index = (tmp_path / "arrays.json").read_text().replace("arrays.bin", "../arrays.bin")
    (tmp_path / "inside" / "arrays.json").write_text(index)
    with pytest.raises(FileNotFoundError):
        stored_arrays.read(tmp_path / "inside")


def test_only_what_is_there_is_indexed(tmp_path):
    arrays = stored_arrays.of_half(random_rate_point(), "decoder")
    (tmp_path / "saved_model.pb").write_bytes(bytes(100))
    with pytest.raises(ValueError, match="does not hold synthesis/kernels/0"):
        stored_arrays.index(tmp_path, arrays)


@pytest.mark.parametrize(
    "change",
    [
        # One bin less for a channel in one class, and one more for the other.
        lambda rows: [rows[0], rows[1][[0, 1, 2, 3, 3, 4]], rows[2][[0, 1, 2, 4]], *rows[3:]],
        # The classes' first, and one of a channel or of the classes that is not there.
        lambda rows: [*rows[4:], *rows[:4]],
        lambda rows: [*rows[:3], *rows[4:]],
        lambda rows: rows[:-1],
        # One bin of a class in another row.
        lambda rows: [*rows[:4], rows[4][[0, 1, 3]], np.insert(rows[5], 2, 2), rows[6]],
        lambda rows: rows[4:],
    ],
)
def test_tables_of_other_bins_in_another_class_are_refused(change):
    cdf, class_cdfs = np.array([[0, 1, 2, 65536]] * 2), np.array([[0, 1, 65536]] * 3)
    zeros = np.zeros(2, np.int32)
    arrays = CodingTables(zeros, [cdf, cdf], zeros, class_cdfs).arrays()
    lookup = arrays["coder/lookup"]
    rows = [*np.split(lookup[:20], 4), *np.split(lookup[20:], 3)]
    arrays["coder/lookup"] = np.concatenate(rows)
    assert stored_arrays.tables_of(arrays).num_classes == 2
    arrays["coder/lookup"] = np.concatenate(change(rows))
    with pytest.raises(ValueError, match="bins"):
        stored_arrays.tables_of(arrays)


def test_more_classes_than_decoders_tell_apart_are_refused():
    zero = np.zeros(1, np.int32)

    def arrays(num_classes):
        cdfs = [np.array([[0, 1, 65536]] * num_classes)]
        class_cdfs = np.array([[*range(num_classes), 65536]] * (num_classes + 1))
        lookup = np.concatenate(
            [np.insert(cdf, 0, sign, 1).ravel() for sign, cdf in ((-16, cdfs[0]), (16, class_cdfs))]
        )
        return {**CodingTables(zero, [None], zero).arrays(), "coder/active_channels": zero, "coder/lookup": lookup}

    assert stored_arrays.tables_of(arrays(63)).num_classes == 63
    with pytest.raises(ValueError, match="at most 63 classes, not 64"):
        stored_arrays.tables_of(arrays(64))
