"""A rate point run by TensorFlow: the signatures of its SavedModels."""

import contextlib
import ctypes
import functools
import importlib.util
import os
import sys
import threading

import numpy as np

from balle2017.codec.forks import not_after_fork
from balle2017.codec.model_info import ModelError
from balle2017.codec.quiet import import_tensorflow

# What the transforms compute with, and how the names of their signatures end. With bfloat16 the
# factors of products are rounded, and so are the sums of them; files stay compatible, pixels differ a little.
ARITHMETIC = {"float32": "", "bfloat16": "_bfloat16"}
_RANGE_CODER = "tensorflow_compression"


@not_after_fork
@functools.cache
def tensorflow():
    """TensorFlow, with the range coder's ops if they are installed, imported without its messages.

    Raises:
      ImportError: If it is not installed.
    """
    tf = import_tensorflow()
    spec = importlib.util.find_spec(_RANGE_CODER)
    if spec is not None and _RANGE_CODER not in sys.modules:
        # Only the ops: the package itself imports tensorflow-probability, half a second of it.
        # By the path that the package names, as TensorFlow loads each path once.
        (package,) = spec.submodule_search_locations
        ops = os.path.join(package, "python/ops", "../../cc/libtensorflow_compression.so")
        tf.load_op_library(ops)
    tf.get_logger().setLevel("ERROR")
    return tf


class TensorflowRuntime:
    """Runs the encoder and the decoder of a model, each loaded when first used.

    Args:
      folder: Of the model.
      info: The contents of its `model.json`, or of that of an older decoder.
      arithmetic: A key of `ARITHMETIC`.
    """

    name = "tensorflow"

    def __init__(self, folder, info, arithmetic="float32"):
        self._folder = folder
        self._name = info["name"]
        self._version = str(info.get("version", 1))
        self._suffix = ARITHMETIC[arithmetic]
        self._halves, self._ready = {}, set()
        self._lock = threading.Lock()

    @staticmethod
    def lacks(folder, info):
        """What keeps it from running a model, a sentence, or `None`."""
        if info.get("runtime") == "onnx":
            return f"{info['name']} was exported for the runtime onnx alone."
        if importlib.util.find_spec("tensorflow") is None:
            return "The runtime tensorflow needs TensorFlow, which is not installed."
        if info.get("runtime") == "tfc" and importlib.util.find_spec(_RANGE_CODER) is None:
            return (
                f"The runtime tensorflow needs tensorflow-compression for {info['name']}, which exists"
                " for Python 3.9 to 3.11 on Linux and macOS."
            )
        return None

    def analyze(self, pixels):
        """Quantized latents int32 `[⌈height/16⌉, ⌈width/16⌉, M]` of uint8 `[height, width, channels]`."""
        return self.call("encoder", "latents" + self._suffix, pixels=pixels[None])["latents"][0]

    def synthesize(self, latents):
        """Pixels uint8 `[16 h, 16 w, channels]` of int32 `[h, w, M]`."""
        return self.call("decoder", "synthesize" + self._suffix, latents=latents[None])["pixels"][0]

    def encode_slices(self, latents):
        """Latents int32 `[positions, M]` as a list of the bytes of their slices."""
        return list(self.call("encoder", "encode_slices", latents=latents)["slices"])

    def decode_slices(self, slices, slice_length, num_positions):
        """Inverse of `encode_slices`; see `Model.decode_slices`."""
        outputs = self.call(
            "decoder",
            "decode_slices",
            slices=np.array(slices, object),
            slice_length=np.int32(slice_length),
            num_positions=np.int32(num_positions),
        )
        return outputs["latents"], outputs["valid"]

    def opening_decoder(self):
        """See `OnnxRuntime`; here the graph came with the tables."""
        return contextlib.nullcontext()

    def call(self, half, signature, **inputs):
        """Runs a signature of the encoder or the decoder, arrays to arrays."""
        tf = tensorflow()
        if (half, signature) in self._ready:
            return self._run(tf, half, signature, inputs)
        # One by one: first runs side by side would each optimize the graph.
        with self._lock:
            if half not in self._halves:
                self._halves[half] = self._load(tf, half)
            outputs = self._run(tf, half, signature, inputs)
            if (half, signature) not in self._ready:
                self._ready.add((half, signature))
                _return_memory()
            return outputs

    def _run(self, tf, half, signature, inputs):
        session, signatures = self._halves[half]
        if signature not in signatures:
            raise ModelError(f"The {half} of {self._name} has no signature {signature}: export it again.")
        names_in, names_out = signatures[signature]
        try:
            return session.run(names_out, {names_in[key]: value for key, value in inputs.items()})
        except tf.errors.ResourceExhaustedError as error:
            raise MemoryError from error

    def _load(self, tf, half):
        """A session of a half, and the names of its signatures' inputs and outputs.

        It takes 80 MB less than what `tf.saved_model.load` returns, of which every function is an object of Python.
        """
        folder = self._folder / half / self._version
        graph = tf.Graph()
        session = tf.compat.v1.Session(graph=graph)
        try:
            with graph.as_default():
                loaded = tf.compat.v1.saved_model.load(session, [tf.saved_model.SERVING], str(folder))
        except (OSError, ValueError, KeyError, RuntimeError, tf.errors.OpError):
            raise ModelError(f"The {half} of {self._name} cannot be loaded from {folder}.") from None
        return session, {
            key: tuple({k: tensor.name for k, tensor in part.items()} for part in (signature.inputs, signature.outputs))
            for key, signature in loaded.signature_def.items()
        }


def _return_memory():
    """Gives back to the system what is free: to optimize a graph takes a hundred megabytes, and the heap keeps them."""
    # Only the C library of Linux has this function.
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
