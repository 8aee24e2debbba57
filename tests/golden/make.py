"""Makes golden files of the current format: once for each release, never again.

    PYTHONPATH=.:tests python tests/golden/make.py                    # of tiny models of its own
    PYTHONPATH=.:tests python tests/golden/make.py bls2017-mse-4 ...  # of models that ship

For each it writes `vVERSION-MODEL.tfci` and an `.npz` with latents and pixels.
Tiny models are kept as plain weights, to be exported anew by each test run.
"""

import dataclasses
import os
import sys
import tempfile

import numpy as np

from balle2017 import codec
from balle2017.container import bitstream
from balle2017.entropy.tables import CodingTables
from balle2017.model.weights import Transform
from balle2017.saved_model.rate_point import RatePoint

FOLDER = os.path.dirname(os.path.abspath(__file__))
# By name: with a single set of coding tables, with three that compete, and with two versions.
TINY = {"golden-1": [1], "golden-2": [3], "golden-3": [1, 3]}


def save_rate_point(rate_point, path):
    """Writes the weights and tables of a rate point."""
    arrays = {}
    for half in ("analysis", "synthesis"):
        for field, values in dataclasses.asdict(getattr(rate_point, half)).items():
            arrays.update({f"{half}/{field}/{i}": value for i, value in enumerate(values)})
    tables = rate_point.tables
    arrays.update({"offsets": tables.offsets, "constants": tables.constants})
    arrays.update({f"cdf/{i}": cdf for i, cdf in enumerate(tables.cdfs) if cdf is not None})
    if tables.class_cdfs is not None:
        arrays["class_cdfs"] = tables.class_cdfs
    np.savez_compressed(path, slice_length=rate_point.slice_length, **arrays)


def file_of(name, version):
    """The name of a version's files, without an extension."""
    return name if version == 1 else f"{name}.{version}"


def load_versions(name):
    """Reads all versions of a tiny model, ascending."""
    return [load_rate_point(name, version) for version in range(1, 1 + len(TINY[name]))]


def load_rate_point(name, version):
    """Reads a tiny model, as `save_rate_point` wrote it."""
    with np.load(os.path.join(FOLDER, f"{file_of(name, version)}.npz")) as file:
        arrays = dict(file)

    def transform(half):
        fields = {f: [] for f in ("kernels", "biases", "betas", "gammas")}
        for name in sorted(arrays):
            if name.startswith(half):
                fields[name.split("/")[1]].append(arrays[name])
        return Transform(**fields)

    count = len(arrays["offsets"])
    # The first was written when there was no other class.
    cdfs = {i: np.atleast_2d(arrays[f"cdf/{i}"]) for i in range(count) if f"cdf/{i}" in arrays}
    return RatePoint(
        name=name,
        version=version,
        lmbda=0.01,
        num_latents=count,
        channels=3,
        slice_length=int(arrays["slice_length"]),
        gdn_alpha=2,
        gdn_epsilon=0.5,
        analysis=transform("analysis"),
        synthesis=transform("synthesis"),
        tables=CodingTables(
            arrays["offsets"],
            [cdfs.get(i) for i in range(count)],
            arrays["constants"],
            arrays.get("class_cdfs"),
        ),
    )


def make(name, models_dir=None, version=1):
    from helpers.pictures import photograph

    model = codec.load(name, models_dir)
    data = model.compress(photograph(90, 131), {"EXIF": b"II*\0\x08\0\0\0\0\0\0\0\0\0"})
    path = os.path.join(FOLDER, f"v{bitstream.VERSION}-{file_of(name, version)}")
    if os.path.exists(path + ".tfci"):
        sys.exit(f"{path}.tfci exists, and golden files are never changed.")
    with open(path + ".tfci", "wb") as file:
        file.write(data)
    latents = model.decode_latents(bitstream.unpack(data))
    pixels = codec.decompress(data, models_dir).pixels
    np.savez_compressed(path, latents=latents, pixels=pixels)


def main():
    if sys.argv[1:]:
        for name in sys.argv[1:]:
            make(name)
        return
    from balle2017.saved_model.writing import export
    from helpers.rate_points import random_rate_point

    for name, versions in TINY.items():
        for version, num_classes in enumerate(versions, 1):
            path = os.path.join(FOLDER, f"{file_of(name, version)}.npz")
            if os.path.exists(path):
                continue
            rate_point = random_rate_point(name, num_classes=num_classes, seed=version - 1)
            save_rate_point(rate_point if len(versions) == 1 else rate_point.rounded(), path)
            with tempfile.TemporaryDirectory() as folder:
                export(load_rate_point(name, version), os.path.join(folder, name))
                make(name, folder, version)


if __name__ == "__main__":
    main()
