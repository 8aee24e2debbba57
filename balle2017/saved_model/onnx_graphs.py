"""The transforms as ONNX graphs, whose weights are bytes of the file that `arrays.json` describes.

A graph takes a few kilobytes: kernels stand in it as they are stored, and what is computed of them
alone (from float16 to float32, and upsampling kernels to those of 3×3 convolutions) are nodes that
a runtime evaluates once, when it loads the graph.
"""

import os

from onnx import TensorProto, helper

from balle2017.model.network import PIXEL_SCALE, STRIDES
from balle2017.saved_model.stored_arrays import GRAPHS

_MAX_LATENT = 2**20
# What onnxruntime and onnxruntime-web have known for years.
_OPSET, _IR_VERSION = 17, 8
_TYPES = {"float16": TensorProto.FLOAT16, "float32": TensorProto.FLOAT}
_BYTES = {"float16": 2, "float32": 4}


def analysis(index, alpha, epsilon):
    """The analysis transform, with rounding: `pixels` uint8 `[1, h, w, C]`, `latents` int32 `[1, h/16, w/16, M]`.

    Args:
      index: The contents of `arrays.json`.
      alpha, epsilon: Exponents of GDN: 2 or 1, ½ or 1.

    Returns:
      An `onnx.ModelProto`.
    """
    graph = _Graph(index, "analysis")
    channels = graph.shape("kernels/0")[2]
    x = graph.cast("pixels", TensorProto.FLOAT)
    x = graph.node("Transpose", x, perm=[0, 3, 1, 2])
    for stage, stride in enumerate(STRIDES):
        kernel = graph.array(f"kernels/{stage}")
        if stage == 0:
            kernel = graph.node("Div", kernel, graph.scalar(PIXEL_SCALE))
        kernel = graph.node("Transpose", kernel, perm=[3, 2, 0, 1])
        excess = graph.shape(f"kernels/{stage}")[0] - stride
        before, after = excess // 2, excess - excess // 2
        bias = graph.array(f"biases/{stage}")
        pads = [before, before, after, after]
        x = graph.node("Conv", x, kernel, bias, strides=[stride, stride], pads=pads)
        if stage < graph.count("betas"):
            x = graph.node("Div", x, _pool(graph, x, stage, alpha, epsilon))
    latents = graph.shape(f"kernels/{len(STRIDES) - 1}")[3]
    limits = graph.scalar(-_MAX_LATENT), graph.scalar(_MAX_LATENT)
    return graph.finished(
        graph.node("Clip", graph.node("Round", x), *limits),
        helper.make_tensor_value_info("pixels", TensorProto.UINT8, [1, "height", "width", channels]),
        helper.make_tensor_value_info("latents", TensorProto.INT32, [1, "rows", "columns", latents]),
    )


def synthesis(index, alpha, epsilon):
    """The synthesis transform, with rounding: `latents` int32 `[1, h, w, M]`, `pixels` uint8 `[1, 16 h, 16 w, C]`.

    Args and the result are those of `analysis`.
    """
    graph = _Graph(index, "synthesis")
    latents = graph.shape("kernels/0")[3]
    x = graph.cast("latents", TensorProto.FLOAT)
    x = graph.node("Transpose", x, perm=[0, 3, 1, 2])
    last = len(STRIDES) - 1
    # IGDN stands before the last stages.
    first_normalized = len(STRIDES) - graph.count("betas")
    for stage, stride in enumerate(reversed(STRIDES)):
        if stage >= first_normalized:
            x = graph.node("Mul", x, _pool(graph, x, stage - first_normalized, alpha, epsilon))
        kernel, bias = graph.array(f"kernels/{stage}"), graph.array(f"biases/{stage}")
        if stage == last:
            kernel = graph.node("Mul", kernel, graph.scalar(PIXEL_SCALE))
            bias = graph.node("Mul", bias, graph.scalar(PIXEL_SCALE))
        kernel = _phase_kernel(graph, kernel, graph.shape(f"kernels/{stage}"), stride)
        bias = graph.node("Tile", bias, graph.integers(stride * stride))
        x = graph.node("Conv", x, kernel, bias, pads=[1, 1, 1, 1])
        x = graph.node("DepthToSpace", x, blocksize=stride)
    channels = graph.shape(f"kernels/{last}")[2]
    return graph.finished(
        graph.node("Clip", graph.node("Round", x), graph.scalar(0), graph.scalar(255)),
        helper.make_tensor_value_info("latents", TensorProto.INT32, [1, "rows", "columns", latents]),
        helper.make_tensor_value_info("pixels", TensorProto.UINT8, [1, "height", "width", channels]),
    )


def write_half(path, half, index, rate_point):
    """Writes the graph of an encoder or a decoder beside the file that holds its weights.

    Args:
      path: The folder of that file.
      half: "encoder" or "decoder".
      index: The contents of `arrays.json`.
      rate_point: A `RatePoint`, of which only GDN's exponents are looked at.
    """
    build = {"encoder": analysis, "decoder": synthesis}[half]
    model = build(index, rate_point.gdn_alpha, rate_point.gdn_epsilon)
    with open(os.path.join(path, GRAPHS[half]), "wb") as file:
        file.write(model.SerializeToString())


def _pool(graph, x, stage, alpha, epsilon):
    """What GDN divides by, and IGDN multiplies with (`transforms.gdn`)."""
    power = graph.node("Mul", x, x) if alpha == 2 else graph.node("Abs", x)
    gamma = graph.node("Transpose", graph.array(f"gammas/{stage}"), perm=[1, 0])
    gamma = graph.node("Reshape", gamma, graph.integers(*graph.shape(f"gammas/{stage}"), 1, 1))
    pool = graph.node("Conv", power, gamma, graph.array(f"betas/{stage}"))
    return pool if epsilon == 1 else graph.node("Sqrt", pool)


def _phase_kernel(graph, kernel, shape, stride):
    """Rewrites an upsampling kernel `[k, k, out, in]` as `[stride² · out, in, 3, 3]` (`transforms.phase_kernel`)."""
    size, _, out, inputs = shape
    before = stride - (size - stride) // 2
    after = 3 * stride - size - before
    kernel = graph.node("Pad", kernel, graph.integers(before, before, 0, 0, after, after, 0, 0))
    kernel = graph.node("Reshape", kernel, graph.integers(3, stride, 3, stride, out, inputs))
    kernel = graph.node("Transpose", kernel, perm=[1, 3, 4, 5, 0, 2])
    # A tap at offset 0 reaches the block below its input: convolution flips the taps.
    backwards = graph.integers(-1, -1)
    ends, axes = graph.integers(-4, -4), graph.integers(4, 5)
    kernel = graph.node("Slice", kernel, backwards, ends, axes, backwards)
    return graph.node("Reshape", kernel, graph.integers(stride * stride * out, inputs, 3, 3))


class _Graph:
    """A graph in the making; its values are named by numbers."""

    def __init__(self, index, transform):
        self._file = index["file"]
        self._transform = transform
        prefix = transform + "/"
        arrays = index["arrays"].items()
        self._arrays = {key[len(prefix) :]: entry for key, entry in arrays if key.startswith(prefix)}
        self._nodes, self._initializers = [], {}

    def count(self, kind):
        """The number of arrays such as `betas`."""
        return sum(name.startswith(kind + "/") for name in self._arrays)

    def shape(self, name):
        """The shape of a stored array."""
        return self._arrays[name]["shape"]

    def array(self, name):
        """A stored array, as float32."""
        entry = self._arrays[name]
        if name not in self._initializers:
            tensor = TensorProto(name=name, data_type=_TYPES[entry["dtype"]], dims=entry["shape"])
            tensor.data_location = TensorProto.EXTERNAL
            length = _BYTES[entry["dtype"]]
            for side in entry["shape"]:
                length *= side
            for key, value in (("location", self._file), ("offset", entry["offset"]), ("length", length)):
                tensor.external_data.add(key=key, value=str(value))
            self._initializers[name] = tensor
        return name if entry["dtype"] == "float32" else self.cast(name, TensorProto.FLOAT)

    def scalar(self, value):
        """A constant float32 `[]`."""
        return self._constant(TensorProto.FLOAT, [], [float(value)])

    def integers(self, *values):
        """A constant int64 `[n]`."""
        return self._constant(TensorProto.INT64, [len(values)], values)

    def _constant(self, dtype, shape, values):
        name = f"constant {len(self._initializers)}"
        self._initializers[name] = helper.make_tensor(name, dtype, shape, values)
        return name

    def cast(self, value, dtype):
        return self.node("Cast", value, to=dtype)

    def node(self, op, *inputs, **attributes):
        """Adds a node; returns the name of its output."""
        name = f"value {len(self._nodes)}"
        self._nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def finished(self, x, source, target):
        """The model, whose result is `x` `[1, channels, height, width]` in the target's type and layout."""
        x = self.node("Transpose", x, perm=[0, 2, 3, 1])
        self._nodes.append(helper.make_node("Cast", [x], [target.name], to=target.type.tensor_type.elem_type))
        graph = helper.make_graph(self._nodes, self._transform, [source], [target], list(self._initializers.values()))
        opset = helper.make_opsetid("", _OPSET)
        return helper.make_model(graph, opset_imports=[opset], ir_version=_IR_VERSION, producer_name="balle2017")
