"""The codec in the web page, in a real browser: what the package decodes and encodes, and what is refused."""

import base64
import dataclasses
import io
import pathlib

import numpy as np
from PIL import Image
import pytest

from balle2017 import codec
from balle2017.container import bitstream
from balle2017.container.bitstream import BitstreamError
from balle2017.evaluation import metrics
from balle2017.saved_model import stored_arrays
from helpers.files import lying_header, sealed
from helpers.web import (
    KODAK,
    PRELUDE,
    RATE_POINTS,
    assert_same_pixels,
    call,
    encoded,
    page_decodes,
    page_encodes,
)

GOLDEN = pathlib.Path(__file__).parent / "golden"


def files(page_models_dir):
    """Golden files of models that are there, and one of each rate point."""
    found = {path.name: path.read_bytes() for path in sorted(GOLDEN.glob("*-golden-*.tfci"))}
    pixels = np.asarray(Image.open(KODAK).convert("RGB"))
    for name in RATE_POINTS:
        found[name] = codec.load(name, page_models_dir).compress(pixels)
    return found


def test_files_decode_to_the_same_latents_and_pixels(browser, page_models_dir):
    for data in files(page_models_dir).values():
        contents = bitstream.unpack(data)
        model = codec.load(contents.model, page_models_dir)
        latents, pixels = page_decodes(browser, data)
        np.testing.assert_array_equal(latents, model.decode_latents(contents))
        assert_same_pixels(pixels, model.decode(contents))


def test_latents_become_the_same_bytes(browser, page_models_dir):
    script = """const [model, data, height, width, pictureHeight, pictureWidth] = arguments;
        const latents = { data: new Int32Array(bytes(data).buffer), height, width };
        answer(balle2017.encodeLatents(model, latents, pictureWidth, pictureHeight).then(text))"""
    for data in files(page_models_dir).values():
        contents = bitstream.unpack(data)
        contents.metadata = {}
        model = codec.load(contents.model, page_models_dir)
        if contents.fingerprint != model.fingerprint:
            # Files of older versions are read, and no longer written.
            continue
        latents = model.decode_latents(contents)
        arguments = contents.model, encoded(latents.tobytes()), *contents.latent_size, contents.height, contents.width
        assert base64.b64decode(call(browser, script, *arguments)) == bitstream.pack(contents)


def test_large_pictures_go_in_tiles(browser, page_models_dir):
    pixels = np.tile(np.asarray(Image.open(KODAK).convert("RGB")), (2, 2, 1))[:1020, :1100]
    model = codec.load(RATE_POINTS[0], page_models_dir)
    data = model.compress(pixels)
    latents, decoded = page_decodes(browser, data)
    assert latents.shape[0] * latents.shape[1] > 4096
    assert_same_pixels(decoded, codec.decompress(data, page_models_dir).pixels)
    png = io.BytesIO()
    Image.fromarray(pixels).save(png, "PNG")
    again = bitstream.unpack(page_encodes(browser, png.getvalue(), model.name))
    # Sums in another order round a few of them to the other side.
    assert np.mean(model.decode_latents(again) != latents) < 1e-4


def test_the_command_decompresses_what_the_page_makes(browser, page_models_dir):
    pixels = np.asarray(Image.open(KODAK).convert("RGB"))
    data = page_encodes(browser, KODAK.read_bytes(), RATE_POINTS[0])
    own = codec.load(RATE_POINTS[0], page_models_dir).compress(pixels)
    expected = metrics.psnr(pixels, codec.decompress(own, page_models_dir).pixels)
    assert metrics.psnr(pixels, codec.decompress(data, page_models_dir).pixels) == pytest.approx(expected, abs=0.01)
    assert len(data) == pytest.approx(len(own), rel=1e-3)


def hostile_files(small_file):
    for length in range(len(small_file)):
        yield small_file[:length]
    for bit in range(8 * len(small_file)):
        broken = bytearray(small_file)
        broken[bit // 8] ^= 1 << bit % 8
        yield bytes(broken)
        if bit < 8 * 60:
            yield sealed(bytes(broken[:-4]))
    yield from (small_file + b"\0", small_file + small_file, b"\0" * 100, KODAK.read_bytes()[:1000], b"\x89B17\x01\x03")
    contents, random = bitstream.unpack(small_file), np.random.default_rng(0)
    for _ in range(30):
        slices = [random.bytes(random.integers(0, 300)) for _ in contents.slices]
        yield bitstream.pack(dataclasses.replace(contents, slices=slices))
    for width, height, length in [(2**24 - 1, 2**24 - 1, 1), (2**24 - 1, 2**24 - 1, 65535), (2**24 - 1, 1, 1)]:
        yield lying_header(width, height, length, bytes(3000))


def test_hostile_files_get_the_sentence_of_the_command(browser, page_models_dir, small_file):
    cases = list(hostile_files(small_file))
    script = """(async () => {
        const sentences = [];
        for (const file of arguments[0]) {
          sentences.push(await balle2017.decode(bytes(file)).then(() => null, (error) => error.message));
        }
        return sentences;
      })().then((value) => done({ value }))"""
    sentences = call(browser, script, [encoded(data) for data in cases])
    for data, sentence in zip(cases, sentences):
        try:
            codec.decompress(data, page_models_dir, max_pixels=5 * 10**7)
            expected = None
        except (BitstreamError, codec.ModelError) as error:
            expected = str(error)
        if expected and ("There is no model" in expected or "too large" in expected):
            # Where models are and what limits there are is not the same.
            assert sentence[:20] == expected[:20] and sentence.endswith(".")
        else:
            assert sentence == expected
    # The page goes on.
    assert page_decodes(browser, small_file)[1].shape == (60, 40, 3)


@pytest.mark.parametrize("width, height", [(40000, 16), (16, 40000), (8000, 8000)])
def test_pictures_that_no_page_can_hold_are_refused(browser, page_models_dir, width, height):
    model = codec.load("golden-2", page_models_dir)
    contents = bitstream.Bitstream(
        model="golden-2", fingerprint=model.fingerprint, width=width, height=height, channels=3,
        slice_length=model.slice_length, slices=[],
    )  # fmt: skip
    contents.slices = [b""] * contents.num_slices
    script = "balle2017.decode(bytes(arguments[0])).then(() => done(''), (error) => done(error.message))"
    sentence = browser.execute_async_script(PRELUDE + script, encoded(bitstream.pack(contents)))
    assert sentence.startswith(f"The picture is too large for a page ({width}×{height}, more than ")


def test_an_escape_without_an_end_ends(browser, page_models_dir):
    tables = stored_arrays.tables_of(stored_arrays.read(page_models_dir / "golden-1/decoder/1", "coder/"))
    # The last bin of the first table.
    escape = int(tables.cdfs[tables.active[0]][0, -2])
    model = codec.load("golden-1", page_models_dir)
    contents = bitstream.Bitstream(
        model="golden-1", fingerprint=model.fingerprint, width=16, height=16, channels=3,
        slice_length=model.slice_length, slices=[escape.to_bytes(2, "big")],
    )  # fmt: skip
    script = "balle2017.decode(bytes(arguments[0])).then(done, (error) => done(error.message))"
    sentence = browser.execute_async_script(PRELUDE + script, encoded(bitstream.pack(contents)))
    assert sentence == "Slice 1 of 1 holds no valid data."
