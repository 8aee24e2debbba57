"""A rate point run by TensorFlow: the signatures of its SavedModels."""

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
        self._signatures = {}
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

    def call(self, half, signature, **inputs):
        """Runs a signature of the encoder or the decoder, arrays to arrays."""
        tf = tensorflow()
        with self._lock:
            if half not in self._signatures:
                folder = self._folder / half / self._version
                try:
                    # The object owns the signatures, so it is kept.
                    loaded = tf.saved_model.load(str(folder))
                except (OSError, ValueError, KeyError, tf.errors.OpError):
                    raise ModelError(f"The {half} of {self._name} cannot be loaded from {folder}.") from None
                self._signatures[half] = loaded
            try:
                function = self._signatures[half].signatures[signature]
            except KeyError:
                raise ModelError(f"The {half} of {self._name} has no signature {signature}: export it again.") from None
        try:
            outputs = function(**{key: tf.constant(value) for key, value in inputs.items()})
        except tf.errors.ResourceExhaustedError as error:
            raise MemoryError from error
        return {key: value.numpy() for key, value in outputs.items()}
