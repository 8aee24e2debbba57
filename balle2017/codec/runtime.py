"""What runs a model: TensorFlow, or onnxruntime and NumPy. Both read and write the same files."""

import importlib.util

from balle2017.codec.model_info import ModelError
from balle2017.codec.onnx_runtime import OnnxRuntime
from balle2017.codec.tensorflow_runtime import ARITHMETIC, TensorflowRuntime, tensorflow

# By the time to the first picture, which is what `auto` takes.
_BY_START = (OnnxRuntime, TensorflowRuntime)
RUNTIMES = ("auto", *(runtime.name for runtime in _BY_START))


def open_runtime(name, folder, info, arithmetic="float32"):
    """The runtime of a model.

    Args:
      name: One of `RUNTIMES`; "auto" is the quickest to start of those that are there.
      folder: Of the model.
      info: The contents of its `model.json`.
      arithmetic: "float32", or "bfloat16", which only TensorFlow computes with.

    Raises:
      ModelError: If it is not installed, or the model was not exported for it.
      ValueError: If there is no such runtime or arithmetic.
    """
    if name not in RUNTIMES:
        raise ValueError(f"There is no runtime {name!r}, only {', '.join(RUNTIMES)}.")
    if arithmetic not in ARITHMETIC:
        raise ValueError(f"Arithmetic is {' or '.join(ARITHMETIC)}, not {arithmetic!r}.")
    if arithmetic != "float32" and name == "onnx":
        raise ModelError(f"The runtime onnx does not compute with {arithmetic}, only tensorflow does.")
    only = "tensorflow" if arithmetic != "float32" else name
    sentences = []
    for runtime in _BY_START:
        if only not in ("auto", runtime.name):
            continue
        sentence = runtime.lacks(folder, info)
        if sentence is None:
            return runtime(folder, info) if runtime is OnnxRuntime else runtime(folder, info, arithmetic)
        sentences.append(sentence)
    raise ModelError(" ".join(sentences))


def has_tensorflow(infos):
    """Whether TensorFlow runs models, of each of which there are the contents of `model.json`."""
    return all(TensorflowRuntime.lacks(None, info) is None for info in infos)


def can_refine() -> bool:
    """Whether there are efforts above 0: they take TensorFlow, any version."""
    return importlib.util.find_spec("tensorflow") is not None


def default_effort(target_bpp) -> int:
    """The effort, where none is named: rates between those of the models take some, if it can be had."""
    return 1 if target_bpp is not None and can_refine() else 0


def check_effort(effort):
    """Checks that an effort can be had.

    Raises:
      ModelError: If it is above 0, and TensorFlow is not installed.
    """
    if effort and not can_refine():
        raise ModelError(
            "An effort above 0 needs TensorFlow, which is not installed: pip install 'balle2017[tensorflow]',"
            " or take effort 0."
        )


def tensorflow_for_effort():
    """TensorFlow, any version.

    Raises:
      ModelError: If it is not installed.
    """
    check_effort(1)
    return tensorflow()
