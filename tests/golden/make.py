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
# By name: with a single set of coding tables, and with three that compete.
TINY = {"golden-1": 1, "golden-2": 3}


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


def load_rate_point(name):
    """Reads a tiny model, as `save_rate_point` wrote it."""
    with np.load(os.path.join(FOLDER, f"{name}.npz")) as file:
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


def make(name, models_dir=None):
    from helpers.pictures import photograph

    model = codec.load(name, models_dir)
    data = model.compress(photograph(90, 131), {"EXIF": b"II*\0\x08\0\0\0\0\0\0\0\0\0"})
    path = os.path.join(FOLDER, f"v{bitstream.VERSION}-{name}")
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
    from helpers.rate_points import random_rate_point

    from balle2017.saved_model.writing import export

    for name, num_classes in TINY.items():
        if os.path.exists(os.path.join(FOLDER, f"{name}.npz")):
            continue
        rate_point = random_rate_point(name, num_classes=num_classes)
        save_rate_point(rate_point, os.path.join(FOLDER, f"{name}.npz"))
        with tempfile.TemporaryDirectory() as folder:
            export(load_rate_point(name), os.path.join(folder, name))
            make(name, folder)


if __name__ == "__main__":
    main()
