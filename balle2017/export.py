"""Exports a rate point as two SavedModels, an encoder and a decoder.

    python -m balle2017.export SAVED_MODELS_DIR/NAME OUT
    python -m balle2017.export SAVED_MODELS_DIR OUT

There are two runtimes with the same signatures and the same files, bit for bit:
"tfc" uses tensorflow-compression's range coder, "stock" only ops of
TensorFlow's core, so that any TensorFlow Serving runs it. `OUT/NAME` is written.
"""

import argparse
import logging
import os
import sys

from balle2017.commands import extras


def main(argv=None):
    """The command, for one rate point or all of a folder of them; returns the exit status."""
    args = _parser().parse_args(argv)
    # Nobody who exports a model wants to know which processor features TensorFlow was built for.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with extras.needed("train", "balle2017.export"):
        from balle2017.saved_model.reading import find_rate_points, load_rate_point
        from balle2017.saved_model.writing import export

    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    try:
        paths = find_rate_points(args.source)
        targets = [os.path.join(args.out, os.path.basename(path)) for path in paths]
        for path, target in zip(paths, targets):
            if os.path.realpath(target) == os.path.realpath(path):
                return _complain(f"{args.out} holds the very models that are to be exported.", 2)
            if os.path.lexists(target) and not os.path.isfile(os.path.join(target, "model.json")):
                return _complain(f"{target} exists and is no exported model.", 2)
        for path, target in zip(paths, targets):
            if os.path.lexists(target) and not args.overwrite:
                _complain(f"{path}: Skipped, as {target} exists; --overwrite replaces it.", 0)
                continue
            export(load_rate_point(path), target, args.runtime)
            print(target, flush=True)
    except (OSError, ValueError) as error:
        return _complain(error, 1)
    return 0


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m balle2017.export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="MODEL", help="a model's folder, or a folder of models")
    parser.add_argument("out", metavar="OUT", help="the folder where exports go")
    parser.add_argument(
        "--runtime",
        choices=("stock", "tfc"),
        default="stock",
        help="what the exports need to run (default: %(default)s)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace exports that exist")
    return parser


def _complain(sentence, status):
    print(f"balle2017.export: {sentence}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
