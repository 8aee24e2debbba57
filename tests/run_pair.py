"""Runs an exported pair in a process that has nothing but TensorFlow.

    python run_pair.py MODEL_DIR IN.npz OUT.npz

IN holds `images`, PNG files, and `files`, .tfci files; OUT gets for each image its
file and latents, and for each file its PNG.
"""

import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
# Importing either fails from here on.
sys.modules["tensorflow_compression"] = None
sys.modules["balle2017"] = None

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry


def check_ops(directory):
    """Exits unless TensorFlow itself knows all ops of a SavedModel."""
    saved_model = saved_model_pb2.SavedModel()
    with open(os.path.join(directory, "saved_model.pb"), "rb") as file:
        saved_model.ParseFromString(file.read())
    for meta_graph in saved_model.meta_graphs:
        library = meta_graph.graph_def.library
        functions = {function.signature.name for function in library.function}
        nodes = list(meta_graph.graph_def.node)
        for function in library.function:
            nodes += function.node_def
        for op in {node.op for node in nodes} - functions:
            if op_def_registry.get(op) is None:
                sys.exit(f"{directory} uses {op}.")


def main(directory, source, target):
    parts = [os.path.join(directory, part, "1") for part in ("encoder", "decoder")]
    for part in parts:
        check_ops(part)
    encoder, decoder = map(tf.saved_model.load, parts)
    inputs = np.load(source, allow_pickle=True)
    images, files = list(inputs["images"]), list(inputs["files"])
    encode, get_latents = encoder.signatures["serving_default"], encoder.signatures["latents"]
    decode = decoder.signatures["serving_default"]
    latents = [get_latents(pixels=tf.io.decode_png(image)[tf.newaxis])["latents"].numpy().ravel() for image in images]
    np.savez(
        target,
        version=tf.__version__,
        files=encode(image_bytes=tf.constant(images))["bitstream_bytes"].numpy(),
        images=decode(bitstream_bytes=tf.constant(files))["image_bytes"].numpy(),
        latents=np.concatenate(latents),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
