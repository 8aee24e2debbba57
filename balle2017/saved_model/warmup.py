"""Requests that TensorFlow Serving sends to a model before its clients may.

The first calls of a graph are slow. A file in the SavedModel takes them off the
clients. It needs the package `tensorflow-serving-api`, and is left out without.
"""

import os

import numpy as np
import tensorflow as tf

# Height and width: a small picture, and one of the usual size.
_SIZES = ((64, 64), (512, 768))


def pictures(channels):
    """PNG files, string `[n]`, of something to compress."""
    files = []
    for height, width in _SIZES:
        wave = np.sin(np.hypot(*np.mgrid[:height, :width]) / 9)
        pixels = np.repeat(np.uint8(127 + 100 * wave)[..., np.newaxis], channels, axis=2)
        files.append(tf.io.encode_png(pixels))
    return tf.stack(files)


def write(directory, servable, name, values):
    """Writes the requests of a SavedModel, each with one of the values.

    Args:
      directory: Of the SavedModel.
      servable: Its name in the server's configuration.
      name: Of the input of `serving_default`.
      values: string `[n]`.
    """
    try:
        from tensorflow_serving.apis import prediction_log_pb2
    except ImportError:
        return
    path = os.path.join(directory, "assets.extra", "tf_serving_warmup_requests")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with tf.io.TFRecordWriter(path) as writer:
        for value in values:
            log = prediction_log_pb2.PredictionLog()
            request = log.predict_log.request
            request.model_spec.name = servable
            request.model_spec.signature_name = "serving_default"
            request.inputs[name].CopyFrom(tf.make_tensor_proto([value.numpy()]))
            writer.write(log.SerializeToString())
