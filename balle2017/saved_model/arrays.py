"""The arrays of a rate point as named constants of a graph, and back."""

import dataclasses

import numpy as np

from balle2017.entropy.graph import named_constants
from balle2017.entropy.tables import CodingTables
from balle2017.model.weights import Transform


def transform_constants(name, transform):
    """A function that gives a `weights.Transform` as constants of the graph.

    What is computed of nothing but these, TensorFlow computes once, when a signature first runs.
    """
    arrays = {
        f"{name}/{field.name}/{index}": array
        for field in dataclasses.fields(transform)
        for index, array in enumerate(getattr(transform, field.name))
    }
    constants = named_constants(arrays)
    return lambda: transform_of(constants(), name)


def transform_of(arrays, name):
    """The `weights.Transform` of a name, from arrays or tensors by the names of `transform_constants`."""

    def values(field, count):
        return [arrays[f"{name}/{field}/{index}"] for index in range(count)]

    return Transform(
        values("kernels", 3), values("biases", 3), values("betas", 2), values("gammas", 2)
    )


def tables_of(arrays):
    """The `CodingTables` of arrays by the names that `coder.Coder` gives them."""
    lookup, active, offsets, constants = (
        arrays[f"coder/{field}"]
        for field in ("lookup", "active_channels", "offsets", "constants")
    )
    rows = np.split(lookup, np.flatnonzero(lookup == 2**CodingTables.PRECISION)[:-1] + 1)
    # Tables with a sign are those of channels, class by class.
    of_channels = [row[1:] for row in rows if row.size and row[0] < 0]
    of_classes = [row[1:] for row in rows if row.size and row[0] > 0]
    cdfs = [None] * len(offsets)
    for index, channel in enumerate(active):
        cdfs[channel] = np.stack(of_channels[index :: len(active)])
    return CodingTables(offsets, cdfs, constants, np.stack(of_classes) if of_classes else None)
