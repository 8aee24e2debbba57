"""The weights of a transform as named constants of a graph."""

import dataclasses

from balle2017.entropy.graph import named_constants
from balle2017.saved_model.stored_arrays import transform_of


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
