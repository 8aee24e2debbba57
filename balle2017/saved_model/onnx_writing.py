"""Writes a rate point for the runtime onnx, without TensorFlow."""

import os

from balle2017.saved_model import folder, onnx_graphs, stored_arrays


def export(rate_point, directory, older=()):
    """Writes what the runtime onnx needs, and nothing else.

    `directory/encoder/VERSION` and `directory/decoder/VERSION` with the transform's graph, the arrays and their
    index, and `model.json`. An earlier export of the same name is replaced, in one step.

    Args:
      rate_point: A `RatePoint`.
      directory: Path whose last part should be the rate point's name.
      older: Versions before it, `RatePoint`s whose decoders stay beside its own.
    """
    folder.check_name(rate_point.name)
    with folder.replacing(directory) as temporary:
        for half, version in (("encoder", rate_point), *(("decoder", v) for v in (*older, rate_point))):
            path = os.path.join(temporary, half, str(version.version))
            os.makedirs(path)
            index = stored_arrays.write(path, stored_arrays.of_half(version, half))
            onnx_graphs.write_half(path, half, index, version)
            if half == "decoder":
                folder.describe(version, "onnx", path)
        folder.describe(rate_point, "onnx", temporary)
