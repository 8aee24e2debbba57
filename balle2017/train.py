"""Trains one rate point and exports it: `python -m balle2017.train --help`.

A settings file of `experiments/` is taken with `--flagfile`.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from balle2017.commands import extras

with extras.needed("train", "balle2017.train"):
    from absl import app, flags

    from balle2017.training import loop, settings

# What --help lists are the flags of this module.
flags.adopt_module_key_flags(settings)

if __name__ == "__main__":
    app.run(loop.main)
