"""Whatever a decoder is fed, it ends in a picture or in one sentence, and soon."""

import dataclasses
import io
import os
import pathlib
import subprocess
import sys
import tracemalloc

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
import numpy as np
from PIL import Image
import pytest

from balle2017 import codec
from balle2017.container import bitstream
from balle2017.container.bitstream import Bitstream, BitstreamError, DamagedError
from balle2017.pictures import images
from helpers.files import lying_header, sealed
from helpers.pictures import assert_alike, photograph
from helpers.rate_points import export_for_all, random_rate_point
from helpers.requirements import needs_tensorflow

ROOT = str(pathlib.Path(codec.__file__).parents[2])
FUZZ = dict(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def good(tiny_models_dir, runtime):
    """A small file, with metadata."""
    return codec.load("tiny-1", tiny_models_dir, runtime=runtime).compress(photograph(60, 40), {"EXIF": b"II*\0"})


def outcome(data, folder, runtime, salvage=False):
    """Decodes; returns a picture of the announced size, or `None` after a clear error."""
    try:
        decoded = codec.decompress(data, folder, max_pixels=10**6, salvage=salvage, runtime=runtime)
    except (BitstreamError, codec.ModelError) as error:
        assert str(error).endswith(".") and "\n" not in str(error)
        return None
    if not salvage:
        header = bitstream.read_header(data)
        assert decoded.pixels.shape == (header.height, header.width, 3)
    return decoded


def test_truncated_at_every_byte(good, tiny_models_dir, runtime):
    for length in range(len(good)):
        assert outcome(good[:length], tiny_models_dir, runtime) is None


def test_every_bit_flipped(good, tiny_models_dir, runtime):
    for bit in range(8 * len(good)):
        broken = bytearray(good)
        broken[bit // 8] ^= 1 << bit % 8
        assert outcome(bytes(broken), tiny_models_dir, runtime) is None
        assert bitstream.salvage(bytes(broken))[0] == bitstream.unpack(good)


def test_every_bit_of_the_header_flipped_and_sealed_again(good, tiny_models_dir, runtime):
    for bit in range(8 * 60):
        broken = bytearray(good[:-4])
        broken[bit // 8] ^= 1 << bit % 8
        outcome(sealed(bytes(broken)), tiny_models_dir, runtime)


def test_trailing_garbage_and_other_formats(good, tiny_models_dir, runtime):
    png = io.BytesIO()
    Image.new("RGB", (9, 9)).save(png, "PNG")
    for data in (good + b"\0", good + good, good[:-4], b"\0" * 100, png.getvalue(), b""):
        assert outcome(data, tiny_models_dir, runtime) is None


def test_random_bytes_in_valid_slices_are_found_out(good, tiny_models_dir, runtime):
    random = np.random.default_rng(0)
    contents = bitstream.unpack(good)
    for _ in range(30):
        # Of the right length they could be a picture; a good code wastes no strings.
        slices = [random.bytes(random.integers(150, 300)) for _ in contents.slices]
        data = bitstream.pack(dataclasses.replace(contents, slices=slices))
        assert outcome(data, tiny_models_dir, runtime) is None


@pytest.mark.parametrize(
    "width, height, slice_length",
    [
        (2**24 - 1, 2**24 - 1, 1),
        (2**24 - 1, 2**24 - 1, 65535),
        (2**24 - 1, 1, 1),
        (60000, 2**20, 65535),
    ],
)
def test_dimensions_that_lie_allocate_nothing(width, height, slice_length, tiny_models_dir, runtime):
    data = lying_header(width, height, slice_length, bytes(3000))
    tracemalloc.start()
    for salvage in (False, True):
        assert outcome(data, tiny_models_dir, runtime, salvage) is None
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2e6


def test_a_slice_that_ends_in_an_escape_ends(tmp_path, runtime):
    # tensorflow-compression's own decoder would count the zeros behind its end for ever.
    rate_point = random_rate_point("plain-1", num_classes=1)
    export_for_all(rate_point, tmp_path / "plain-1")
    tables = rate_point.tables
    escape = int(tables.cdfs[tables.active[0]][0, -2])
    contents = Bitstream(
        model="plain-1",
        fingerprint=rate_point.fingerprint(),
        width=16,
        height=16,
        channels=3,
        slice_length=7,
        slices=[escape.to_bytes(2, "big")],
    )
    program = """
import sys
from balle2017 import codec
try:
    codec.decompress(sys.stdin.buffer.read(), sys.argv[1], runtime=sys.argv[2])
except codec.DamagedError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), runtime],
        input=bitstream.pack(contents),
        env={**os.environ, "PYTHONPATH": ROOT},
        capture_output=True,
        timeout=100,
    )
    assert done.stdout == b"Slice 1 of 1 holds no valid data.\n"


@needs_tensorflow
def test_both_runtimes_say_the_same(tiny_models_dir, tiny_rate_point):
    random = np.random.default_rng(3)
    contents = bitstream.unpack(codec.load("tiny-1", tiny_models_dir).compress(photograph(120, 90)))
    for _ in range(20):
        slices = list(contents.slices)
        for index in random.integers(len(slices), size=random.integers(1, 4)):
            slices[index] = random.choice([slices[index][:-1], random.bytes(40), b"", slices[0]])
        data = bitstream.pack(dataclasses.replace(contents, slices=slices))
        said, saved = [], []
        for runtime in ("tensorflow", "onnx"):
            try:
                codec.decompress(data, tiny_models_dir, runtime=runtime)
                said.append(None)
            except DamagedError as error:
                said.append((str(error), error.slices))
            saved.append(codec.decompress(data, tiny_models_dir, salvage=True, runtime=runtime))
        assert said[0] == said[1] and saved[0].notices == saved[1].notices
        assert_alike(saved[0].pixels, saved[1].pixels)


FILE = bitstream.pack(
    Bitstream(
        model="tiny-1",
        fingerprint=1,
        width=60,
        height=70,
        channels=3,
        slice_length=3,
        slices=[b"abc", b"", b"d" * 130, bytes(5), b"e", b"fg", b"\xff"],
        metadata={"EXIF": b"II*\0", "XMP ": b"<x/>"},
    )
)


@st.composite
def mutations(draw, original):
    """A valid file with some of its parts replaced, removed, repeated or inserted."""
    data = bytearray(original)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 8)))
        data[start:end] = draw(
            st.one_of(
                st.binary(max_size=8),
                st.sampled_from([b"\0" * 4, b"\xff" * 4, b"\x80\x80\x80\x01", bytes(data[start:])]),
            )
        )
    data = bytes(data)
    return sealed(data[:-4]) if draw(st.booleans()) else data


def parses_or_explains(data):
    for read in (bitstream.unpack, bitstream.salvage, bitstream.read_header):
        try:
            result = read(data)
        except BitstreamError as error:
            assert str(error).endswith(".")
            continue
        if read is bitstream.unpack:
            # There is one way only to write a file.
            assert bitstream.pack(result) == data


@settings(max_examples=500, **FUZZ)
@given(st.one_of(st.binary(max_size=200), mutations(FILE)))
@example(lying_header(2**24 - 1, 2**24 - 1, 1, b""))
@example(b"\x89B17\x01\x03")
def test_fuzzed_files(data):
    parses_or_explains(data)


@pytest.mark.slow
@settings(max_examples=100_000, **FUZZ)
@given(st.one_of(st.binary(max_size=200), mutations(FILE)))
def test_fuzzed_files_at_length(data):
    parses_or_explains(data)


def fuzz_slices(examples, folder, runtime, rate_point):
    @settings(max_examples=examples, **FUZZ)
    @given(st.data())
    def fuzz(data):
        width, height = data.draw(st.integers(1, 70)), data.draw(st.integers(1, 70))
        contents = Bitstream(
            model=rate_point.name,
            fingerprint=rate_point.fingerprint(),
            width=width,
            height=height,
            channels=3,
            slice_length=data.draw(st.sampled_from([7, 7, 1, 3, 100, 65535])),
            slices=[],
        )
        count = contents.num_slices
        contents.slices = data.draw(st.lists(st.binary(max_size=50), min_size=count, max_size=count))
        outcome(bitstream.pack(contents), folder, runtime)
        outcome(bitstream.pack(contents), folder, runtime, salvage=True)

    fuzz()


def test_fuzzed_slices(tiny_models_dir, runtime, tiny_rate_point):
    fuzz_slices(50, tiny_models_dir, runtime, tiny_rate_point)


@pytest.mark.slow
def test_fuzzed_slices_at_length(tiny_models_dir, runtime, tiny_rate_point):
    fuzz_slices(3000, tiny_models_dir, runtime, tiny_rate_point)


def fuzz_pictures(examples):
    originals = []
    for format in ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "PPM", "JPEG2000", "ICO"):
        exif = Image.Exif()
        exif[0x0112] = 6
        out = io.BytesIO()
        Image.fromarray(photograph(24, 24)).save(out, format, exif=exif)
        originals.append(out.getvalue())

    @settings(max_examples=examples, **FUZZ)
    @given(st.sampled_from(originals).flatmap(mutations))
    def fuzz(data):
        try:
            picture = images.read(io.BytesIO(data), max_pixels=10**6, keep_metadata=True)
        except images.ImageError as error:
            assert str(error).endswith(".")
        else:
            assert picture.pixels.ndim == 3 and picture.pixels.dtype == np.uint8

    fuzz()


@pytest.mark.filterwarnings("ignore")
def test_fuzzed_pictures():
    fuzz_pictures(300)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_fuzzed_pictures_at_length():
    fuzz_pictures(10_000)
