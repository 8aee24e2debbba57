"""The steps of encoding and decoding one picture, each on its own: where the time goes.

Each transform's stage is a graph with its weights as constants, as in the exported models.
"""

import io

import numpy as np
import tensorflow as tf

from balle2017.container import bitstream
from balle2017.model.network import STRIDE
from balle2017.model.operations import pad_to_multiple
from balle2017.model.transforms import analysis_operations, synthesis_operations
from balle2017.pictures import images


def stages(model, rate_point, path, dtype):
    """Functions without arguments of all steps.

    Args:
      model: `codec.Model`.
      rate_point: The same as `RatePoint`.
      path: A picture file.
      dtype: Type of the factors of the transforms' products.

    Returns:
      A list of `(name, function, multiply-adds)` for each direction.
    """
    pixels = images.read(path).pixels
    encoding = [("file decoding", lambda: images.read(path), 0)]
    x = _add(
        encoding,
        "padding",
        lambda p: tf.cast(pad_to_multiple(p, STRIDE), tf.float32),
        tf.constant(pixels[None]),
    )
    form = rate_point.gdn_alpha, rate_point.gdn_epsilon, dtype
    for operation in analysis_operations(rate_point.analysis, *form):
        is_kernel = operation.matrix.ndim == 4
        stride = operation.function.keywords["stride"] if is_kernel else 1
        name = f"{operation.name}: {_size(operation)}, ↓{stride}" if is_kernel else operation.name
        x = _add(encoding, name, operation.function, x, operation.matrix.size / stride**2)
    x = _add(encoding, "quantization", lambda x: tf.cast(tf.round(x), tf.int32), x)
    latents = x.numpy()
    data = model.compress(pixels)
    contents = bitstream.unpack(data)
    encoding += [
        ("range coding", lambda: model.runtime.encode_slices(latents.reshape(-1, model.num_latents)), 0),
        ("file", lambda: bitstream.pack(contents), 0),
    ]

    decoding = [
        ("file", lambda: bitstream.unpack(data), 0),
        ("range coding", lambda: model.decode_latents(contents), 0),
    ]
    x = tf.cast(x, tf.float32)
    for operation in synthesis_operations(rate_point.synthesis, *form):
        is_kernel = operation.matrix.ndim == 4
        name = (
            f"{operation.name}: {_size(operation)}, ↑{operation.function.keywords['stride']}"
            if is_kernel
            else operation.name
        )
        x = _add(decoding, name, operation.function, x, operation.matrix.size)
    _add(decoding, "rounding", lambda x: tf.saturate_cast(tf.round(x), tf.uint8), x)
    decoding.append(("PNG encoding", lambda: images.write(io.BytesIO(), pixels), 0))
    return encoding, decoding


def _size(operation):
    return f"{len(operation.matrix)}×{len(operation.matrix)}"


def _add(steps, name, function, x, products=0):
    """Appends a step on `x`, with `products` multiply-adds for each of its values' positions.

    Returns:
      What it computes.
    """
    # A lambda, as the arguments of a partial would become inputs of the graph.
    graph = tf.function(lambda x: function(x), autograph=False).get_concrete_function(x)
    steps.append((name, lambda: graph(x), products * int(np.prod(x.shape[:3]))))
    return graph(x)
