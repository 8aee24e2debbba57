"""TensorFlow as the codec needs it: imported when the first transform runs, and quiet."""

import functools
import importlib.util
import os
import sys

from balle2017.codec.forks import not_after_fork


@not_after_fork
@functools.lru_cache(maxsize=None)
def tensorflow():
    """TensorFlow with the range coder's ops, imported without its messages."""
    # 3 silences what TensorFlow says about GPUs that are not there; a crash still speaks.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    if "tensorflow_compression" not in sys.modules:
        # Only the ops: the package itself imports tensorflow-probability, half a second of it.
        # By the path that the package names, as TensorFlow loads each path once.
        (package,) = importlib.util.find_spec("tensorflow_compression").submodule_search_locations
        ops = os.path.join(package, "python/ops", "../../cc/libtensorflow_compression.so")
        tf.load_op_library(ops)
    tf.get_logger().setLevel("ERROR")
    return tf
