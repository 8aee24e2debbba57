import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# On a busy machine everything may take long enough for a bar, which tests of messages don't expect.
os.environ.setdefault("TQDM_DISABLE", "1")

import hypothesis
import pytest

from helpers.rate_points import export_for_all, random_rate_point
from helpers.requirements import HAS_TENSORFLOW, NEEDS_TENSORFLOW

# Tests are not timed: this machine may be busy.
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session")
def tiny_rate_point():
    """A small untrained rate point of name `tiny-1`."""
    return random_rate_point().rounded()


# What trains, exports and serves.
WHOLE_FILES_NEED_IT = """
client competing_prior conditioning data elsewhere experiments export gpu_experiment model ms_ssim prior rate_points
refine stock_coder stored_arrays train transforms grayscale
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
