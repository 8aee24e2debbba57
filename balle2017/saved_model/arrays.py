"""The weights of a transform as named constants of a graph."""

import tensorflow as tf

from balle2017.entropy.graph import named_constants
from balle2017.saved_model.stored_arrays import of_transform, transform_of


def transform_constants(name, transform):
    """A function that gives a `weights.Transform` as constants of the graph.

    What is computed of nothing but these, TensorFlow computes once, when a signature first runs.
    """
    constants = named_constants(of_transform(transform, name))
    return lambda: transform_of(constants(), name).map(lambda array: tf.cast(array, tf.float32))
