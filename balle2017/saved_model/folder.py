"""The folder of an exported rate point: written in one step, and described by `model.json`.

    NAME/model.json            the newest version
    NAME/encoder/2             its encoder
    NAME/decoder/1, decoder/2  its decoder, and those of released versions before it

A rate point that is trained again under its name is a version of it, as TensorFlow Serving numbers them.
"""

import contextlib
import json
import os
import shutil

from balle2017.container import bitstream
from balle2017.files.exchange import exchange
from balle2017.files.writing import make_folder, new_folder
from balle2017.model.network import ARITHMETIC_VERSION


def check_name(name):
    """Refuses a name that files could not carry.

    Raises:
      ValueError: Which says what names there are.
    """
    if not bitstream.is_name(name):
        raise ValueError(
            "A rate point's name has 1 to 255 ASCII letters, digits, dots, dashes and underscores, and begins with a"
            f" letter or a digit: {name!r} is none."
        )


@contextlib.contextmanager
def replacing(directory):
    """A temporary folder, which at the end takes the place of one that may exist already.

    Nothing is left of it, and nothing replaced, if an exception is raised.
    """
    directory = os.path.abspath(directory)
    make_folder(os.path.dirname(directory))
    temporary = new_folder(os.path.dirname(directory))
    try:
        yield temporary
        _replace(temporary, directory)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def describe(rate_point, runtime, directory):
    """Writes the `model.json` of a rate point, or of a decoder, which may outlive the rest.

    `runtime` is what the export needs to run.
    """
    info = {
        "name": rate_point.name,
        "version": rate_point.version,
        "lambda": rate_point.lmbda,
        "num_filters": rate_point.num_filters,
        "num_latents": rate_point.num_latents,
        "channels": rate_point.channels,
        "slice_length": rate_point.slice_length,
        "gdn_alpha": rate_point.gdn_alpha,
        "gdn_epsilon": rate_point.gdn_epsilon,
        "transforms": ARITHMETIC_VERSION,
        "num_classes": rate_point.tables.num_classes,
        "fingerprint": rate_point.fingerprint(),
        "runtime": runtime,
        **rate_point.info,
    }
    with open(os.path.join(directory, "model.json"), "w", encoding="utf-8") as file:
        json.dump(info, file, indent=2)
        file.write("\n")


def read_versions(directory):
    """What the `model.json` of each decoder says, by version; those that say nothing are left out."""
    folder = os.path.join(directory, "decoder")
    found = {}
    for number in os.listdir(folder) if os.path.isdir(folder) else []:
        with contextlib.suppress(OSError, ValueError):
            if number.isdecimal():
                with open(os.path.join(folder, number, "model.json"), encoding="utf-8") as file:
                    found[int(number)] = {**json.load(file), "version": int(number)}
    return dict(sorted(found.items()))


def _replace(source, directory):
    """Renames a folder to one that may exist already; whenever the process ends, the old or the new one is there."""
    if not os.path.isdir(directory):
        os.rename(source, directory)
    elif exchange(source, directory):
        shutil.rmtree(source)
    else:
        # There is a moment without any, after which both are in the hidden folders beside it.
        old = new_folder(os.path.dirname(directory))
        os.rename(directory, os.path.join(old, "old"))
        os.rename(source, directory)
        shutil.rmtree(old)
