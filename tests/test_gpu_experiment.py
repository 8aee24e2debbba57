"""The training in PyTorch has the package's objective, and what it makes is a rate point."""

import json
import pathlib
import sys

import numpy as np
from PIL import Image
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
import tensorflow as tf

from balle2017 import codec
from balle2017.entropy.fitting import coding_tables, latent_histogram
from balle2017.model import ms_ssim as package_ms_ssim
from balle2017.model.objective import RateDistortionModel
from balle2017.model.prior import prior_parameters
from balle2017.model.weights import Transform
from balle2017.saved_model import onnx_writing
from balle2017.saved_model.rate_point import RatePoint
from balle2017.training import conditioning, loop
from balle2017.training.settings import Settings
from balle2017.training.soap import SOAP

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "experiments" / "gpu"))
import export
import ms_ssim
import photographs
import point
import prior
import soap
import start
import train

N, M, LMBDA = 16, 24, {"mse": 0.01, "ms_ssim": 20.0}


@pytest.fixture(scope="module")
def model():
    """A model of the package whose weights are none that anything starts with."""
    random = np.random.default_rng(0)
    model = RateDistortionModel(LMBDA["mse"], N, relaxation="mixed", num_latents=M)
    for half in (model.analysis, model.synthesis):
        plain = half.plain_weights().map(np.array)
        plain.biases = [random.normal(scale=0.1, size=b.shape) for b in plain.biases]
        plain.betas = [random.uniform(0.5, 2, b.shape) for b in plain.betas]
        plain.gammas = [0.1 * np.eye(len(g)) + random.uniform(0, 0.01, g.shape) for g in plain.gammas]
        half.set_plain_weights(plain.map(np.float32))
    last = model.analysis.plain_weights().map(np.array)
    last.kernels[2] *= 6
    model.analysis.set_plain_weights(last)
    model.prior.loc.assign(random.normal(scale=0.5, size=[16, M]))
    model.prior.share.assign(random.dirichlet(np.ones(16)))
    model.prior.pairs.assign(random.dirichlet(np.ones(256)).reshape(16, 16))
    return model


def arrays_of(model):
    arrays = {f"prior/{name}": value for name, value in prior_parameters(model.prior).items()}
    for half in ("analysis", "synthesis"):
        for field, values in vars(getattr(model, half).plain_weights()).items():
            arrays.update({f"{half}/{field}/{i}": np.array(value) for i, value in enumerate(values)})
    return {**arrays, "power": 37.0, "lmbda": LMBDA["mse"], "distortion": "mse"}


def gaussian(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def picture(width, height, seed=0):
    small = np.random.default_rng(seed).integers(0, 256, [height // 16, width // 16, 3], np.uint8)
    return Image.fromarray(small).resize([width, height], Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def images():
    return np.stack([np.array(picture(192, 176, seed)) for seed in range(2)])


@pytest.mark.parametrize("distortion", ["mse", "ms_ssim"])
@pytest.mark.parametrize("training", [False, True])
def test_losses_and_gradients_are_the_packages(model, images, distortion, training, monkeypatch):
    model.distortion, model.lmbda = distortion, LMBDA[distortion]
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, [2, 11, 12, M]).astype(np.float32)
    monkeypatch.setattr(tf.random, "uniform", lambda *_: tf.constant(noise))
    ours = point.Point("point", LMBDA[distortion], distortion, arrays_of(model))
    counted = {
        name: variable.numpy() for name, variable in (("share", model.prior.share), ("pairs", model.prior.pairs))
    }
    with tf.GradientTape() as tape:
        expected = model.losses_of(images, training=training)[:3]
    tensors = ours.parameters.tensors
    losses = ours.losses(tensors, torch.from_numpy(images), torch.from_numpy(noise) if training else None)
    np.testing.assert_allclose([float(x.detach()) for x in losses], expected, rtol=1e-3)
    assert losses[1] > 0.1 and losses[2] > 0.01
    np.testing.assert_allclose(ours.share, model.prior.share, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(ours.pairs, model.prior.pairs, rtol=1e-4, atol=1e-7)
    assert np.array_equal(ours.share, counted["share"]) != training
    if training:
        gradients = torch.autograd.grad(losses[0], tensors)
        for kernel, gradient in zip(gradients, tape.gradient(expected[0], model.kernels)):
            gradient = np.transpose(gradient, [1, 0, 2])
            np.testing.assert_allclose(kernel, gradient, rtol=1e-2, atol=1e-3 * np.abs(gradient).max())
    model.prior.share.assign(counted["share"])
    model.prior.pairs.assign(counted["pairs"])


def test_ms_ssim_is_the_packages(images):
    first = images.astype(np.float32)
    second = np.clip(first + np.random.default_rng(2).normal(scale=25, size=first.shape), 0, 255).astype(np.float32)
    variable, tensor = tf.Variable(second), torch.tensor(second, requires_grad=True)
    with tf.GradientTape() as tape:
        expected = package_ms_ssim.ms_ssim(first, variable)
    made = ms_ssim.ms_ssim(torch.from_numpy(first), tensor)
    assert np.all((0.5 < expected) & (expected < 0.99))
    np.testing.assert_allclose(made.detach(), expected, rtol=1e-4)
    gradient = tape.gradient(expected, variable).numpy()
    (of_tensor,) = torch.autograd.grad(made.sum(), tensor)
    np.testing.assert_allclose(of_tensor, gradient, atol=1e-3 * np.abs(gradient).max())


def test_parameters_stand_for_the_weights(model):
    arrays = arrays_of(model)
    made = point.Point("point", 0.01, "mse", arrays).arrays()
    assert made["analysis/kernels/0"].dtype == np.float16
    for name in set(arrays) - {"distortion"}:
        np.testing.assert_allclose(made[name], arrays[name], rtol=1e-3, atol=1e-6, err_msg=name)


def test_steps_are_those_of_the_packages_soap_without_the_correction_of_moments():
    """Three steps in the eigenbases of the first gradient: to 1e-3 of the largest change of each variable."""
    random = np.random.default_rng(0)
    values = [random.normal(size=shape).astype(np.float32) for shape in ([9, 10, 12], [40])]
    gradients = [[random.normal(size=value.shape).astype(np.float32) for value in values] for _ in range(3)]
    kernel, others = tf.Variable(np.transpose(values[0], [1, 0, 2])), tf.Variable(values[1])
    theirs = SOAP(0.01, [kernel])
    theirs.build([kernel, others])
    tensors = [torch.tensor(value) for value in values]
    ours = soap.SOAP(tensors[:1], tensors[1], torch.full([40], -np.inf))
    ours.watch([torch.from_numpy(value) for value in gradients[0]])
    ours.turn(first=True)
    for step, (of_kernel, of_others) in enumerate(gradients):
        theirs.apply_gradients(
            [(tf.constant(np.transpose(of_kernel, [1, 0, 2])), kernel), (tf.constant(of_others), others)]
        )
        correction = (1 - soap.BETA ** (step + 1)) ** 0.5
        ours.step([torch.from_numpy(of_kernel), torch.from_numpy(of_others)], torch.tensor(0.01 / correction))
    for value, tensor, variable in zip(values, tensors, (np.transpose(kernel, [1, 0, 2]), others.numpy())):
        change = variable - value
        assert np.abs(change).max() > 0.003
        np.testing.assert_allclose(tensor.numpy() - value, change, atol=1e-3 * np.abs(change).max())


def test_a_few_steps_lower_the_loss(model, images):
    one = point.Point("point", 0.01, "mse", arrays_of(model))
    noise, crops = gaussian(2, 11, 12, M) / 4, torch.from_numpy(images)

    def step(learning_rate):
        one.optimizer.step(one.gradients(crops, noise, torch.float32), torch.tensor(learning_rate))

    def loss():
        return float(one.losses(one.parameters.tensors, crops, noise)[0].detach())

    one.optimizer.watch(one.gradients(crops, noise, torch.float32))
    one.optimizer.turn(first=True)
    before = loss()
    for _ in range(8):
        step(0.01)
    one.optimizer.turn()
    for _ in range(4):
        step(0.01)
    assert loss() < 0.995 * before
    assert torch.all(one.parameters.others >= one.parameters.lower)


@pytest.fixture(scope="module")
def exported(model, images, tmp_path_factory):
    """The folder of a rate point from which a training starts, and the point."""
    analysis, synthesis = (half.plain_weights().map(np.array).rounded() for half in (model.analysis, model.synthesis))
    latents = tf.cast(tf.round(model.analysis(tf.cast(images, tf.float32))), tf.int32).numpy()
    tables = coding_tables(None, latent_histogram([latents], M))
    rate_point = RatePoint(
        "start",
        LMBDA["mse"],
        M,
        3,
        16,
        2,
        0.5,
        analysis,
        synthesis,
        tables,
        prior_parameters(model.prior),
        {"runs": []},
    )
    folder = tmp_path_factory.mktemp("exported") / "start"
    onnx_writing.export(rate_point, folder)
    np.savez(folder / "prior.npz", **rate_point.prior)
    return folder, rate_point


def test_a_start_is_conditioned_as_by_the_package(exported, images):
    folder, rate_point = exported
    arrays, runs = start.load(str(folder), torch.from_numpy(images))
    assert runs == [] and arrays["lmbda"] == LMBDA["mse"]
    for name, expected in zip(("analysis", "synthesis"), conditioning.conditioned(rate_point, images)):
        made = Transform(*([arrays[f"{name}/{field}/{i}"] for i in range(3)] for field in vars(expected)))
        for ours, theirs in zip(made.arrays(), expected.arrays()):
            np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=2e-3 * np.abs(theirs).max())


def test_dead_classes_are_begun_anew():
    # From left to right smooth, and busy.
    latents = torch.round(gaussian(4, 24, 24, M) * torch.logspace(-1, 1.5, 24)[None, None, :, None])
    loc, log_scale, share, pairs = prior.fitted(latents, 16)
    assert loc.shape == log_scale.shape == (16, M) and pairs.shape == (16, 16) and (share > 0.05 / 16).sum() > 12
    classes, class_bits = prior.choose(latents, loc, log_scale, share, pairs)
    one_class = prior.fitted(latents, 1)
    alone = prior.bits_of(latents, torch.zeros_like(classes), *one_class[:2])
    assert prior.bits_of(latents, classes, loc, log_scale) + class_bits.sum() < 0.9 * alone


def test_another_lambda_is_another_step_of_the_same_transforms(model, images):
    arrays = arrays_of(model)
    of_both = [point.Point("point", 0.01, "mse", a) for a in (arrays, start.rescaled(arrays, 0.04))]
    first, second = (one.parameters.plain(one.parameters.tensors)[:2] for one in of_both)
    pixels = torch.from_numpy(images).float()
    latents, finer = (point.analyze(pixels, analysis) for analysis, _ in (first, second))
    torch.testing.assert_close(finer, 2 * latents, rtol=1e-3, atol=1e-3)
    made, again = point.synthesize(latents, first[1]), point.synthesize(finer, second[1])
    torch.testing.assert_close(again, made, rtol=1e-3, atol=1e-2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Photographs, all of which are large enough to be held out."""
    path = tmp_path_factory.mktemp("photographs")
    for i in range(4):
        picture(272, 256, i).save(path / f"{i}.{'jpg' if i % 2 else 'png'}")
    return path


def test_what_is_held_out_is_what_the_package_holds_out(folder):
    settings = Settings(name="any", data=(str(folder),))
    for ours, theirs in zip(photographs.load(str(folder)), loop.load_photographs(settings)):
        assert len(ours) == len(theirs) > 0
        for photograph, (_, pixels) in zip(ours, theirs):
            np.testing.assert_array_equal(photograph.pixels, pixels)


def test_crops_are_parts_of_photographs(folder):
    training, held_out = photographs.load(str(folder))
    # Small JPEG files were compressed too much to be learned from at their full size.
    assert sorted(len(photograph.sizes) for photograph in [*training, *held_out]) == [4, 4, 5, 5]
    pixels = training[0].sizes[0][:48, :64]
    crops = photographs.CropSource([photographs.Photograph(pixels, [pixels])]).crops(20, 32).numpy()
    windows = np.lib.stride_tricks.sliding_window_view(pixels, [32, 32, 3])[:, :, 0]
    mirrored = 0
    for crop in crops:
        found = [np.any(np.all(windows == c, (2, 3, 4))) for c in (crop, crop[:, ::-1])]
        assert any(found)
        mirrored += found[1]
    assert 0 < mirrored < 20
    assert photographs.held_out_crops(held_out).shape[1:] == (256, 256, 3)


def test_from_a_start_to_files(exported, folder, tmp_path, capsys):
    """The two commands, with a plan of one base and two points."""
    plan = json.loads((ROOT / "experiments/gpu/plan.json").read_text())
    plan.update(every=3, warmup=4)
    plan["mse"].update(lmbdas=[0.005, 0.01])
    plan["mse"]["bases"]["phases"] = plan["mse"]["points"]["phases"] = [[1.0, 64, 2, "bfloat16"]]
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    trained = [
        f"--images={folder}", f"--init_from={exported[0]}", "--seconds=1", f"--plan={tmp_path / 'plan.json'}",
        f"--out={tmp_path / 'out'}",
    ]  # fmt: skip
    assert train.main(trained) == 0
    info = json.loads((tmp_path / "out/bls2017-mse-2.json").read_text())
    base, own = info["runs"]
    assert (base["name"], own["settings"]["init_from"]) == ("bls2017-mse-1-2", "bls2017-mse-1-2")
    assert own["lambda"] == 0.01 and own["settings"]["steps"] >= 3 and info["validation"]["bpp"] > 0
    assert train.main(trained) == 2 and "name another folder" in capsys.readouterr().err
    # From what was trained another training starts, for another distortion.
    assert start.load(str(tmp_path / "out/bls2017-mse-2.npz"), None)[1] == info["runs"]

    exporting = [str(tmp_path / "out/bls2017-mse-2.npz"), f"--images={folder}", f"--out={tmp_path / 'models'}"]
    assert export.main(exporting) == 0
    assert export.main(exporting) == 2 and "exists already" in capsys.readouterr().err
    pixels = np.array(picture(100, 60, 7))
    model = codec.load("bls2017-mse-2", tmp_path / "models")
    made = codec.decompress(model.compress(pixels), tmp_path / "models").pixels
    assert made.shape == pixels.shape
    assert json.loads((tmp_path / "models/bls2017-mse-2/model.json").read_text())["runs"] == info["runs"]


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["--init_from=nowhere"], "nowhere is no rate point"),
        (["--init_from=a", "--init_from=b", "--init_from=c"], "an equal number"),
        (["--init_from=a", "--images=nowhere"], "fewer than two photographs"),
    ],
)
def test_what_cannot_be_is_one_sentence(folder, arguments, sentence, tmp_path, capsys):
    assert train.main([f"--images={folder}", f"--out={tmp_path}", *arguments]) in (1, 2)
    assert sentence in capsys.readouterr().err


def test_without_pytorch_it_says_what_to_install(folder, monkeypatch, capsys):
    monkeypatch.setattr(train, "missing", "torch")
    assert train.main([f"--images={folder}", "--init_from=any"]) == 2
    assert "pip install torch" in capsys.readouterr().err
