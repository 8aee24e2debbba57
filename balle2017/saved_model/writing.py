"""Writes a rate point as SavedModels, for one of two runtimes.

There are two runtimes with the same signatures and the same files, bit for bit:
"tfc" uses tensorflow-compression's range coder, "stock" only ops of
TensorFlow's core, so that any TensorFlow Serving runs it.
"""

import os

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from balle2017.entropy.graph import CONSTANT
from balle2017.entropy.stock_coder import StockCoder
from balle2017.entropy.tfc_coder import TfcCoder
from balle2017.saved_model import folder, onnx_graphs, stored_arrays, warmup
from balle2017.saved_model.signatures import Decoder, Encoder

RUNTIMES = ("tfc", "stock")


def export(rate_point, directory, runtime="tfc", older=()):
    """Writes a rate point as SavedModels.

    `directory/encoder/VERSION` and `directory/decoder/VERSION` with the signatures of
    `Encoder` and `Decoder`, beside them `model.json`, which says what they are.
    With the tfc runtime there is also what is read without TensorFlow, in both
    folders an index of the arrays (`stored_arrays`) and the transform as an ONNX
    graph, and `prior.npz`, from which a training can start.
    An earlier export of the same name is replaced, in one step.

    Args:
      rate_point: A `RatePoint`.
      directory: Path whose last part should be the rate point's name.
      runtime: "tfc" or "stock".
      older: Versions before it, `RatePoint`s whose decoders stay beside its own.
    """
    folder.check_name(rate_point.name)
    with folder.replacing(directory) as temporary:
        data = warmup.pictures(rate_point.channels)
        for part, version in ((Encoder, rate_point), *((Decoder, v) for v in (*older, rate_point))):
            signatures = part(version, make_coder(version.tables, runtime)).signatures()
            path = os.path.join(temporary, part.NAME, str(version.version))
            tf.saved_model.save(tf.Module(), path, signatures=signatures)
            if part is Decoder:
                folder.describe(version, runtime, path)
            if runtime == "tfc":
                _write_index(path, version, part.NAME)
            elif version is rate_point:
                warmup.write(path, f"{rate_point.name}-{part.NAME}", part.INPUT, data)
                # What the encoder makes of the pictures warms up the decoder.
                data = signatures["serving_default"](data)[part.OUTPUT]
        folder.describe(rate_point, runtime, temporary)
        if runtime == "tfc":
            np.savez_compressed(os.path.join(temporary, "prior.npz"), **rate_point.prior)


def make_coder(tables, runtime):
    """Returns the `coder.Coder` of a runtime, "tfc" or "stock"."""
    if runtime == "tfc":
        return TfcCoder(tables)
    if runtime == "stock":
        return StockCoder(tables)
    raise ValueError(f"There is no runtime {runtime!r}, only {' and '.join(RUNTIMES)}.")


def _write_index(path, rate_point, half):
    """Adds to a SavedModel what can be read without TensorFlow: an index of its arrays, and a graph of them."""
    file = os.path.join(path, "saved_model.pb")
    with open(file, "rb") as opened:
        model = saved_model_pb2.SavedModel.FromString(opened.read())
    for function in model.meta_graphs[0].graph_def.library.function:
        for node in function.node_def:
            if node.op == "Const" and node.name.startswith(CONSTANT):
                tensor = node.attr["value"].tensor
                array = tf.make_ndarray(tensor)
                # Of a single number TensorFlow makes something else than its bytes.
                for field in ("half_val", "float_val", "int_val"):
                    tensor.ClearField(field)
                tensor.tensor_content = array.tobytes()
    with open(file, "wb") as opened:
        opened.write(model.SerializeToString(deterministic=True))
    index = stored_arrays.index(path, stored_arrays.of_half(rate_point, half))
    onnx_graphs.write_half(path, half, index, rate_point)
