import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# On a busy machine everything may take long enough for a bar, which tests of messages don't expect.
os.environ.setdefault("TQDM_DISABLE", "1")

import pathlib
import sys

import hypothesis
import pytest

from balle2017 import codec
from balle2017.web.server import address
from balle2017.web.site import Site
from helpers.browser import chromium
from helpers.pictures import photograph
from helpers.rate_points import export_for_all, random_rate_point
from helpers.requirements import HAS_TENSORFLOW, NEEDS_TENSORFLOW
from helpers.web import RATE_POINTS, serving

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
pruning refine stock_coder stored_arrays train transforms grayscale
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


@pytest.fixture(scope="session")
def golden_models_dir(tmp_path_factory):
    """The tiny golden models, exported by today's code."""
    sys.path.insert(0, str(pathlib.Path(__file__).parent / "golden"))
    import make

    folder = tmp_path_factory.mktemp("golden")
    for name in make.TINY:
        *older, newest = make.load_versions(name)
        export_for_all(newest, folder / name, older)
    return folder


@pytest.fixture(scope="session")
def page_models_dir(golden_models_dir, tmp_path_factory):
    """The tiny golden models and two rate points that ship."""
    folder = tmp_path_factory.mktemp("page_models")
    for source in [*golden_models_dir.iterdir(), *(codec.models_dir() / name for name in RATE_POINTS)]:
        (folder / source.name).symlink_to(source)
    return folder


@pytest.fixture(scope="session")
def page_server(page_models_dir):
    """A server of the web page with these models."""
    with serving(Site(page_models_dir)) as server:
        yield server


@pytest.fixture(scope="session")
def browser(page_server, tmp_path_factory):
    """A browser that shows the page."""
    with chromium(tmp_path_factory.mktemp("profile"), address(page_server)) as browser:
        yield browser


@pytest.fixture(scope="session")
def small_file(page_models_dir):
    """The bytes of a small file of `golden-2`, with metadata."""
    return codec.load("golden-2", page_models_dir).compress(photograph(60, 40), {"EXIF": b"II*\0"})
