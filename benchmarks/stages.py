"""The steps of encoding and decoding one picture, each on its own: where the time goes.

Each transform's stage is a graph with its weights as constants, as in the exported models.
"""

import io

import numpy as np
import tensorflow as tf

from balle2017 import bitstream, images
from balle2017.rate_point import STRIDE, STRIDES
from balle2017.transforms import PIXEL_SCALE, downsampled_convolution, gdn, pad_to_multiple, upsampled_convolution


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
    form = rate_point.gdn_alpha, rate_point.gdn_epsilon
    for stage, stride in enumerate(STRIDES):
        w = rate_point.analysis
        kernel, bias = w.kernels[stage] / np.float32(1 if stage else PIXEL_SCALE), w.biases[stage]
        name = f"convolution {stage + 1}: {len(kernel)}×{len(kernel)}, ↓{stride}"
        x = _add(
            encoding, name, lambda x: downsampled_convolution(x, kernel, bias, stride, dtype), x,
            kernel.size / stride**2,
        )
        if stage < 2:
            beta, gamma = w.betas[stage], w.gammas[stage]
            x = _add(encoding, f"GDN {stage + 1}", lambda x: gdn(x, beta, gamma, *form, dtype=dtype), x, gamma.size)
    x = _add(encoding, "quantization", lambda x: tf.cast(tf.round(x), tf.int32), x)
    latents = x.numpy()
    data = model.compress(pixels)
    contents = bitstream.unpack(data)
    encoding += [
        ("range coding", lambda: model._encode_slices(latents.reshape(-1, model.num_latents)), 0),
        ("file", lambda: bitstream.pack(contents), 0),
    ]

    decoding = [
        ("file", lambda: bitstream.unpack(data), 0),
        ("range coding", lambda: model.decode_latents(contents), 0),
    ]
    x = tf.cast(x, tf.float32)
    for stage, stride in enumerate(reversed(STRIDES)):
        w = rate_point.synthesis
        if stage > 0:
            beta, gamma = w.betas[stage - 1], w.gammas[stage - 1]
            x = _add(
                decoding, f"IGDN {stage}", lambda x: gdn(x, beta, gamma, *form, inverse=True, dtype=dtype), x,
                gamma.size,
            )
        scale = np.float32(PIXEL_SCALE if stage == 2 else 1)
        kernel, bias = w.kernels[stage] * scale, w.biases[stage] * scale
        name = f"convolution {stage + 1}: {len(kernel)}×{len(kernel)}, ↑{stride}"
        x = _add(decoding, name, lambda x: upsampled_convolution(x, kernel, bias, stride, dtype), x, kernel.size)
    _add(decoding, "rounding", lambda x: tf.saturate_cast(tf.round(x), tf.uint8), x)
    decoding.append(("PNG encoding", lambda: images.write(io.BytesIO(), pixels), 0))
    return encoding, decoding


def _add(steps, name, function, x, products=0):
    """Appends a step on `x`, with `products` multiply-adds for each of its values' positions.

    Returns:
      What it computes.
    """
    graph = tf.function(function, autograph=False).get_concrete_function(x)
    steps.append((name, lambda: graph(x), products * int(np.prod(x.shape[:3]))))
    return graph(x)
