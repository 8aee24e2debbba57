"""The plain arrays of an exported encoder or decoder, read without TensorFlow.

`arrays.json` beside a SavedModel says where in its bytes each array stands:

    {"file": "saved_model.pb",
     "arrays": {"synthesis/kernels/0": {"dtype": "float16", "shape": [5, 5, 128, 192], "offset": 1234}, …}}

All are little-endian, in C order and contiguous. The names are `analysis/…` or `synthesis/…` with
the fields of `weights.Transform` and the stage, and `coder/lookup`, `coder/active_channels`,
`coder/offsets`, `coder/constants`.
"""

import dataclasses
import json
import os

import numpy as np

from balle2017.entropy.tables import CodingTables
from balle2017.model.weights import Transform

INDEX = "arrays.json"
# Where there is no SavedModel, the arrays have a file of their own.
DATA = "arrays.bin"
TRANSFORMS = {"encoder": "analysis", "decoder": "synthesis"}
_TYPES = {"float16": "<f2", "float32": "<f4", "int32": "<i4"}
_ALIGNMENT = 64


def of_half(rate_point, half):
    """The arrays of a `RatePoint`'s encoder or decoder by name; float16 where that loses nothing."""
    transform = getattr(rate_point, TRANSFORMS[half])
    tables = rate_point.tables
    arrays = {
        f"{TRANSFORMS[half]}/{field.name}/{index}": _compact(array)
        for field in dataclasses.fields(transform)
        for index, array in enumerate(getattr(transform, field.name))
    }
    integers = {
        "coder/active_channels": tables.active,
        "coder/offsets": tables.offsets,
        "coder/constants": tables.constants,
        "coder/lookup": tables.lookup(),
    }
    return {**arrays, **{name: np.int32(array) for name, array in integers.items()}}


def transform_of(arrays, name):
    """The `weights.Transform` of a name, of arrays (or tensors) by name."""

    def values(field):
        count = sum(key.startswith(f"{name}/{field}/") for key in arrays)
        return [arrays[f"{name}/{field}/{index}"] for index in range(count)]

    return Transform(*(values(field.name) for field in dataclasses.fields(Transform)))


def tables_of(arrays):
    """The `CodingTables` of arrays by name."""
    lookup, active, offsets, constants = (
        arrays[f"coder/{field}"] for field in ("lookup", "active_channels", "offsets", "constants")
    )
    rows = np.split(lookup, np.flatnonzero(lookup == 2**CodingTables.PRECISION)[:-1] + 1)
    # Tables with a sign are those of channels, class by class.
    of_channels = [row[1:] for row in rows if row.size and row[0] < 0]
    of_classes = [row[1:] for row in rows if row.size and row[0] > 0]
    cdfs = [None] * len(offsets)
    for index, channel in enumerate(active):
        cdfs[channel] = np.stack(of_channels[index :: len(active)])
    return CodingTables(offsets, cdfs, constants, np.stack(of_classes) if of_classes else None)


def write(folder, arrays):
    """Writes arrays by name as a file of their own, and the index of it.

    Returns:
      The contents of `arrays.json`.
    """
    index = {"file": DATA, "arrays": {}}
    with open(os.path.join(folder, DATA), "wb") as file:
        for name, array in arrays.items():
            file.write(bytes(-file.tell() % _ALIGNMENT))
            dtype = array.dtype.name
            index["arrays"][name] = {"dtype": dtype, "shape": list(array.shape), "offset": file.tell()}
            file.write(np.ascontiguousarray(array, _TYPES[dtype]).tobytes())
    with open(os.path.join(folder, INDEX), "w", encoding="utf-8") as file:
        json.dump(index, file, indent=1)
        file.write("\n")
    return index


def read(folder, prefix=""):
    """Reads arrays whose names begin with a prefix.

    Returns:
      A dict of arrays by name, of the types that are stored.

    Raises:
      OSError: If there are none.
      ValueError: If the index or the file is not whole.
    """
    with open(os.path.join(folder, INDEX), encoding="utf-8") as file:
        index = json.load(file)
    arrays = {}
    try:
        with open(os.path.join(folder, os.path.basename(index["file"])), "rb") as file:
            for name, entry in index["arrays"].items():
                if name.startswith(prefix):
                    arrays[name] = _read_array(file, **entry)
    except (KeyError, TypeError, AttributeError):
        raise ValueError(f"{folder}/{INDEX} is damaged.") from None
    return arrays


def _read_array(file, dtype, shape, offset):
    file.seek(offset)
    kind = np.dtype(_TYPES[dtype])
    count = int(np.prod(shape))
    data = file.read(count * kind.itemsize)
    return np.frombuffer(data, kind, count).reshape(shape).astype(dtype)


def _compact(array):
    array = np.asarray(array, np.float32)
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    return half if array.ndim > 1 and np.array_equal(half, array) else array
