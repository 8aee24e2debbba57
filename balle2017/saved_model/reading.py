"""Reads a rate point back from its export, and finds rate points in folders. Old ones take TensorFlow."""

import json
import os

import numpy as np

from balle2017.model.network import ARITHMETIC_VERSION
from balle2017.saved_model import stored_arrays
from balle2017.saved_model.folder import read_versions
from balle2017.saved_model.rate_point import RatePoint
from balle2017.saved_model.stored_arrays import tables_of, transform_of


def load_rate_point(directory):
    """Reads the newest version of a `RatePoint` back from what an export wrote, if it is not one for servers.

    Raises:
      FileNotFoundError: If something of it is missing.
      ValueError: If it was exported for another runtime, has been changed, or has weights of other transforms.
    """
    info = _read_info(directory)
    rate_point = _decoder_of(directory, info)
    encoder = _read_arrays(directory, "encoder", rate_point.version)
    rate_point.analysis = transform_of(encoder, "analysis").map(np.float32)
    # The runtime onnx has no prior, so no training starts from there.
    if info["runtime"] == "tfc":
        with np.load(os.path.join(directory, "prior.npz")) as prior:
            rate_point.prior = dict(prior)
    return rate_point


def load_older_decoders(directory):
    """Reads the versions before the newest, of which only decoders are left: `RatePoint`s, ascending.

    Raises:
      FileNotFoundError, ValueError: As `load_rate_point`.
    """
    newest = _read_info(directory).get("version", 1)
    return [_decoder_of(directory, info) for number, info in read_versions(directory).items() if number != newest]


def _read_info(directory):
    try:
        with open(os.path.join(directory, "model.json"), encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no model in {directory}.") from None


def _decoder_of(directory, info):
    """The `RatePoint` that a `model.json` describes, without analysis and prior."""
    if info["runtime"] == "stock":
        raise ValueError(f"{directory} holds no coding tables: it is an export for servers.")
    info = dict(info)
    # What was exported before they were counted is of the first.
    transforms = info.pop("transforms", 1)
    if transforms != ARITHMETIC_VERSION:
        raise ValueError(
            f"{directory} has weights for version {transforms} of the transforms, and this balle2017 computes version"
            f" {ARITHMETIC_VERSION}: take the balle2017 that exported it."
        )
    version = info.pop("version", 1)
    arrays = _read_arrays(directory, "decoder", version)
    rate_point = RatePoint(
        name=info.pop("name"),
        lmbda=info.pop("lambda"),
        num_latents=info.pop("num_latents"),
        channels=info.pop("channels"),
        slice_length=info.pop("slice_length"),
        gdn_alpha=info.pop("gdn_alpha"),
        gdn_epsilon=info.pop("gdn_epsilon"),
        analysis=None,
        synthesis=transform_of(arrays, "synthesis").map(np.float32),
        tables=tables_of(arrays),
        info=info,
        version=version,
    )
    if rate_point.fingerprint() != info.pop("fingerprint"):
        raise ValueError(f"{directory} has been changed: its fingerprint is not that in model.json.")
    for key in ("num_filters", "num_classes", "runtime"):
        info.pop(key, None)
    return rate_point


def find_rate_points(path):
    """Folders of rate points: `path` itself if it is one, else those in it.

    Raises:
      FileNotFoundError: If there are none.
    """
    if os.path.isfile(os.path.join(path, "model.json")):
        return [os.path.abspath(path)]
    names = sorted(os.listdir(path)) if os.path.isdir(path) else []
    found = [
        os.path.join(os.path.abspath(path), name)
        for name in names
        if os.path.isfile(os.path.join(path, name, "model.json"))
    ]
    if not found:
        raise FileNotFoundError(f"{path} is no model and holds none: there is no model.json.")
    return found


def _read_arrays(directory, half, version):
    folder = os.path.join(directory, half, str(version))
    try:
        return stored_arrays.read(folder)
    except OSError:
        pass
    try:
        return _constants_of(os.path.join(folder, "saved_model.pb"))
    except OSError:
        raise FileNotFoundError(f"There is no {half} in {folder}, or no index of its arrays.") from None


def _constants_of(path):
    """Arrays by name of a SavedModel from before there was an index: constants of its graph."""
    with open(path, "rb") as file:
        data = file.read()
    try:
        # Only such a one takes TensorFlow to be read.
        from google.protobuf.message import DecodeError
        import tensorflow as tf
        from tensorflow.core.protobuf import saved_model_pb2

        from balle2017.entropy.graph import CONSTANT
    except ImportError:
        raise FileNotFoundError(path) from None
    model = saved_model_pb2.SavedModel()
    try:
        model.ParseFromString(data)
    except DecodeError:
        raise FileNotFoundError(path) from None
    return {
        node.name[len(CONSTANT) :]: tf.make_ndarray(node.attr["value"].tensor)
        for function in model.meta_graphs[0].graph_def.library.function
        for node in function.node_def
        if node.op == "Const" and node.name.startswith(CONSTANT)
    }
