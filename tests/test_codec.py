"""Pixels to bytes and back: sizes, tiles, and models that are not there."""

import copy
import dataclasses
import os
import pathlib
import pickle
import shutil
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from balle2017 import codec
from balle2017.codec import ModelError, tiling
from balle2017.container import bitstream
from balle2017.container.bitstream import BitstreamError, DamagedError
from helpers.files import coded_latents
from helpers.pictures import assert_alike, photograph
from helpers.requirements import NEEDS_TENSORFLOW, needs_tensorflow


@pytest.fixture(scope="module")
def tiny(tiny_models_dir, runtime):
    return codec.load("tiny-1", tiny_models_dir, runtime=runtime)


@pytest.fixture(scope="module")
def graph(tiny_models_dir):
    pytest.importorskip("tensorflow_compression", reason=NEEDS_TENSORFLOW)
    return codec.load("tiny-1", tiny_models_dir, runtime="tensorflow")


def whole_latents(model, pixels):
    return model.runtime.analyze(pixels)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (17, 1), (16, 16), (33, 47), (100, 75)])
def test_any_size_goes_through(tiny, tiny_models_dir, runtime, size):
    data = tiny.compress(photograph(*size))
    decoded = codec.decompress(data, tiny_models_dir, runtime=runtime)
    assert decoded.pixels.shape == (*size, 3) and decoded.pixels.dtype == np.uint8
    assert decoded.notices == [] and decoded.model == "tiny-1"


def test_decoded_latents_are_the_encoder_s(tiny, tiny_rate_point):
    pixels = photograph(120, 90)
    active = tiny_rate_point.tables.active
    expected = whole_latents(tiny, pixels)
    np.testing.assert_array_equal(coded_latents(tiny, pixels)[..., active], expected[..., active])


def test_bfloat16_makes_and_reads_the_same_kind_of_files(graph, tiny_models_dir):
    pixels = photograph(40, 50)
    data = codec.load("tiny-1", tiny_models_dir, "bfloat16").compress(pixels)
    exact = codec.decompress(data, tiny_models_dir).pixels
    rounded = codec.decompress(data, tiny_models_dir, arithmetic="bfloat16").pixels
    assert exact.shape == rounded.shape == pixels.shape
    assert np.mean(np.abs(np.subtract(exact, rounded, dtype=float))) < 2


@needs_tensorflow
def test_the_range_coder_comes_without_its_package():
    code = (
        "import sys; from balle2017 import codec; codec.tensorflow();"
        "assert 'tensorflow_probability' not in sys.modules;"
        "import tensorflow_compression; assert tensorflow_compression.create_range_encoder"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_files_are_those_of_the_graph(graph):
    pixels = photograph(64, 80)
    outputs = graph.runtime.call("encoder", "pixels", pixels=pixels[None])
    assert graph.compress(pixels) == outputs["bitstream_bytes"][0]


def test_decoded_pixels_are_those_of_the_graph(graph, tiny_models_dir):
    data = graph.compress(photograph(70, 50))
    outputs = graph.runtime.call("decoder", "pixels", bitstream_bytes=[data])
    np.testing.assert_array_equal(
        codec.decompress(data, tiny_models_dir, runtime="tensorflow").pixels, outputs["pixels"][0]
    )


def test_the_runtimes_agree(graph, tiny_models_dir):
    light = codec.load("tiny-1", tiny_models_dir, runtime="onnx")
    for size in ((1, 1), (70, 50), (300, 200)):
        pixels = photograph(*size)
        expected, latents = (np.concatenate(list(m.analyze(pixels))) for m in (graph, light))
        # Only where float rounding falls on a tie.
        assert np.mean(latents != expected) < 1e-3 and np.abs(latents - expected).max() <= 1
        for model in (graph, light):
            contents = bitstream.unpack(model.compress(pixels))
            np.testing.assert_array_equal(graph.decode_latents(contents), light.decode_latents(contents))
            decoded = [np.concatenate(list(m.decode_bands(contents))).astype(int) for m in (graph, light)]
            assert_alike(*decoded)


@needs_tensorflow
def test_what_is_missing_is_said(tiny_models_dir, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for runtime, sentence in [
        ("onnx", "needs the package onnxruntime, which is not installed"),
        ("tensorflow", "needs TensorFlow, which is not installed"),
        ("auto", "needs the package onnxruntime.* needs TensorFlow"),
    ]:
        with pytest.raises(ModelError, match=sentence):
            codec.Model(tiny_models_dir / "tiny-1", runtime=runtime)


def test_effort_without_tensorflow_is_refused(tiny_models_dir, monkeypatch):
    model = codec.Model(tiny_models_dir / "tiny-1", runtime="onnx")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match="effort above 0 needs TensorFlow.*or take effort 0"):
        model.compress(photograph(20, 20), effort=1)


def test_runtimes_that_cannot_be(tiny_models_dir):
    with pytest.raises(ModelError, match="does not compute with bfloat16"):
        codec.load("tiny-1", tiny_models_dir, "bfloat16", "onnx")
    with pytest.raises(ValueError, match="no runtime 'torch', only auto, onnx, tensorflow"):
        codec.load("tiny-1", tiny_models_dir, runtime="torch")


@pytest.fixture
def small_tiles(monkeypatch):
    monkeypatch.setattr(tiling, "_TILE_SIDE", 8)
    monkeypatch.setattr(tiling, "CODER_POSITIONS", 20)


@pytest.mark.parametrize("size", [(300, 350), (131, 1000), (1000, 20), (129, 129)])
def test_tiles_give_what_the_whole_picture_gives(tiny, tiny_models_dir, runtime, small_tiles, size):
    pixels = photograph(*size)
    whole = whole_latents(tiny, pixels)
    tiled = np.concatenate(list(tiny.analyze(pixels)))
    # Only where float rounding falls on a tie.
    assert np.mean(tiled != whole) < 1e-4 and np.abs(tiled - whole).max() <= 1
    data = tiny.compress(pixels)
    latents = tiny.decode_latents(bitstream.unpack(data))
    expected = tiny.runtime.synthesize(latents)
    expected = expected[: size[0], : size[1]].astype(int)
    assert_alike(codec.decompress(data, tiny_models_dir, runtime=runtime).pixels, expected)


def test_one_latent_less_of_context_is_not_enough(tiny, small_tiles, monkeypatch):
    pixels = photograph(300, 350)
    whole = whole_latents(tiny, pixels)
    for context in ((0, 2), (1, 1)):
        monkeypatch.setattr(tiling, "ANALYSIS_CONTEXT", context)
        assert np.mean(np.concatenate(list(tiny.analyze(pixels))) != whole) > 1e-3


def test_tiles_are_bounded():
    for height, width in [(1, 10**6), (10**5, 3), (500, 700), (63, 100), (64, 65), (2000, 2000)]:
        for context in (tiling.ANALYSIS_CONTEXT, tiling.SYNTHESIS_CONTEXT):
            rows, cols = tiling.tiles(height, width, sum(context))
            assert [r[0] for r in rows] == [0] + [r[1] for r in rows[:-1]] and rows[-1][1] == height
            assert [c[0] for c in cols] == [0] + [c[1] for c in cols[:-1]] and cols[-1][1] == width
            sides = [
                max(b - a for a, b in (tiling.widen(*span, size, context) for span in spans))
                for spans, size in ((rows, height), (cols, width))
            ]
            assert sides[0] * sides[1] <= tiling._TILE_SIDE**2


def test_side_by_side_keeps_the_order_and_few_at_a_time():
    made, done, most = [], [], 0

    def job(index):
        time.sleep(0.01 if index % 3 else 0.03)
        done.append(index)
        return index

    def jobs():
        for index in range(9):
            made.append(index)
            yield (index,)

    for count, index in enumerate(tiling.side_by_side(job, jobs())):
        assert index == count
        most = max(most, len(made) - count)
    assert len(done) == 9 and 2 <= most <= 4


def test_side_by_side_ends_where_its_caller_does():
    def job(index):
        if index == 2:
            raise ValueError("two")
        return index

    found, threads = tiling.side_by_side(job, ((index,) for index in range(100))), threading.active_count()
    assert (next(found), next(found)) == (0, 1)
    with pytest.raises(ValueError, match="two"):
        next(found)
    found = tiling.side_by_side(job, ((index,) for index in range(3, 100)))
    assert next(found) == 3
    found.close()
    assert threading.active_count() == threads


def test_damaged_slices_are_named_and_salvaged(tiny, tiny_models_dir, runtime):
    pixels = photograph(160, 160)
    data = tiny.compress(pixels)
    contents = bitstream.unpack(data)
    assert contents.num_slices == 15
    start = data.index(contents.slices[5])
    bad = data[:start] + bytes(b ^ 0x5A for b in data[start : start + 4]) + data[start + 4 :]
    with pytest.raises(DamagedError, match="slice 6 of 15"):
        codec.decompress(bad, tiny_models_dir, runtime=runtime)
    salvaged = codec.decompress(bad, tiny_models_dir, runtime=runtime, salvage=True)
    assert salvaged.lost == [5]
    assert "1 of 15 slices are lost, between the rows 48 and 80" in salvaged.notices[1]
    good = codec.decompress(data, tiny_models_dir, runtime=runtime).pixels
    # Slice 5 is positions 35–41: latent rows 3 and 4, and synthesis reaches 1 up and 2 down.
    np.testing.assert_array_equal(salvaged.pixels[:32], good[:32])
    np.testing.assert_array_equal(salvaged.pixels[112:], good[112:])
    assert (salvaged.pixels[48:80] != good[48:80]).any()


def test_another_model_is_refused(tiny, tiny_models_dir, runtime):
    data = tiny.compress(photograph(30, 30))
    contents = bitstream.unpack(data)
    foreign = bitstream.pack(dataclasses.replace(contents, fingerprint=contents.fingerprint ^ 1))
    with pytest.raises(ModelError, match="cannot decode it"):
        codec.decompress(foreign, tiny_models_dir, runtime=runtime)
    unknown = bitstream.pack(dataclasses.replace(contents, model="other-3"))
    with pytest.raises(ModelError, match="no model other-3.*tiny-1"):
        codec.decompress(unknown, tiny_models_dir, runtime=runtime)
    gray = bitstream.pack(dataclasses.replace(contents, channels=1))
    with pytest.raises(BitstreamError, match="1 channels"):
        codec.decompress(gray, tiny_models_dir, runtime=runtime)


@pytest.mark.parametrize("slice_length", [1, 8, 65535])
def test_slices_that_are_not_the_model_s_are_refused_at_once(tiny, tiny_models_dir, slice_length, monkeypatch):
    contents = dataclasses.replace(
        bitstream.unpack(tiny.compress(photograph(30, 30))), width=200, height=200, slice_length=slice_length
    )
    contents.slices = [b""] * contents.num_slices
    monkeypatch.setattr(codec.Model, "decode_slices", None)
    for salvage in (False, True):
        with pytest.raises(BitstreamError, match=f"slices of {slice_length} positions.*of 7"):
            codec.Decompression(bitstream.pack(contents), tiny_models_dir, salvage=salvage)
    for decode in (tiny.decode, tiny.decode_latents):
        with pytest.raises(BitstreamError, match=f"slices of {slice_length} positions"):
            decode(contents)


def test_notices_are_those_of_one_pass(tiny, tiny_models_dir):
    data = bytearray(tiny.compress(photograph(160, 160)))
    data[-60:-50] = bytes(10)
    decompression = codec.Decompression(bytes(data), tiny_models_dir, salvage=True)
    first = decompression.whole(), list(decompression.notices), list(decompression.lost)
    again = decompression.whole(), decompression.notices, decompression.lost
    assert len(first[1]) == 2 and first[1:] == again[1:]
    np.testing.assert_array_equal(first[0], again[0])


@pytest.mark.parametrize("effort", [2.0, 1.5, "2", None, -1, 10, float("nan")])
def test_wrong_efforts_are_refused(tiny, effort):
    with pytest.raises(ValueError, match="Effort is a whole number from 0 to 4"):
        tiny.compress(photograph(20, 20), effort=effort)
    with pytest.raises(ValueError, match="Effort is a whole number from 0 to 4"):
        codec.compress_to_bpp([tiny], photograph(20, 20), 1, effort=effort)
    with pytest.raises(ValueError, match="Effort is a whole number from 1 to 4"):
        tiny.compress_to_size(photograph(20, 20), 100, effort=effort)


@pytest.mark.parametrize("number", [0, -1, float("nan"), float("inf"), "much", [1]])
def test_numbers_that_must_be_positive(tiny, number):
    pixels = photograph(20, 20)
    with pytest.raises(ValueError, match="λ is a number above 0"):
        tiny.compress(pixels, effort=1, lmbda=number)
    with pytest.raises(ValueError, match="target in bits per pixel is a number above 0"):
        codec.compress_to_bpp([tiny], pixels, number)
    with pytest.raises(ValueError, match="size in bytes is a number above 0"):
        tiny.compress_to_size(pixels, number)


def test_numpy_s_integers_are_efforts(tiny):
    pixels = photograph(20, 20)
    assert tiny.compress(pixels, effort=np.int64(0)) == tiny.compress(pixels)


def test_unknown_arithmetic_is_refused(tiny_models_dir):
    with pytest.raises(ValueError, match="float32 or bfloat16, not 'float16'"):
        codec.load("tiny-1", tiny_models_dir, "float16")


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
@needs_tensorflow
def test_a_used_model_can_be_copied(tiny_models_dir, duplicate):
    model, pixels = codec.Model(tiny_models_dir / "tiny-1", "bfloat16"), photograph(20, 20)
    data = model.compress(pixels, effort=1)
    other = duplicate(model)
    assert other.arithmetic == "bfloat16" and other.compress(pixels, effort=1) == data


def test_pixel_limit(tiny, tiny_models_dir, runtime):
    data = tiny.compress(photograph(30, 30))
    with pytest.raises(codec.TooLargeError, match="30×30, more than 899 pixels"):
        codec.decompress(data, tiny_models_dir, runtime=runtime, max_pixels=899)
    assert codec.decompress(data, tiny_models_dir, runtime=runtime, max_pixels=900).pixels.shape == (30, 30, 3)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros([0, 5, 3], np.uint8),
        np.zeros([5, 5, 1], np.uint8),
        np.zeros([5, 5, 3], np.float32),
        np.zeros([5, 5], np.uint8),
    ],
)
def test_wrong_pixels_are_refused(tiny, pixels):
    with pytest.raises(ValueError):
        tiny.compress(pixels)


class FixedRate:
    """A model whose files have a given size."""

    def __init__(self, size):
        self.name, self.size = f"fixed-{size}", size

    def compress(self, pixels, metadata, progress=None):
        return bytes(self.size)


@pytest.mark.parametrize(
    "bpp, strict, size",
    [
        (1, False, 20),
        (1, True, 10),
        (0.1, False, 10),
        (50, True, 90),
        (2.4, True, 30),
        (4, False, 40),
    ],
)
def test_target_bpp(bpp, strict, size):
    models = [FixedRate(size) for size in (10, 20, 30, 40, 90)]
    pixels = np.zeros([10, 13, 3], np.uint8)
    model, data = codec.compress_to_bpp(models, pixels, bpp, strict)
    assert len(data) == model.size == size


def test_strict_target_that_no_model_reaches():
    with pytest.raises(ModelError, match="Even fixed-10 takes 0.8000 bits"):
        codec.compress_to_bpp([FixedRate(10)], np.zeros([10, 10, 3], np.uint8), 0.5, True)


def test_decoding_needs_no_encoder_and_import_needs_no_tensorflow(tiny, tiny_models_dir, runtime, tmp_path):
    shutil.copytree(tiny_models_dir / "tiny-1", tmp_path / "tiny-1")
    shutil.rmtree(tmp_path / "tiny-1" / "encoder")
    (tmp_path / "a.tfci").write_bytes(tiny.compress(photograph(40, 30)))
    program = """
import sys
import threading
import time
from balle2017 import codec, tfci
assert "tensorflow" not in sys.modules
print(codec.decompress(open("a.tfci", "rb").read(), ".", runtime=sys.argv[1]).pixels.shape)
assert ("tensorflow" in sys.modules) == (sys.argv[1] == "tensorflow")
"""
    root = str(pathlib.Path(codec.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", program, runtime],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "(40, 30, 3)\n", "")
