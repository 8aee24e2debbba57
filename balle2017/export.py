"""Exports a rate point as two SavedModels, an encoder and a decoder.

    python -m balle2017.export --runtime stock SAVED_MODELS_DIR/NAME OUT
    python -m balle2017.export --runtime stock SAVED_MODELS_DIR OUT

There are two runtimes with the same signatures and the same files, bit for bit:
"tfc" uses tensorflow-compression's range coder, "stock" only ops of
TensorFlow's core, so that any TensorFlow Serving runs it. `OUT/NAME` is written.
"""

import os
import sys

if __name__ == "__main__":
    # Nobody who exports a model wants to know which processor features TensorFlow was built for.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from absl import app, flags, logging

from balle2017.saved_model.reading import find_rate_points, load_rate_point
from balle2017.saved_model.writing import RUNTIMES, export


def main(argv):
    """The command: one rate point, or all of a folder of them."""
    logging.set_verbosity(logging.ERROR)
    if len(argv) != 3:
        sys.exit("Name a model, or a folder of models, and the folder where exports go.")
    _, source, out = argv
    try:
        names = find_rate_points(source)
        for path in names:
            name = os.path.basename(path)
            target = os.path.join(out, name)
            if os.path.realpath(target) == os.path.realpath(path):
                sys.exit(f"{out} holds the very models that are to be exported.")
            export(load_rate_point(path), target, flags.FLAGS.runtime)
            print(target)
    except (OSError, ValueError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    flags.DEFINE_enum("runtime", "stock", RUNTIMES, "What the exported models need to run.")
    app.run(main)
