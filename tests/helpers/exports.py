"""Exported pairs: their signatures, here and in another TensorFlow, and pictures for them."""

import os
import pathlib
import subprocess

import numpy as np
import tensorflow as tf


class Pair:
    """The signatures of an exported pair."""

    def __init__(self, directory):
        self._encoder, self._decoder = (
            tf.saved_model.load(os.path.join(directory, part, "1")) for part in ("encoder", "decoder")
        )
        self.encoder, self.decoder = self._encoder.signatures, self._decoder.signatures

    def compress(self, images):
        return list(self.encoder["serving_default"](tf.constant(images))["bitstream_bytes"].numpy())

    def decompress(self, files):
        return list(self.decoder["serving_default"](tf.constant(files))["image_bytes"].numpy())


def picture(height, width, kind="smooth"):
    """uint8 `[height, width, 3]`."""
    random = np.random.default_rng(0)
    if kind == "noise":
        return random.integers(0, 256, [height, width, 3], np.uint8)
    if kind == "constant":
        return np.full([height, width, 3], 77, np.uint8)
    rows, columns = np.mgrid[:height, :width]
    return np.uint8(127 + 60 * np.sin(np.stack([rows / 5, columns / 7, (rows + columns) / 11], -1)))


PICTURES = [
    picture(1, 1),
    picture(17, 3),
    picture(500, 1),
    picture(61, 83),
    picture(100, 130, "noise"),
    picture(96, 64, "constant"),
]
PNGS = [tf.io.encode_png(pixels).numpy() for pixels in PICTURES]


def run_elsewhere(python, directory, images, files, folder):
    np.savez(folder / "in.npz", images=np.array(images, object), files=np.array(files, object))
    arguments = [
        python,
        str(pathlib.Path(__file__).parents[1] / "run_pair.py"),
        str(directory),
        folder / "in.npz",
        folder / "out.npz",
    ]
    # From elsewhere, so that the package is not found by accident.
    result = subprocess.run(arguments, cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return np.load(folder / "out.npz", allow_pickle=True)
