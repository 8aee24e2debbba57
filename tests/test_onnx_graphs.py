"""The transforms as ONNX graphs: what TensorFlow computes of the same weights, for any size."""

import numpy as np
import pytest

from balle2017.saved_model import stored_arrays
from helpers.pictures import photograph
from helpers.rate_points import random_rate_point

pytest.importorskip("onnx", reason="onnx, which writes the graphs, is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from balle2017.saved_model.onnx_writing import export


def with_full_gammas(rate_point, seed=5):
    """GDN in which every channel has its own say in every other."""
    random = np.random.default_rng(seed)
    for transform in (rate_point.analysis, rate_point.synthesis):
        for stage, gamma in enumerate(transform.gammas):
            transform.gammas[stage] = random.uniform(0, 0.1, gamma.shape).astype(np.float32)
            transform.betas[stage] = random.uniform(0.5, 2, len(gamma)).astype(np.float32)
    return rate_point


def sessions(rate_point, folder):
    """Both transforms, as the runtime onnx would load them."""
    export(rate_point, folder / "model")
    files = folder / "model/encoder/1/analysis.onnx", folder / "model/decoder/1/synthesis.onnx"
    assert all(file.stat().st_size < 6000 for file in files)
    return [onnxruntime.InferenceSession(str(file)) for file in files]


@pytest.mark.parametrize("exact", [True, False], ids=["float32", "float16"])
@pytest.mark.parametrize("channels, alpha, epsilon", [(3, 2, 0.5), (1, 1, 1)])
def test_what_tensorflow_computes(channels, alpha, epsilon, exact, tmp_path):
    tf = pytest.importorskip("tensorflow")
    pytest.importorskip("tensorflow_compression")
    from balle2017.model.transforms import analyze, synthesize

    rate_point = with_full_gammas(random_rate_point(channels=channels))
    rate_point.gdn_alpha, rate_point.gdn_epsilon = alpha, epsilon
    if not exact:
        rate_point = rate_point.rounded()
    stored = stored_arrays.of_half(rate_point, "encoder")["analysis/kernels/0"].dtype
    assert stored == (np.float32 if exact else np.float16)
    encoder, decoder = sessions(rate_point, tmp_path)
    for size in (16, 16), (64, 32), (16, 160), (208, 112):
        pixels = photograph(*size, channels)[None]
        (latents,) = encoder.run(None, {"pixels": pixels})
        expected = analyze(pixels.astype(np.float32), rate_point.analysis, alpha, epsilon).numpy()
        assert latents.dtype == np.int32 and latents.shape == expected.shape
        assert np.abs(latents - expected).max() <= 0.501
        # Small ones, as the rounding of float32 is relative to the largest number of a sum.
        latents = np.random.default_rng(0).integers(-2, 3, latents.shape, np.int32)
        (decoded,) = decoder.run(None, {"latents": latents})
        expected = synthesize(tf.cast(latents, tf.float32), rate_point.synthesis, alpha, epsilon).numpy()
        assert decoded.dtype == np.uint8 and decoded.shape == expected.shape
        assert np.abs(decoded - np.clip(expected, 0, 255)).max() <= 0.501


def test_gdn_of_all_stages(tmp_path):
    rate_point = random_rate_point()
    one = [np.ones(rate_point.num_latents, np.float32)]
    zero = [np.zeros([rate_point.num_latents] * 2, np.float32)]
    plain = sessions(rate_point, tmp_path / "two")
    for transform in (rate_point.analysis, rate_point.synthesis):
        behind = transform is rate_point.analysis
        transform.betas = transform.betas + one if behind else one + transform.betas
        transform.gammas = transform.gammas + zero if behind else zero + transform.gammas
    pixels = photograph(64, 48)[None]
    latents = plain[0].run(None, {"pixels": pixels})[0]
    # Divided by 1, latents are what they were; by 2, they are half of it.
    full = sessions(rate_point, tmp_path / "three")
    np.testing.assert_array_equal(full[0].run(None, {"pixels": pixels})[0], latents)
    rate_point.analysis.betas[2] = 4 * one[0]
    rate_point.synthesis.betas[0] = 4 * one[0]
    full = sessions(rate_point, tmp_path / "scaled")
    np.testing.assert_allclose(full[0].run(None, {"pixels": pixels})[0], latents / 2, atol=0.76)
    expected = plain[1].run(None, {"latents": 2 * latents})[0].astype(int)
    assert np.abs(full[1].run(None, {"latents": latents})[0] - expected).max() <= 1


def test_latents_and_pixels_are_clipped(tmp_path):
    rate_point = random_rate_point()
    rate_point.analysis.biases[2] = np.full(rate_point.num_latents, 1e9, np.float32)
    encoder, decoder = sessions(rate_point, tmp_path)
    latents = encoder.run(None, {"pixels": photograph(16, 16)[None]})[0]
    assert (latents == 2**20).all()
    assert set(np.unique(decoder.run(None, {"latents": latents})[0])) <= {0, 255}


def test_a_folder_that_needs_nothing_else(tiny_models_dir, tmp_path, capsys):
    from balle2017 import codec
    from balle2017 import export as command

    assert command.main([str(tiny_models_dir), str(tmp_path / "out"), "--runtime", "onnx"]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/out/tiny-1\n"
    files = {str(path.relative_to(tmp_path / "out/tiny-1")) for path in (tmp_path / "out").rglob("*.*")}
    halves = {f"{half}/1/{name}" for half in ("encoder", "decoder") for name in ("arrays.json", "arrays.bin")}
    graphs = {"encoder/1/analysis.onnx", "decoder/1/synthesis.onnx"}
    assert files == {"model.json", "decoder/1/model.json", *halves, *graphs}
    pixels = photograph(40, 50)
    light = codec.load("tiny-1", tmp_path / "out")
    assert light.runtime.name == "onnx"
    assert light.compress(pixels) == codec.load("tiny-1", tiny_models_dir, runtime="onnx").compress(pixels)
    with pytest.raises(codec.ModelError, match="for the runtime onnx alone"):
        codec.load("tiny-1", tmp_path / "out", runtime="tensorflow")


@pytest.mark.parametrize("name", ["my point", "süß", "-1", "", "a/b"])
def test_a_name_that_no_file_could_carry_is_refused(name, tmp_path):
    with pytest.raises(ValueError, match="name has 1 to 255 ASCII letters"):
        export(random_rate_point(name), tmp_path / "models" / "x")
    assert not list(tmp_path.iterdir())
