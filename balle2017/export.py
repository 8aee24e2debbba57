"""Exports a rate point, an encoder and a decoder.

    python -m balle2017.export SAVED_MODELS_DIR/NAME OUT
    python -m balle2017.export SAVED_MODELS_DIR OUT

There are two kinds of SavedModels with the same signatures and the same files, bit for bit:
"tfc" uses tensorflow-compression's range coder, "stock" only ops of
TensorFlow's core, so that any TensorFlow Serving runs it. "onnx" writes what is
needed without TensorFlow, and nothing else. `OUT/NAME` is written.

A rate point that was trained again is another version: a decoder's files are decoded by it alone.
What was released stays with

    python -m balle2017.export --runtime tfc --keep_versions TRAINED/NAME SAVED_MODELS_DIR

which puts the new decoder beside those that are in `SAVED_MODELS_DIR/NAME`, under the next number.
--overwrite replaces them: files of what is no longer there cannot be decoded any more.
"""

import argparse
import functools
import logging
import os

from balle2017.codec.quiet import import_tensorflow
from balle2017.commands import ending, extras
from balle2017.commands.parser import Parser

complain = functools.partial(ending.complain, program="balle2017.export")


def main(argv=None):
    """The command, for one rate point or all of a folder of them; returns the exit status."""
    args = _parser().parse_args(argv)
    with extras.needed("tensorflow" if args.runtime == "stock" else "train", "balle2017.export"):
        if args.runtime != "onnx":
            import_tensorflow()
        from balle2017.saved_model.reading import find_rate_points

        export = _exporter(args.runtime)

    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    try:
        paths = find_rate_points(args.source)
        targets = [os.path.join(args.out, os.path.basename(path)) for path in paths]
        for path, target in zip(paths, targets):
            if os.path.realpath(target) == os.path.realpath(path):
                return complain(f"{args.out} holds the very models that are to be exported.", 2)
            if os.path.lexists(target) and not os.path.isfile(os.path.join(target, "model.json")):
                return complain(f"{target} exists and is no exported model.", 2)
        for path, target in zip(paths, targets):
            if os.path.lexists(target) and not (args.overwrite or args.keep_versions):
                complain(
                    f"{path}: Skipped, as {target} exists; --overwrite replaces it, --keep_versions puts a new"
                    " version beside those that it has.",
                    0,
                )
                continue
            versions = versions_of(path, target if args.keep_versions else None)
            export(versions[-1], target, older=versions[:-1])
            print(target, flush=True)
    except (OSError, ValueError) as error:
        return complain(error, 1)
    return 0


def _parser():
    parser = Parser(
        prog="python -m balle2017.export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="MODEL", help="a model's folder, or a folder of models")
    parser.add_argument("out", metavar="OUT", help="the folder where exports go")
    parser.add_argument(
        "--runtime",
        choices=("stock", "tfc", "onnx"),
        default="stock",
        help="what the exports need to run (default: %(default)s)",
    )
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--overwrite", action="store_true", help="replace exports that exist")
    existing.add_argument(
        "--keep_versions", action="store_true", help="keep the decoders of exports that exist beside the new ones"
    )
    return parser


def _exporter(runtime):
    """The function that exports a rate point to a folder; its imports are those that the runtime needs."""
    if runtime == "onnx":
        from balle2017.saved_model import onnx_writing

        return onnx_writing.export
    from balle2017.saved_model import writing

    if runtime == "tfc":
        import tensorflow_compression  # noqa: F401

    return functools.partial(writing.export, runtime=runtime)


def versions_of(source, target=None):
    """The versions to export, `RatePoint`s by ascending number.

    Args:
      source: Folder of a rate point, all of whose versions these are.
      target: Folder of an earlier export, if its decoders are to stay in front of them.

    Raises:
      FileNotFoundError, ValueError: If one of them cannot be read.
    """
    from balle2017.saved_model.reading import load_older_decoders, load_rate_point

    def load(folder):
        return [*load_older_decoders(folder), load_rate_point(folder)]

    versions = load(source)
    if target is not None and os.path.isdir(target):
        ours = {version.fingerprint() for version in versions}
        versions = [version for version in load(target) if version.fingerprint() not in ours] + versions
    for before, version in zip(versions, versions[1:]):
        version.version = max(version.version, before.version + 1)
    return versions


if __name__ == "__main__":
    ending.run(main, "balle2017.export")
