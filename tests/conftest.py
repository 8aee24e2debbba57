import importlib.util
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# On a busy machine everything may take long enough for a bar, which tests of messages don't expect.
os.environ.setdefault("TQDM_DISABLE", "1")

import hypothesis
import numpy as np
import pytest

from balle2017.entropy.tables import CodingTables
from balle2017.model.weights import Transform
from balle2017.saved_model.rate_point import RatePoint

# Tests are not timed: this machine may be busy.
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")

NEEDS_TENSORFLOW = "TensorFlow 2.14 and tensorflow-compression, for Python up to 3.11, are not installed"


def random_cdf(random, size, num_classes=1):
    """Coding tables of `size` values and an escape, one for each class."""
    return np.stack([_random_distribution(random, size + 1) for _ in range(num_classes)])


def random_class_cdfs(random, num_classes):
    """Distributions of classes, at a slice's beginning and after each class."""
    if num_classes == 1:
        return None
    return np.stack([_random_distribution(random, num_classes) for _ in range(num_classes + 1)])


def _random_distribution(random, bins):
    weights = random.gamma(0.3, size=bins) + 1e-3
    pmf = np.maximum(1, np.floor(weights / weights.sum() * (2**16 - bins))).astype(int)
    pmf[np.argmax(pmf)] += 2**16 - pmf.sum()
    return np.concatenate([[0], np.cumsum(pmf)]).astype(np.int32)


def random_rate_point(
    name="tiny-1", num_filters=8, num_latents=12, channels=3, slice_length=7, seed=0, num_classes=3
):
    """An untrained rate point, whose latents often need the escape code."""
    random = np.random.default_rng(seed)

    def normal(*shape):
        fan_in = np.prod(shape[:-1])
        return random.normal(scale=2 / np.sqrt(fan_in), size=shape).astype(np.float32)

    def transform(kernels, biases):
        return Transform(
            kernels=kernels,
            biases=[np.linspace(-0.2, 0.3, size, dtype=np.float32) for size in biases],
            betas=[np.ones(num_filters, np.float32)] * 2,
            gammas=[(0.1 * np.eye(num_filters)).astype(np.float32)] * 2,
        )

    n, m, c = num_filters, num_latents, channels
    cdfs = [random_cdf(random, random.integers(1, 9), num_classes) for _ in range(m)]
    for inactive in (1, 2, m - 1):
        cdfs[inactive] = None
    last = normal(5, 5, n, m) * np.linspace(1, 40, m, dtype=np.float32)
    return RatePoint(
        name=name,
        lmbda=0.01,
        num_latents=m,
        channels=c,
        slice_length=slice_length,
        gdn_alpha=2,
        gdn_epsilon=0.5,
        analysis=transform([normal(9, 9, c, n), normal(5, 5, n, n), last], [n, n, m]),
        synthesis=transform(
            [normal(5, 5, n, m), normal(5, 5, n, n), normal(9, 9, c, n)], [n, n, c]
        ),
        tables=CodingTables(
            offsets=random.integers(-4, 1, m).astype(np.int32),
            cdfs=cdfs,
            constants=np.where([cdf is None for cdf in cdfs], random.integers(-2, 3, m), 0).astype(
                np.int32
            ),
            class_cdfs=random_class_cdfs(random, num_classes),
        ),
        prior={"matrix": normal(m, 3)},
        info={"steps": 0},
    )


@pytest.fixture(scope="session")
def tiny_rate_point():
    """A small untrained rate point of name `tiny-1`."""
    return random_rate_point().rounded()


HAS_TENSORFLOW = bool(importlib.util.find_spec("tensorflow_compression"))
needs_tensorflow = pytest.mark.skipif(not HAS_TENSORFLOW, reason=NEEDS_TENSORFLOW)
# What trains, exports and serves.
WHOLE_FILES_NEED_IT = """
client competing_prior conditioning data elsewhere export model prior rate_points refine stock_coder
stored_arrays train transforms
""".split()


class SkippedFile(pytest.Module):
    """A file of tests of which none can run, nor be imported."""

    def collect(self):
        pytest.skip(NEEDS_TENSORFLOW, allow_module_level=True)


def pytest_pycollect_makemodule(module_path, parent):
    name = module_path.stem[len("test_") :]
    if not HAS_TENSORFLOW and name in WHOLE_FILES_NEED_IT:
        return SkippedFile.from_parent(parent, path=module_path)
    return None


def export_for_all(rate_point, directory, older=()):
    """Exports a rate point for all runtimes that are there."""
    pytest.importorskip("onnx", reason="onnx, which writes the graphs, is not installed")
    if HAS_TENSORFLOW:
        from balle2017.saved_model.writing import export
    else:
        from balle2017.saved_model.onnx_writing import export
    export(rate_point, directory, older=older)


@pytest.fixture(params=["tensorflow", "onnx"], scope="session")
def runtime(request):
    """The name of each runtime that is installed."""
    if request.param == "tensorflow" and not HAS_TENSORFLOW:
        pytest.skip(NEEDS_TENSORFLOW)
    return request.param


@pytest.fixture(scope="session")
def tiny_models_dir(tiny_rate_point, tmp_path_factory):
    """A folder of models that holds `tiny-1`, exported for all runtimes that are there."""
    directory = tmp_path_factory.mktemp("saved_models")
    export_for_all(tiny_rate_point, directory / "tiny-1")
    return directory


@pytest.fixture(scope="session")
def tiny_stock_dir(tiny_rate_point, tmp_path_factory):
    """A folder of models that holds `tiny-1`, exported with the stock runtime."""
    pytest.importorskip("tensorflow", reason=NEEDS_TENSORFLOW)
    from balle2017.saved_model.writing import export

    directory = tmp_path_factory.mktemp("stock_models")
    export(tiny_rate_point, directory / "tiny-1", "stock")
    return directory
