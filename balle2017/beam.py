"""Folders of pictures on many machines: the commands' job as an Apache Beam pipeline.

    pip install 'balle2017[beam]'
    python -m balle2017.beam compress --model bls2017-mse-4 --input 'in/**.jpg' --output out
    python -m balle2017.beam decompress --input 'out/**.tfci' --output back --runner FlinkRunner ...

Flags that are not this module's are Beam's: `--runner` and those of the runner.
Without any it runs on this machine. Paths may be those of any file system that
Beam knows. Files that fail are listed in `OUTPUT/failures.tsv`, and the exit
status is 1 if there are any; what was lost of others (a profile, metadata) stands
in `OUTPUT/notices.tsv`. Outputs that exist are left as they are, unless
--overwrite is given.
"""

import argparse
import functools
import glob
import logging
import sys

from balle2017 import codec
from balle2017.commands import convert, ending, extras
from balle2017.pictures import images

complain = functools.partial(ending.complain, status=ending.USAGE, program="balle2017.beam")


def main(argv=None):
    """Runs the pipeline; returns the exit status."""
    args, beam_args = _parser().parse_known_args(argv)
    if (args.command == "compress") != bool(args.model):
        return complain("compress needs --model, and decompress finds it in the files.")
    if glob.has_magic(args.output):
        # Beam would look for what it has written, and delete, by a pattern.
        return complain(f"The folder {args.output} has one of *, ? and [ in its path, which Beam cannot write to.")
    with extras.needed("beam", "balle2017.beam"):
        from apache_beam.io.filesystem import BeamIOError

        from balle2017.commands import pipeline
    options = convert.Options(
        model=args.model,
        models_dir=args.models_dir,
        keep_metadata=args.keep_metadata,
        keep_gps=args.keep_gps,
        effort=args.effort,
        max_pixels=args.max_pixels,
        runtime=args.runtime,
    )
    if args.command == "compress":
        try:
            convert.candidates(options)
        except codec.ModelError as error:
            return complain(error)
    # What fails is listed in the output; Beam's own steps are of no interest.
    logging.getLogger().setLevel(logging.WARNING)
    try:
        number = pipeline.count(args.input)
        if not number:
            return complain(f"There are no files {args.input}.")
        print(f"balle2017.beam: {_files(number)} to {args.command}", file=sys.stderr)
        number, noticed = pipeline.run(args.command, options, args.input, args.output, args.overwrite, beam_args)
    except pipeline.RunnerError as error:
        return complain(error)
    except (BeamIOError, ValueError) as error:
        return complain(f"Files cannot be listed or written ({error}).")
    if noticed:
        notices = "notice" if noticed == 1 else "notices"
        complain(f"{noticed} {notices} of what was lost, see {pipeline.NOTICES} in {args.output}.", status=0)
    if number:
        return complain(f"{_files(number)} failed, see {pipeline.FAILURES} in {args.output}.", status=1)
    return 0


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m balle2017.beam",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=("compress", "decompress"))
    parser.add_argument("--model", help="such as bls2017-mse-4 (compress only)")
    parser.add_argument("--input", required=True, help="glob; ** also matches in folders of folders")
    parser.add_argument("--output", required=True, help="folder")
    parser.add_argument("--models_dir", help="folder of models, the same on all machines")
    parser.add_argument("--keep_metadata", action="store_true", help="as `balle2017 compress`")
    parser.add_argument("--keep_gps", action="store_true", help="as `balle2017 compress`")
    parser.add_argument(
        "--effort",
        type=int,
        choices=codec.EFFORTS,
        default=0,
        help="as `balle2017 compress`",
    )
    parser.add_argument("--runtime", choices=codec.RUNTIMES, default="auto", help="as `balle2017 compress`")
    parser.add_argument("--max_pixels", type=int, default=images.MAX_PIXELS, help="refuse larger pictures")
    parser.add_argument("--overwrite", action="store_true", help="replace outputs that exist")
    return parser


def _files(number):
    return f"{number} {'file' if number == 1 else 'files'}"


if __name__ == "__main__":
    ending.run(main, "balle2017.beam")
