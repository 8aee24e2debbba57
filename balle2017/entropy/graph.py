"""Helpers of graphs: named constants, checks of what comes in, strings of bytes."""

import numpy as np
import tensorflow as tf

# What the names of a rate point's arrays begin with in an exported graph.
CONSTANT = "rate_point/"


def named_constants(arrays):
    """A function of a graph that gives a dict of arrays as constants.

    A graph holds it once, however many functions call it, and each constant
    can be found there by its name: `CONSTANT` and then its key.
    """

    def constants():
        return {key: tf.constant(value, name=CONSTANT + key) for key, value in arrays.items()}

    return tf.function(constants, [], autograph=False)


def require(condition, message, tensors):
    """Passes `tensors` on if `condition` holds, and is an `INVALID_ARGUMENT` otherwise.

    Whatever must not be computed from wrong input has to use the result.
    """
    check = tf.debugging.Assert(condition, [message])
    with tf.control_dependencies([] if check is None else [check]):
        return tf.nest.map_structure(tf.identity, tensors)


def one_by_one(function, specs):
    """Like `tf.function`, for graphs of thousands of small ops: they run one after the other in one thread.

    TensorFlow's other executor asks after each op which ones can follow it, which takes as long as the op.

    Args:
      function: Of tensors to a list of tensors; without control flow.
      specs: `tf.TensorSpec` of each argument.
    """
    # Where it was called, an inlined function would be run by the other executor again.
    function = tf.function(function, specs, autograph=False, experimental_attributes={"_noinline": True})
    graph = function.get_concrete_function()

    def call(*arguments):
        results = tf.raw_ops.PartitionedCall(
            args=[*arguments, *graph.captured_inputs],
            Tout=[output.dtype for output in graph.outputs],
            f=graph,
            executor_type="SINGLE_THREADED_EXECUTOR",
        )
        return [tf.ensure_shape(result, output.shape) for result, output in zip(results, graph.outputs)]

    return call


_CHARACTERS = np.array([bytes([value]) for value in range(256)], object)


def to_string(data):
    """Makes a string of bytes: uint8 or int32 `[n]` to string `[]`."""
    return tf.strings.reduce_join(tf.gather(tf.constant(_CHARACTERS), tf.cast(data, tf.int32)))


def join_strings(strings):
    """Makes bytes of strings `[n]`: uint8 `[bytes]`, and the length of each, int32 `[n]`."""
    return tf.io.decode_raw(tf.strings.reduce_join(strings), tf.uint8), tf.strings.length(strings)


def split_strings(payload, lengths):
    """Inverse of `join_strings`: uint8 `[bytes]`, int32 `[n]` to string `[n]`."""
    characters = tf.gather(tf.constant(_CHARACTERS), tf.cast(payload, tf.int32))
    count = tf.size(lengths)
    return tf.strings.unsorted_segment_join(characters, tf.repeat(tf.range(count), lengths), count)
