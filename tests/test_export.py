"""Exported pairs: both runtimes, the same files, and what a stock TensorFlow does with them."""

import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
import tensorflow as tf

from balle2017.container import bitstream
from balle2017.export import main
from balle2017.model.weights import Transform
from balle2017.saved_model.arrays import transform_constants
from balle2017.saved_model.reading import load_rate_point
from balle2017.saved_model.writing import RUNTIMES, export
from helpers.exports import PICTURES, PNGS, Pair, picture, run_elsewhere
from helpers.rate_points import random_rate_point

TESTS = pathlib.Path(__file__).parent


@pytest.fixture(scope="module")
def pairs(tiny_models_dir, tiny_stock_dir):
    return dict(zip(RUNTIMES, (Pair(tiny_models_dir / "tiny-1"), Pair(tiny_stock_dir / "tiny-1"))))


def test_large_kernels_are_themselves_in_a_graph():
    kernel = np.random.default_rng(0).normal(size=[5, 5, 40, 41]).astype(np.float16)
    weights = transform_constants("analysis", Transform([np.float32(kernel)], [np.ones(41, np.float32)], [], []))

    @tf.function
    def given():
        assert weights().kernels[0].shape == kernel.shape
        return weights().kernels[0]

    assert given().dtype == tf.float32
    np.testing.assert_array_equal(given(), kernel)


def test_rate_point_comes_back(tiny_rate_point, tiny_models_dir):
    loaded = load_rate_point(tiny_models_dir / "tiny-1")
    assert loaded.fingerprint() == tiny_rate_point.fingerprint()
    for field in (
        "name",
        "lmbda",
        "num_latents",
        "channels",
        "slice_length",
        "gdn_alpha",
        "gdn_epsilon",
        "info",
    ):
        assert getattr(loaded, field) == getattr(tiny_rate_point, field)
    for ours, theirs in zip(loaded.analysis.arrays(), tiny_rate_point.analysis.arrays()):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(loaded.prior["matrix"], tiny_rate_point.prior["matrix"])


def test_only_exports_of_training_come_back(tiny_stock_dir, tiny_models_dir, tmp_path):
    with pytest.raises(ValueError, match="export for servers"):
        load_rate_point(tiny_stock_dir / "tiny-1")
    with pytest.raises(FileNotFoundError, match="no model"):
        load_rate_point(tmp_path)
    changed = tmp_path / "changed"
    shutil.copytree(tiny_models_dir / "tiny-1", changed)
    info = json.loads((changed / "model.json").read_text())
    (changed / "model.json").write_text(json.dumps({**info, "gdn_alpha": 1}))
    with pytest.raises(ValueError, match="fingerprint"):
        load_rate_point(changed)


def test_each_part_holds_its_own_weights_once(tiny_rate_point, tiny_models_dir):
    for part, kernels in (
        ("encoder", tiny_rate_point.analysis.kernels),
        ("decoder", tiny_rate_point.synthesis.kernels),
    ):
        data = (tiny_models_dir / "tiny-1" / part / "1" / "saved_model.pb").read_bytes()
        for kernel in kernels:
            assert data.count(np.float16(kernel).tobytes()) == 1
    other = np.float16(tiny_rate_point.analysis.kernels[0]).tobytes()
    assert other not in data


def test_bfloat16_is_nearly_the_same(pairs):
    pixels = tf.constant(picture(61, 83)[np.newaxis])
    for pair in pairs.values():
        latents = pair.encoder["latents"](pixels=pixels)["latents"]
        rounded = pair.encoder["latents_bfloat16"](pixels=pixels)["latents"]
        assert rounded.shape == latents.shape and rounded.dtype == tf.int32
        error = np.mean(np.abs(np.subtract(rounded, latents)))
        assert error < 0.05 * np.mean(np.abs(latents))
        exact = np.asarray(pair.decoder["synthesize"](latents=latents)["pixels"], float)
        rounded = pair.decoder["synthesize_bfloat16"](latents=latents)["pixels"]
        assert rounded.shape == exact.shape and rounded.dtype == tf.uint8
        assert np.mean(np.abs(rounded - exact)) < 2


def test_export_replaces_an_earlier_one(tiny_rate_point, tmp_path):
    (tmp_path / "tiny-1").mkdir()
    (tmp_path / "tiny-1" / "old").touch()
    export(tiny_rate_point, tmp_path / "tiny-1")
    assert sorted(os.listdir(tmp_path)) == ["tiny-1"]
    assert sorted(os.listdir(tmp_path / "tiny-1")) == [
        "decoder",
        "encoder",
        "model.json",
        "prior.npz",
    ]


def test_failing_export_leaves_nothing(tiny_rate_point, tmp_path):
    with pytest.raises(ValueError, match="runtime"):
        export(tiny_rate_point, tmp_path / "tiny-1", "other")
    assert os.listdir(tmp_path) == []


def test_both_runtimes_write_and_read_the_same(pairs):
    files = pairs["tfc"].compress(PNGS)
    assert pairs["stock"].compress(PNGS) == files
    images = pairs["tfc"].decompress(files)
    assert pairs["stock"].decompress(files) == images
    for image, pixels in zip(images, PICTURES):
        assert tf.io.decode_png(image).shape == pixels.shape


def test_a_large_picture_is_the_same_in_both_runtimes(pairs):
    image = [tf.io.encode_png(picture(1500, 2000)).numpy()]
    files = pairs["tfc"].compress(image)
    assert pairs["stock"].compress(image) == files
    latents = [pairs[runtime].decoder["latents"](tf.constant(files))["latents"] for runtime in RUNTIMES]
    np.testing.assert_array_equal(*latents)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_signatures_agree(pairs, runtime, tiny_rate_point):
    encoder, decoder = pairs[runtime].encoder, pairs[runtime].decoder
    pixels = np.stack([picture(40, 100), picture(40, 100, "noise")])
    files = encoder["pixels"](pixels=tf.constant(pixels))["bitstream_bytes"].numpy()
    assert list(files) == pairs["tfc"].compress([tf.io.encode_png(p).numpy() for p in pixels])
    latents = encoder["latents"](pixels=tf.constant(pixels))["latents"]
    assert latents.shape == [2, 3, 7, 12]
    for file, own in zip(files, latents.numpy()):
        slices = encoder["encode_slices"](latents=tf.constant(own.reshape(-1, 12)))["slices"]
        parsed = bitstream.unpack(file)
        assert list(slices.numpy()) == parsed.slices
        assert (parsed.model, parsed.width, parsed.height, parsed.channels) == (
            "tiny-1",
            100,
            40,
            3,
        )
        assert parsed.fingerprint == tiny_rate_point.fingerprint()
        assert bitstream.pack(parsed) == file
        decoded = decoder["decode_slices"](slices=slices, slice_length=tf.constant(7), num_positions=tf.constant(21))
        assert np.all(decoded["valid"])
        np.testing.assert_array_equal(
            decoded["latents"],
            tf.reshape(decoder["latents"](tf.constant([file]))["latents"], [21, 12]),
        )
    decoded = decoder["latents"](bitstream_bytes=tf.constant(files))["latents"]
    active = tiny_rate_point.tables.active
    np.testing.assert_array_equal(decoded.numpy()[..., active], latents.numpy()[..., active])
    reconstructed = decoder["pixels"](bitstream_bytes=tf.constant(files))["pixels"]
    assert reconstructed.shape == pixels.shape
    whole = decoder["synthesize"](latents=decoded)["pixels"]
    np.testing.assert_array_equal(whole[:, :40, :100], reconstructed)
    images = pairs[runtime].decompress(files)
    np.testing.assert_array_equal(np.stack([tf.io.decode_png(i) for i in images]), reconstructed)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_other_slice_lengths_are_refused(pairs, tiny_rate_point, runtime):
    parsed = bitstream.unpack(pairs["tfc"].compress([PNGS[0]])[0])
    parsed.slice_length, parsed.width, parsed.height = 65535, 4000, 4000
    parsed.slices = [b""] * parsed.num_slices
    with pytest.raises(tf.errors.InvalidArgumentError, match="not of 7 positions"):
        pairs[runtime].decompress([bitstream.pack(parsed)])


def test_metadata_are_skipped(pairs, tiny_rate_point):
    pixels = picture(90, 120)
    (file,) = pairs["tfc"].compress([tf.io.encode_png(pixels).numpy()])
    expected = pairs["tfc"].decoder["latents"](tf.constant([file]))["latents"]
    parsed = bitstream.unpack(file)
    parsed.metadata = {"EXIF": b"abc", "XMP ": b""}
    other = bitstream.pack(parsed)
    for runtime in RUNTIMES:
        latents = pairs[runtime].decoder["latents"](tf.constant([file, other]))["latents"]
        np.testing.assert_array_equal(latents[0], expected[0])
        np.testing.assert_array_equal(latents[1], expected[0])


@pytest.mark.slow
def test_grayscale(tmp_path):
    export(random_rate_point("gray-1", channels=1), tmp_path / "gray-1", "stock")
    pair = Pair(tmp_path / "gray-1")
    (file,) = pair.compress(PNGS[1:2])
    assert bitstream.unpack(file).channels == 1
    (image,) = pair.decompress([file])
    assert tf.io.decode_png(image).shape == [17, 3, 1]


def with_checksum(data):
    return data + struct.pack("<I", zlib.crc32(data))


def damaged_files(file):
    body = file[:-4]
    return {
        "This is not": [b"", b"\x89B", b"something else altogether"],
        "version": [file[:4] + b"\x02" + file[5:]],
        "cut off within its header": [file[:9], file[:25]],
        "CRC-32": [
            file[:-1],
            file + b"x",
            file[:60] + b"\x00\x01" + file[62:],
            file[: len(file) // 2],
        ],
        "not made by this model": [
            with_checksum(body[:6] + b"\0\1\2\3" + body[10:]),
            with_checksum(body[:6] + b"\0\1\2\3" + body[10:18] + b"\3abc" + body[25:]),
        ],
        "flags": [
            with_checksum(body[:5] + b"\x01" + body[6:]),
            with_checksum(body[:5] + b"\x13" + body[6:]),
        ],
        "size of zero": [
            with_checksum(body[:10] + b"\0\0\0" + body[13:]),
            with_checksum(body[:16] + b"\0\0" + body[18:]),
        ],
        "pixels": [with_checksum(body[:10] + b"\xff" * 6 + body[16:])],
        "slice table, or its size": [with_checksum(body[:10] + b"\xff\x20\0\xff\x20\0" + body[16:])],
        "beyond its end": [with_checksum(body[:25] + b"\xff\xff\xff\x7f" + body[29:])],
        "not valid": [
            with_checksum(body[:25] + b"\x80\0" + body[27:]),
            with_checksum(body[:25] + b"\xff\xff\xff\xff\x01" + body[30:]),
        ],
        "contradicts": [
            with_checksum(body + b"x"),
            with_checksum(body[:5] + b"\x0b" + body[6:]),
            with_checksum(body[:5] + b"\x0b" + body[6:] + b"\xff\xff\xff\xff"),
        ],
        "slice of the file is damaged": [with_checksum(body[:-1] + bytes([body[-1] ^ 1]))],
    }


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_wrong_files_are_refused_with_a_reason(pairs, runtime):
    (file,) = pairs[runtime].compress([tf.io.encode_png(picture(64, 48)).numpy()])
    for message, files in damaged_files(file).items():
        for wrong in files:
            with pytest.raises(tf.errors.InvalidArgumentError, match=message):
                pairs[runtime].decompress([wrong])
    assert pairs[runtime].decompress([file])


def test_a_slice_that_no_encoder_wrote_is_refused(pairs):
    (file,) = pairs["tfc"].compress(PNGS[3:4])
    parsed = bitstream.unpack(file)
    parsed.slices[1] += b"\0"
    for runtime in RUNTIMES:
        with pytest.raises(tf.errors.InvalidArgumentError, match="slice of the file is damaged"):
            pairs[runtime].decompress([bitstream.pack(parsed)])


def test_wrong_images_are_refused_with_a_reason(pairs):
    png = PNGS[4]
    cases = {
        "neither a PNG nor a JPEG": [b"", b"hello", b"GIF89a"],
        "Invalid PNG": [png[:20], png[:100]],
        "pixels": [png[:16] + b"\0\xff\xff\xff\0\xff\xff\xff" + png[24:]],
        "Invalid JPEG": [b"\xff\xd8\xff" + bytes(50)],
    }
    for message, images in cases.items():
        for wrong in images:
            with pytest.raises(tf.errors.InvalidArgumentError, match=message):
                pairs["stock"].compress([wrong])
    with pytest.raises(tf.errors.InvalidArgumentError, match="batch is empty"):
        pairs["stock"].encoder["serving_default"](tf.constant([], tf.string))


def test_stock_pair_needs_nothing_but_tensorflow(pairs, tiny_stock_dir, tmp_path):
    files = pairs["tfc"].compress(PNGS)
    out = run_elsewhere(sys.executable, tiny_stock_dir / "tiny-1", PNGS, files, tmp_path)
    assert list(out["files"]) == files
    assert list(out["images"]) == pairs["tfc"].decompress(files)


def test_command(tiny_models_dir, tmp_path):
    command = [
        sys.executable,
        "-m",
        "balle2017.export",
        str(tiny_models_dir),
        str(tmp_path / "out"),
    ]
    result = subprocess.run(command, cwd=TESTS.parent, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert sorted(os.listdir(tmp_path / "out")) == ["tiny-1"]
    pytest.importorskip("tensorflow_serving")
    from tensorflow_serving.apis import prediction_log_pb2

    directory = tmp_path / "out" / "tiny-1" / "encoder" / "1"
    warmup = tf.data.TFRecordDataset(str(directory / "assets.extra" / "tf_serving_warmup_requests"))
    records = [prediction_log_pb2.PredictionLog.FromString(record.numpy()) for record in warmup]
    request = records[0].predict_log.request
    assert request.model_spec.name == "tiny-1-encoder"
    assert tf.make_ndarray(request.inputs["image_bytes"]).shape == (1,)


def test_command_answers_with_one_sentence(tiny_models_dir, tmp_path, capsys):
    models, out = str(tiny_models_dir), tmp_path / "out"
    for arguments in ([str(tmp_path / "nothing"), str(out)], [models, models]):
        assert main(arguments) in (1, 2)
        error = capsys.readouterr().err
        assert error.startswith("balle2017.export: ") and error.endswith(".\n") and error.count("\n") == 1
    assert os.listdir(tmp_path) == []
    (out / "tiny-1").mkdir(parents=True)
    (out / "tiny-1" / "mine").touch()
    for overwrite in ([], ["--overwrite"]):
        assert main([models, str(out), *overwrite]) == 2
        assert "exists and is no exported model" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert main([models, str(tmp_path / "file")]) == 1
    assert f"{tmp_path / 'file'}: It is a file and no folder.\n" in capsys.readouterr().err
    (out / "tiny-1" / "model.json").write_text("{}")
    assert main([models, str(out)]) == 0
    assert "Skipped" in capsys.readouterr().err and sorted(os.listdir(out / "tiny-1")) == ["mine", "model.json"]


def test_the_command_s_runtimes_are_all():
    from balle2017 import export

    (action,) = [a for a in export._parser()._actions if a.dest == "runtime"]
    assert set(action.choices) == {*RUNTIMES, "onnx"}


@pytest.mark.parametrize("file, family", [("models.config", "bls2017-mse"), ("models-msssim.config", "bls2017-msssim")])
def test_configuration_names_what_is_exported(file, family):
    config = (TESTS.parent / "serving" / file).read_text()
    for index in range(1, 9):
        for part in ("encoder", "decoder"):
            assert f'name: "{family}-{index}-{part}"' in config
            assert f'base_path: "/models/{family}-{index}/{part}"' in config
    assert config.count("base_path") == 16
