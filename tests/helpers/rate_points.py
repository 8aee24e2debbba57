"""Small rate points of random weights, and their exports."""

import json
import shutil

import numpy as np
import pytest

from balle2017.entropy.tables import CodingTables
from balle2017.model.weights import Transform
from balle2017.saved_model.rate_point import RatePoint
from helpers.requirements import HAS_TENSORFLOW


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


def channel_edge(k):
    """Tables of as many classes as there may be, and latents `[1, N]` that take one of them.

    In the last channel their code value is as near below a bound of that class's table as it can be.
    """
    num_classes = CodingTables.MAX_CLASSES
    # Of this class, which is half of all, the first channel leaves an interval of 2^16, which a digit makes 2^32. Of
    # that the second takes the first 2^-16, and of this the third the last.
    dear = np.array([[0, 1, 2, 2**16]] * num_classes)
    first = dear.copy()
    first[k, 1:3] = 2, 3
    cdfs = [first, dear, np.array([[0, 2**16 - 1, 2**16]] * num_classes)]
    return _with_share_of_a_class(k, 2**15, cdfs), np.array([[0, 0, 5]], np.int32)


def class_edge(k):
    """As `channel_edge`, but in the class's own table, which is the first: the code value is below its upper end."""
    num_classes = CodingTables.MAX_CLASSES
    # The class leaves an interval of 2^16, of which the first channel takes the last 2^-16, in any class; in the
    # others the second costs too much.
    cheap = np.array([[0, 1, 2, 2**16]] * num_classes)
    cheap[k, 1:3] = 2**16 - 2, 2**16 - 1
    cdfs = [np.array([[0, 2**16 - 1, 2**16]] * num_classes), cheap]
    return _with_share_of_a_class(k, 1, cdfs), np.array([[5, 0]], np.int32)


def _with_share_of_a_class(k, share, cdfs):
    num_classes = len(cdfs[0])
    shares = np.full(num_classes, (2**16 - share) // (num_classes - 1))
    shares[k] = share
    shares[k - 1] += 2**16 - np.sum(shares)
    class_cdfs = np.tile(np.cumsum([0, *shares]), [num_classes + 1, 1])
    zeros = np.zeros(len(cdfs), np.int32)
    return CodingTables(zeros, cdfs, zeros, class_cdfs)


EDGES = [(channel_edge, k) for k in (0, 30, 31, 32, 47, 62)] + [(class_edge, k) for k in (0, 31, 62)]


def random_rate_point(name="tiny-1", num_filters=8, num_latents=12, channels=3, slice_length=7, seed=0, num_classes=3):
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
        synthesis=transform([normal(5, 5, n, m), normal(5, 5, n, n), normal(9, 9, c, n)], [n, n, c]),
        tables=CodingTables(
            offsets=random.integers(-4, 1, m).astype(np.int32),
            cdfs=cdfs,
            constants=np.where([cdf is None for cdf in cdfs], random.integers(-2, 3, m), 0).astype(np.int32),
            class_cdfs=random_class_cdfs(random, num_classes),
        ),
        prior={"matrix": normal(m, 3)},
        info={"steps": 0},
    )


def export_for_all(rate_point, directory, older=()):
    """Exports a rate point for all runtimes that are there."""
    pytest.importorskip("onnx", reason="onnx, which writes the graphs, is not installed")
    if HAS_TENSORFLOW:
        from balle2017.saved_model.writing import export
    else:
        from balle2017.saved_model.onnx_writing import export
    export(rate_point, directory, older=older)


def copy_export(source, copy, **changes):
    """Copies an exported rate point to a folder whose name it gets.

    Its weights and files are the same; `changes` are of what its `model.json` files say.
    """
    shutil.copytree(source, copy)
    for path in (copy / "model.json", *copy.glob("decoder/*/model.json")):
        path.write_text(json.dumps({**json.loads(path.read_text()), "name": copy.name, **changes}))
