"""Writes a rate point for the runtime onnx, without TensorFlow."""

import os

from balle2017.saved_model import folder, onnx_graphs, stored_arrays


def export(rate_point, directory):
    """Writes what the runtime onnx needs, and nothing else.

    `directory/encoder/1` and `directory/decoder/1` with the transform's graph, the arrays and their
    index, and `model.json`. An earlier export of the same name is replaced, in one step.

    Args:
      rate_point: A `RatePoint`.
      directory: Path whose last part should be the rate point's name.
    """
    with folder.replacing(directory) as temporary:
        for half in stored_arrays.TRANSFORMS:
            path = os.path.join(temporary, half, "1")
            os.makedirs(path)
            index = stored_arrays.write(path, stored_arrays.of_half(rate_point, half))
            onnx_graphs.write_half(path, half, index, rate_point)
        folder.describe(rate_point, "onnx", temporary)
