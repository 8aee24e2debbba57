"""The folder of an exported rate point: written in one step, and described by `model.json`."""

import contextlib
import json
import os
import shutil

from balle2017.files.writing import new_folder


@contextlib.contextmanager
def replacing(directory):
    """A temporary folder, which at the end takes the place of one that may exist already.

    Nothing is left of it, and nothing replaced, if an exception is raised.
    """
    directory = os.path.abspath(directory)
    os.makedirs(os.path.dirname(directory), exist_ok=True)
    temporary = new_folder(os.path.dirname(directory))
    try:
        yield temporary
        _replace(temporary, directory)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def describe(rate_point, runtime, directory):
    """Writes `model.json`; `runtime` is what the export needs to run.

    A decoder says itself what it is, too, as it may outlive the rest.
    """
    info = {
        "name": rate_point.name,
        "lambda": rate_point.lmbda,
        "num_filters": rate_point.num_filters,
        "num_latents": rate_point.num_latents,
        "channels": rate_point.channels,
        "slice_length": rate_point.slice_length,
        "gdn_alpha": rate_point.gdn_alpha,
        "gdn_epsilon": rate_point.gdn_epsilon,
        "num_classes": rate_point.tables.num_classes,
        "fingerprint": rate_point.fingerprint(),
        "runtime": runtime,
        **rate_point.info,
    }
    for folder in (directory, os.path.join(directory, "decoder", "1")):
        with open(os.path.join(folder, "model.json"), "w", encoding="utf-8") as file:
            json.dump(info, file, indent=2)
            file.write("\n")


def _replace(source, directory):
    """Renames a folder to one that may exist already."""
    if not os.path.isdir(directory):
        os.rename(source, directory)
        return
    old = new_folder(os.path.dirname(directory))
    os.rename(directory, os.path.join(old, "old"))
    os.rename(source, directory)
    shutil.rmtree(old)
