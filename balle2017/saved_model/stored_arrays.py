"""The plain arrays of an exported encoder or decoder, read without TensorFlow.

`arrays.json` beside a SavedModel says where in its bytes each array stands:

    {"file": "saved_model.pb",
     "arrays": {"synthesis/kernels/0": {"dtype": "float16", "shape": [5, 5, 128, 192], "offset": 1234}, …}}

All are little-endian, in C order and contiguous. The names are `analysis/…` or `synthesis/…` with
the fields of `weights.Transform` and the stage, and `coder/lookup`, `coder/active_channels`,
`coder/offsets`, `coder/constants`.
"""

import json
import os

import numpy as np

from balle2017.entropy.tables import CodingTables, lookup_of
from balle2017.model.weights import FIELDS, Transform, compact

INDEX = "arrays.json"
# Where there is no SavedModel, the arrays have a file of their own.
DATA = "arrays.bin"
TRANSFORMS = {"encoder": "analysis", "decoder": "synthesis"}
# Beside them, the transform's graph, which refers to the arrays.
GRAPHS = {half: f"{transform}.onnx" for half, transform in TRANSFORMS.items()}
_TYPES = {"float16": "<f2", "float32": "<f4", "int32": "<i4", "uint16": "<u2"}
_ALIGNMENT = 64


def of_half(rate_point, half):
    """The arrays of a `RatePoint`'s encoder or decoder by name; float16 where that loses nothing."""
    name = TRANSFORMS[half]
    return {**of_transform(getattr(rate_point, name), name), **rate_point.tables.arrays()}


def of_transform(transform, name):
    """The arrays of a `weights.Transform` by name; float16 where that loses nothing."""
    return {
        f"{name}/{field.name}/{index}": compact(array)
        for field in FIELDS
        for index, array in enumerate(getattr(transform, field.name))
    }


def transform_of(arrays, name):
    """The `weights.Transform` of a name, of arrays (or tensors) by name."""

    def values(field):
        count = sum(key.startswith(f"{name}/{field}/") for key in arrays)
        return [arrays[f"{name}/{field}/{index}"] for index in range(count)]

    return Transform(*(values(field.name) for field in FIELDS))


def tables_of(arrays):
    """The `CodingTables` of arrays by name.

    Raises:
      ValueError: If they are none.
    """
    lookup, active, offsets, constants = (
        arrays[f"coder/{field}"] for field in ("lookup", "active_channels", "offsets", "constants")
    )
    lookup = lookup_of(lookup)
    ends = np.flatnonzero(lookup == 2**CodingTables.PRECISION) + 1
    lengths = np.diff(ends, prepend=0)
    # Tables with a sign are those of channels, class by class; behind them are those of the classes.
    signed = lookup[ends - lengths] < 0
    of_channels = np.count_nonzero(signed)
    cdfs, class_cdfs = [None] * len(offsets), None
    if len(active):
        num_classes, rest = divmod(of_channels, len(active))
        lengths, lengths_of_classes = np.split(lengths, [of_channels])
        # With the number before each; a single class has no tables of classes.
        expected = [num_classes + 2] * (num_classes + 1) if num_classes > 1 else []
        if (
            rest
            or not num_classes
            or not np.all(signed[:of_channels])
            or np.any(lengths.reshape(num_classes, -1) != lengths[: len(active)])
            or not np.array_equal(lengths_of_classes, expected)
        ):
            raise ValueError("The coding tables are no tables of the same bins in all classes.")
        # As wholes, since there are thousands of them.
        rows, of_classes = np.split(lookup, [np.sum(lengths)])
        rows = rows.reshape(num_classes, -1)
        for channel, table in zip(active, np.split(rows, np.cumsum(lengths[: len(active)])[:-1], 1)):
            cdfs[channel] = table[:, 1:]
        if len(of_classes):
            class_cdfs = of_classes.reshape(num_classes + 1, -1)[:, 1:]
    return CodingTables(offsets, cdfs, constants, class_cdfs)


def write(folder, arrays):
    """Writes arrays by name as a file of their own, and the index of it.

    Returns:
      The contents of `arrays.json`.
    """
    entries = {}
    with open(os.path.join(folder, DATA), "wb") as file:
        for name, array in arrays.items():
            file.write(bytes(-file.tell() % _ALIGNMENT))
            dtype = array.dtype.name
            entries[name] = {"dtype": dtype, "shape": list(array.shape), "offset": file.tell()}
            file.write(np.ascontiguousarray(array, _TYPES[dtype]).tobytes())
    return _write_index(folder, DATA, entries)


def index(folder, arrays, file="saved_model.pb"):
    """Writes the index of arrays by name whose bytes stand in a file already.

    Returns:
      The contents of `arrays.json`.

    Raises:
      ValueError: If the file does not hold one of them.
    """
    with open(os.path.join(folder, file), "rb") as opened:
        data = opened.read()
    entries = {}
    for name, array in arrays.items():
        dtype = array.dtype.name
        # Wherever these bytes stand, they are this array.
        offset = data.find(np.ascontiguousarray(array, _TYPES[dtype]).tobytes())
        if offset < 0:
            raise ValueError(f"{folder}/{file} does not hold {name}.")
        entries[name] = {"dtype": dtype, "shape": list(array.shape), "offset": offset}
    return _write_index(folder, file, entries)


def read(folder, prefix=""):
    """Reads arrays whose names begin with a prefix.

    Returns:
      A dict of arrays by name, of the types that are stored.

    Raises:
      OSError: If there are none.
      ValueError: If the index or the file is not whole.
    """
    arrays = {}
    try:
        with open(os.path.join(folder, INDEX), encoding="utf-8") as file:
            index = json.load(file)
        with open(os.path.join(folder, os.path.basename(index["file"])), "rb") as file:
            for name, entry in index["arrays"].items():
                if name.startswith(prefix):
                    arrays[name] = _read_array(file, **entry)
    except (KeyError, TypeError, AttributeError, ValueError):
        raise ValueError(f"{folder}/{INDEX} is damaged.") from None
    return arrays


def _write_index(folder, file, entries):
    contents = {"file": file, "arrays": entries}
    with open(os.path.join(folder, INDEX), "w", encoding="utf-8") as opened:
        json.dump(contents, opened, indent=1)
        opened.write("\n")
    return contents


def _read_array(file, dtype, shape, offset):
    file.seek(offset)
    kind = np.dtype(_TYPES[dtype])
    count = int(np.prod(shape))
    data = file.read(count * kind.itemsize)
    return np.frombuffer(data, kind, count).reshape(shape).astype(dtype)
