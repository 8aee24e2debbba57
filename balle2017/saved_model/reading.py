"""Reads a rate point back from its export, and finds rate points in folders. Without TensorFlow."""

import json
import os

import numpy as np

from balle2017.saved_model import stored_arrays
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
        analysis=transform_of(_read_arrays(directory, "encoder"), "analysis").map(np.float32),
        synthesis=transform_of(decoder, "synthesis").map(np.float32),
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


def _read_arrays(directory, half):
    folder = os.path.join(directory, half, "1")
    try:
        return stored_arrays.read(folder)
    except OSError:
        raise FileNotFoundError(f"There is no {half} in {folder}, or no index of its arrays.") from None
