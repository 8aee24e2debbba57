"""The weights of a transform as named constants of a graph."""

import numpy as np
import tensorflow as tf

from balle2017.entropy.graph import named_constants
from balle2017.saved_model.stored_arrays import of_transform, transform_of

# So many float32 numbers are less than the 100 KiB up to which TensorFlow's graph optimizer replaces an op by a
# constant that is larger than what it is computed from.
_CAST_AT_ONCE = 2**14


def transform_constants(name, transform):
    """A function that gives a `weights.Transform` as float32 constants of the graph.

    What is computed of nothing but these, TensorFlow computes once, when a signature first runs.
    """
    constants = named_constants(of_transform(transform, name))
    return lambda: transform_of(constants(), name).map(_to_float32)


def _to_float32(array):
    """Casts a constant in pieces, so that the graph optimizer already makes one constant of it.

    What only becomes one later is, to oneDNN's convolutions, an input like any other: they arrange its numbers anew in
    every call, which costs half as much again as all of g_a for a picture of 64×64.
    """
    size = array.shape.num_elements()
    if array.dtype == tf.float32 or size <= _CAST_AT_ONCE:
        return tf.cast(array, tf.float32)
    sizes = np.diff([*range(0, size, _CAST_AT_ONCE), size])
    pieces = [tf.cast(piece, tf.float32) for piece in tf.split(tf.reshape(array, [-1]), sizes)]
    return tf.reshape(tf.concat(pieces, 0), array.shape)
