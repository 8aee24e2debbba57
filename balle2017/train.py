"""Trains one rate point and exports it: `python -m balle2017.train --help`.

A settings file of `experiments/` is taken with `--flagfile`. In Python it is
`balle2017.training.loop.train(Settings(...))`.
"""

import dataclasses
import os
import sys

# 3 silences what TensorFlow says about GPUs that are not there.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from balle2017.commands import ending, extras

with extras.needed("train", "balle2017.train"):
    from absl import app, flags, logging

    from balle2017.training import loop
    from balle2017.training.photographs import DataError
    from balle2017.training.settings import Settings, SettingsError

# Without photographs of one's own: about a minute.
EXAMPLE_RUN = {"steps": 400, "fine_tune_steps": 100}
MAIN_SETTINGS = ("data", "name", "models_dir", "lmbda", "distortion", "num_filters", "steps", "init_from")


def define_flags(values):
    """A flag for each field of `Settings`."""
    for field in dataclasses.fields(Settings):
        text, limits = field.metadata["help"], field.metadata
        if limits["choices"]:
            default, choices = str(field.default), [str(choice) for choice in limits["choices"]]
            flags.DEFINE_enum(field.name, default, choices, text, flag_values=values)
        elif field.type in (int, float) or isinstance(field.default, int) or limits["lower"] is not None:
            define = flags.DEFINE_float if field.type is float else flags.DEFINE_integer
            define(field.name, field.default, text, limits["lower"], limits["upper"], flag_values=values)
        elif isinstance(field.default, tuple):
            flags.DEFINE_multi_string(field.name, list(field.default), text, flag_values=values)
        else:
            flags.DEFINE_string(field.name, field.default, text, flag_values=values)
    flags.DEFINE_alias("lambda", "lmbda", flag_values=values)


def settings_of(values):
    """The `Settings` that parsed flags stand for."""
    given = {field.name: values[field.name].value for field in dataclasses.fields(Settings)}
    for field in dataclasses.fields(Settings):
        if field.type is int:
            given[field.name] = int(given[field.name])
    if not given["data"] and not given["tfds"]:
        given.update({name: value for name, value in EXAMPLE_RUN.items() if not values[name].present})
    return Settings(**given)


def main(argv):
    # Else TensorFlow says what it writes.
    logging.set_verbosity(logging.ERROR)
    try:
        if len(argv) > 1:
            raise SettingsError(f"unexpected argument {argv[1]!r}: photographs are named with --data")
        settings = settings_of(flags.FLAGS)
        if not settings.data and not settings.tfds:
            print(
                "No --data: training for a minute on the photographs that come with balle2017.\n"
                "Name your own with --data FOLDER (or a glob; may be repeated).",
                flush=True,
            )
        loop.train(settings)
    except (OSError, SettingsError, DataError, loop.TrainingError) as error:
        sys.exit(f"balle2017.train: {error}")


def short_help():
    """The settings that most trainings change."""
    lines = ["usage: python -m balle2017.train [--data FOLDER]... [--flagfile FILE] [flags]", ""]
    described = {field.name: field.metadata["help"] for field in dataclasses.fields(Settings)}
    lines += [f"  --{'lambda' if name == 'lmbda' else name}: {described[name]}" for name in MAIN_SETTINGS]
    return "\n".join([*lines, "", "--help has all of them."])


if __name__ == "__main__":
    if {"--helpshort", "-helpshort"} & set(sys.argv):
        print(short_help())
        sys.exit()
    define_flags(flags.FLAGS)
    words = ["--help" if word == "-h" else word for word in sys.argv]
    ending.run(lambda: app.run(main, words), "balle2017.train")
