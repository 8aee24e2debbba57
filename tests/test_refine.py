"""Encoder effort: smaller Lagrangians in both measures, files like all others, and sizes that are hit."""

import os
import pathlib
import subprocess
import sys

import numpy as np
from PIL import Image
import pytest
import tensorflow as tf

from balle2017 import codec, tfci
from balle2017.codec import ModelError, fidelity, refine, size_search, tiling
from balle2017.container import bitstream
from balle2017.saved_model.reading import load_rate_point
from balle2017.saved_model.writing import export
from helpers.files import coded_latents
from helpers.pictures import photograph

ROOT = str(pathlib.Path(codec.__file__).parents[2])


@pytest.fixture(scope="module")
def family_dir(tmp_path_factory):
    """A folder of rate points, linear transform codes for the pictures of these tests; one is for MS-SSIM."""
    from balle2017.entropy.fitting import coding_tables, latent_histogram
    from balle2017.model.prior import FactorizedPrior
    from balle2017.model.transforms import analyze
    from balle2017.saved_model.rate_point import RatePoint
    from balle2017.training import klt

    picture = textured(192, 256)
    patches = np.stack([picture[y : y + 64, x : x + 64] for y in range(0, 129, 16) for x in range(0, 193, 16)])
    folder = tmp_path_factory.mktemp("family")
    points = (
        ("small-mse-1", 0.002, "mse", 0.002),
        ("small-mse-2", 0.01, "mse", 0.01),
        ("small-msssim-1", 0.01, "ms_ssim", 20),
    )
    for name, fine, distortion, lmbda in points:
        transforms = klt.linear_transform_code(patches, fine, 48)
        latents = np.round(analyze(patches.astype(np.float32), transforms[0], 2, 0.5))
        counts = latent_histogram([latents.astype(np.int32)], 48)
        tables = coding_tables(FactorizedPrior(batch_shape=[48]), counts)
        info = {"distortion": distortion}
        export(RatePoint(name, lmbda, 48, 3, 64, 2, 0.5, *transforms, tables, info=info), folder / name)
    return folder


def textured(height, width, seed=0):
    noise = np.random.default_rng(seed).normal(0, 12, [height, width, 1])
    return np.clip(photograph(height, width, seed=seed) + noise, 0, 255).astype(np.uint8)


def lagrangian(model, pixels, data):
    """Bits of the tables, without framing, + λ · distortion of the decoded picture's pixels, in the model's measure."""
    contents = bitstream.unpack(data)
    latents = model.decode_latents(contents).astype(np.float32)
    bits = float(refine.Refiner(load_rate_point(str(model.folder))).bits(latents))
    decoded = model.decode(contents)
    if model.info.get("distortion") == "ms_ssim":
        distortion = pixels[..., 0].size * (1 - similarity(pixels, decoded))
    else:
        distortion = np.square(decoded.astype(float) - pixels).sum() / pixels.shape[2]
    return bits + model.info["lambda"] * distortion


def similarity(first, second):
    """MS-SSIM, by TensorFlow."""
    return float(tf.image.ssim_multiscale(first[None], second[None], 255)[0])


def test_rate_is_what_the_coder_spends(tiny_models_dir, tiny_rate_point):
    # This model's latents often need the escape code.
    model = codec.load("tiny-1", tiny_models_dir)
    latents = coded_latents(model, photograph(120, 90)).reshape(-1, tiny_rate_point.num_latents)
    bits = float(refine.Refiner(tiny_rate_point).bits(latents[None].astype(np.float32)))
    slices = model.runtime.encode_slices(latents)
    assert abs(8 * sum(map(len, slices)) - bits) <= 16 * len(slices)


@pytest.mark.parametrize(
    "name, size", [("small-mse-1", (96, 80)), ("small-mse-2", (75, 100)), ("small-msssim-1", (163, 180))]
)
def test_more_effort_is_never_worse(family_dir, name, size):
    model, pixels = codec.load(name, family_dir), textured(*size)
    values = [lagrangian(model, pixels, model.compress(pixels, effort=effort)) for effort in range(4)]
    # What decoders of the same weights compute may differ in rounding.
    assert all(b <= a * (1 + 1e-5) for a, b in zip(values, values[1:]))
    assert values[-1] < values[0]


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (17, 1), (33, 47)])
def test_any_size_decodes_in_both_runtimes(tiny_models_dir, tiny_stock_dir, size):
    model, pixels = codec.load("tiny-1", tiny_models_dir), photograph(*size)
    data = model.compress(pixels, {"EXIF": b"kept"}, effort=2)
    decoded = codec.decompress(data, tiny_models_dir)
    assert decoded.metadata == {"EXIF": b"kept"}
    np.testing.assert_array_equal(decoded.pixels, codec.decompress(data, tiny_stock_dir).pixels)
    assert lagrangian(model, pixels, data) <= lagrangian(model, pixels, model.compress(pixels))


def test_same_file_every_time(family_dir):
    pixels = textured(64, 64)
    model = codec.load("small-mse-2", family_dir)
    assert model.compress(pixels, effort=3) == codec.Model(model.folder).compress(pixels, effort=3)


def test_efforts_in_one_go_are_those_of_each_alone(family_dir):
    model, pixels = codec.load("small-mse-1", family_dir), textured(64, 80)
    files = model.compress_by_effort(pixels)
    for effort in (1, 2, 3):
        assert next(files) == model.compress(pixels, effort=effort)


@pytest.mark.parametrize("name", ["small-mse-2", "small-msssim-1"])
def test_tiles_make_the_picture_better_together(family_dir, monkeypatch, name):
    model, pixels = codec.load(name, family_dir), textured(210, 190)
    plain, whole = model.compress(pixels), model.compress(pixels, effort=2)
    monkeypatch.setattr(tiling, "REFINED_SIDE", 10)
    counted = []
    tiled = model.compress(pixels, effort=2, progress=lambda steps, _: counted.append(steps))
    assert sum(counted) == model.count_steps(pixels, 2) > refine.count_steps(2)
    values = [lagrangian(model, pixels, data) for data in (plain, tiled, whole)]
    assert values[1] < values[0]
    # Tile by tile nearly all is gained that there is to gain.
    assert values[0] - values[1] > 0.8 * (values[0] - values[2])


@pytest.mark.parametrize("size", [(420, 361), (171, 300), (40, 170), (5, 3)])
def test_a_tile_knows_the_ms_ssim_of_the_whole_picture(size, monkeypatch):
    """Whatever part of a picture changes, in pictures with any number of windows and with sides below five scales."""
    # Windows of the larger pictures are counted in many parts.
    monkeypatch.setattr(fidelity, "_TOGETHER", 3)
    random, measure = np.random.default_rng(0), fidelity.MsSsim(3)
    original = photograph(*size)
    made = np.clip(original + random.normal(0, 9, original.shape), 0, 255).astype(np.uint8)
    changed = tuple((side // 32 * 16, min(side // 32 * 16 + 48, side)) for side in size)
    other = made.copy()
    other[tuple(slice(*side) for side in changed)] //= 2

    def mirrored(pixels):
        short = [(0, max(0, 161 - side)) for side in size]
        return np.pad(pixels, [*short, (0, 0)], "symmetric")

    whole = [1 - similarity(mirrored(original), mirrored(picture)) for picture in (made, other)]
    state = measure.open(original)
    state.begin(made.copy())
    costs = []
    for picture in (made, other):
        part = picture[tuple(slice(*side) for side in changed)].astype(np.float32)
        costs.append(float(measure.cost(part, *map(tf.constant, state.context(*changed)))) / (size[0] * size[1]))
    np.testing.assert_allclose(costs, whole, atol=1e-5)
    state.update(*changed, other[tuple(slice(*side) for side in changed)])
    # What has changed since is part of what the next one knows.
    everything = tuple((0, side) for side in size)
    again = float(measure.cost(other.astype(np.float32), *map(tf.constant, state.context(*everything))))
    np.testing.assert_allclose(again / (size[0] * size[1]), whole[1], atol=1e-5)


def test_effort_for_ms_ssim_gains_by_ms_ssim(family_dir, monkeypatch):
    model, pixels = codec.load("small-msssim-1", family_dir), textured(192, 192)
    squared = codec.load("small-mse-2", family_dir)
    plain = codec.decompress(model.compress(pixels), family_dir).pixels
    data = model.compress(pixels, effort=2)
    made = codec.decompress(data, family_dir).pixels
    # The same transforms and tables, refined for squared error to the same size.
    other = codec.decompress(squared.compress_to_size(pixels, len(data), 2), family_dir).pixels
    assert similarity(pixels, made) > similarity(pixels, other)
    assert len(data) < len(model.compress(pixels)) and plain.shape == made.shape


def test_lambda_moves_along_the_curve(family_dir):
    model, pixels = codec.load("small-mse-2", family_dir), textured(96, 96)
    files = [model.compress(pixels, effort=2, lmbda=lmbda) for lmbda in (0.003, 0.01, 0.03)]
    assert len(files[0]) < len(files[1]) < len(files[2])
    errors = [np.square(codec.decompress(f, family_dir).pixels.astype(float) - pixels).mean() for f in files]
    assert errors[0] > errors[1] > errors[2]


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("effort", [1, 3])
def test_target_bpp_is_hit(family_dir, effort, strict):
    pixels = textured(192, 256)
    models = codec.load_family("small-mse", family_dir)
    sizes = [8 * len(model.compress(pixels)) / (192 * 256) for model in models]
    for target in (0.95 * sizes[0], 0.95 * sizes[1]):
        _, data = codec.compress_to_bpp(models, pixels, target, strict, effort=effort)
        bpp = 8 * len(data) / (192 * 256)
        assert 0.99 * target <= bpp <= (1 if strict else 1.01) * target


def test_the_other_model_is_tried_for_a_rate_that_the_nearest_does_not_reach(family_dir, monkeypatch):
    pixels = textured(192, 256)
    models = codec.load_family("small-mse", family_dir)
    sizes = [len(model.compress(pixels)) for model in models]
    size = round(1.05 * sizes[0])
    # As if λ moved nothing in one, and enough in the other.
    monkeypatch.setattr(models[0], "compress_to_size", lambda *_: bytes(sizes[0]))
    monkeypatch.setattr(models[1], "compress_to_size", lambda *_: bytes(size))
    model, data = codec.compress_to_bpp(models, pixels, 8 * size / (192 * 256), effort=1)
    assert model.name == "small-mse-2" and len(data) == size


def test_a_rate_that_cannot_be(family_dir):
    models = codec.load_family("small-mse", family_dir)
    with pytest.raises(ModelError, match="Even small-mse-1 takes"):
        codec.compress_to_bpp(models, textured(64, 64), 0.001, strict=True, effort=1)


def test_effort_2_is_more_than_1_at_a_given_rate():
    # Models of random weights have next to nothing to gain.
    pixels = photograph(128, 160)
    models = codec.load_family("bls2017-mse")
    errors = []
    for effort in (1, 2):
        _, data = codec.compress_to_bpp(models, pixels, 0.5, effort=effort)
        assert abs(8 * len(data) / (128 * 160) / 0.5 - 1) < 0.01
        errors.append(np.square(codec.decompress(data).pixels.astype(float) - pixels).mean())
    assert errors[1] < 0.995 * errors[0]


@pytest.mark.parametrize("lowest", [0, 1, 2])
def test_more_effort_does_not_fail_where_less_does_not(family_dir, monkeypatch, lowest):
    """As if every effort above `lowest` ended in files that are too large."""
    model, pixels = codec.load("small-mse-1", family_dir), textured(64, 64)
    plain = len(model.compress(pixels))
    pack, find_size, state = codec.Model._pack, size_search.find_size, {"effort": 0}

    def packed(self, bands, pixels, metadata):
        data = pack(self, bands, pixels, metadata)
        return data + bytes(10 * plain if state["effort"] > lowest else 0)

    def tracked(refinement, target, lmbda, effort, encode, *rest, **how):
        state["effort"] = effort
        return find_size(refinement, target, lmbda, effort, encode, *rest, **how)

    monkeypatch.setattr(size_search, "find_size", tracked)
    monkeypatch.setattr(codec.Model, "_pack", packed)
    _, data = codec.compress_to_bpp([model], pixels, 8.4 * plain / 64**2, strict=True, effort=3)
    assert len(data) <= 1.05 * plain


def test_what_cannot_be_refined_says_so(tiny_stock_dir):
    pixels = photograph(20, 20)
    with pytest.raises(ModelError, match="effort 0 only"):
        codec.Model(tiny_stock_dir / "tiny-1").compress(pixels, effort=1)
    assert len(refine.DESCENTS) == codec.MAX_EFFORT


def test_command(family_dir, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BALLE2017_MODELS", str(family_dir))
    monkeypatch.chdir(tmp_path)
    os.mkdir("in")
    Image.fromarray(textured(64, 96)).save("in/a.png")
    assert tfci.main(["compress", "small-mse-2", "in/a.png", "a.tfci", "--effort", "2"]) == 0
    assert tfci.main(["compress", "small-mse-2", "in", "--out", "out", "--effort", "2"]) == 0
    with open("a.tfci", "rb") as a, open("out/a.png.tfci", "rb") as b:
        assert a.read() == b.read()
    low = ["compress", "small-mse-2", "in/a.png", "low.tfci", "--effort", "1", "--lambda", "0.003"]
    assert tfci.main(low) == 0
    assert os.path.getsize("low.tfci") < os.path.getsize("a.tfci")
    # Without a word about effort a target is met, too.
    target = 8 * os.path.getsize("a.tfci") / (64 * 96) * 0.9
    assert tfci.main(["compress", "small-mse", "in/a.png", "--target_bpp", str(target)]) == 0
    assert 8 * os.path.getsize("in/a.png.tfci") / (64 * 96) == pytest.approx(target, rel=0.02)
    capsys.readouterr()
    for wrong in (["--lambda", "0.01"], ["--lambda", "1", "--effort", "1", "--target_bpp", "1"]):
        assert tfci.main(["compress", "small-mse-2", "in/a.png", "b.tfci", *wrong]) == 2
        assert "--lambda needs an --effort" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        tfci.main(["compress", "small-mse-2", "in/a.png", "b.tfci", "--effort", "10"])


def test_pillow_and_codecs(family_dir, tmp_path):
    from balle2017.evaluation import baselines
    import balle2017.pillow  # noqa: F401

    pixels = textured(48, 48)
    data = codec.load("small-mse-2", family_dir).compress(pixels, effort=1)
    options = dict(model="small-mse-2", models_dir=str(family_dir))
    Image.fromarray(pixels).save(tmp_path / "a.tfci", effort=1, **options)
    assert (tmp_path / "a.tfci").read_bytes() == data
    found = baselines.find("small-mse-effort1", str(family_dir))
    assert found.name == "small-mse-effort1" and found.label.endswith("effort 1")
    assert found.encode(pixels, 2) == data
    assert found.version(2) != baselines.find("small-mse", str(family_dir)).version(2)


def test_help_says_how_many_steps_an_effort_takes(capsys):
    with pytest.raises(SystemExit):
        tfci.main(["compress", "--help"])
    steps = [str(refine.count_steps(effort)) for effort in range(1, codec.MAX_EFFORT + 1)]
    assert f"take {', '.join(steps[:-1])} and {steps[-1]} steps" in " ".join(capsys.readouterr().out.split())


def test_effort_0_loads_nothing_of_it(family_dir):
    code = (
        "import sys, numpy; from balle2017 import codec\n"
        f"codec.load('small-mse-1', {str(family_dir)!r}).compress(numpy.zeros([9, 9, 3], 'u1'))\n"
        "print([name for name in sys.modules if name in ('balle2017.codec.refine', 'balle2017.saved_model.reading')])"
    )
    environment = {**os.environ, "PYTHONPATH": ROOT}
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment)
    assert process.stdout.strip() == b"[]", process.stderr
