"""Reads a rate point back from its SavedModels, and finds rate points in folders."""

import json
import os

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from balle2017.entropy.graph import CONSTANT
from balle2017.saved_model.rate_point import RatePoint
from balle2017.saved_model.stored_arrays import tables_of, transform_of


def load_rate_point(directory):
    """Reads a `RatePoint` back from what `export` with the tfc runtime wrote.

    Raises:
      FileNotFoundError: If something of it is missing.
      ValueError: If it was exported for another runtime, or has been changed.
    """
    try:
        with open(os.path.join(directory, "model.json")) as file:
            info = json.load(file)
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no model in {directory}.") from None
    if info["runtime"] != "tfc":
        raise ValueError(f"{directory} holds no coding tables: it is an export for servers.")
    decoder = _read_arrays(directory, "decoder")
    rate_point = RatePoint(
        name=info.pop("name"),
        lmbda=info.pop("lambda"),
        num_latents=info.pop("num_latents"),
        channels=info.pop("channels"),
        slice_length=info.pop("slice_length"),
        gdn_alpha=info.pop("gdn_alpha"),
        gdn_epsilon=info.pop("gdn_epsilon"),
        analysis=transform_of(_read_arrays(directory, "encoder"), "analysis"),
        synthesis=transform_of(decoder, "synthesis"),
        tables=tables_of(decoder),
        info=info,
    )
    del info["num_filters"]
    info.pop("num_classes", None)
    if rate_point.fingerprint() != info.pop("fingerprint"):
        raise ValueError(
            f"{directory} has been changed: its fingerprint is not that in model.json."
        )
    del info["runtime"]
    with np.load(os.path.join(directory, "prior.npz")) as prior:
        rate_point.prior = dict(prior)
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


def _read_arrays(directory, part):
    """Arrays of a SavedModel by name, without loading its graph."""
    path = os.path.join(directory, part, "1")
    model = saved_model_pb2.SavedModel()
    try:
        with open(os.path.join(path, "saved_model.pb"), "rb") as file:
            model.ParseFromString(file.read())
    except (FileNotFoundError, DecodeError):
        raise FileNotFoundError(f"There is no SavedModel in {directory}/{part}.") from None
    arrays = {}
    for function in model.meta_graphs[0].graph_def.library.function:
        for node in function.node_def:
            if node.op == "Const" and node.name.startswith(CONSTANT):
                arrays[node.name[len(CONSTANT) :]] = tf.make_ndarray(node.attr["value"].tensor)
    return arrays
