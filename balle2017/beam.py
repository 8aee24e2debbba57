"""Folders of pictures on many machines: the commands' job as an Apache Beam pipeline.

    pip install balle2017[beam]
    python -m balle2017.beam compress --model bls2017-mse-4 --input 'in/**.jpg' --output out
    python -m balle2017.beam decompress --input 'out/**.tfci' --output back --runner FlinkRunner ...

Flags that are not this module's are Beam's: `--runner` and those of the runner.
Without any it runs on this machine. Paths may be those of any file system that
Beam knows. Files that fail are listed in `OUTPUT/failures.tsv`, and the exit
status is 1 if there are any.
"""

import argparse
import io
import logging
import posixpath
import shutil
import sys

import apache_beam as beam
from apache_beam.io import fileio
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from balle2017 import convert, images
from balle2017.bitstream import BitstreamError
from balle2017.codec import MAX_EFFORT, ModelError
from balle2017.images import ImageError

_SUFFIXES = {"compress": ".tfci", "decompress": ".png"}
_FAILURES = "failures"


def main(argv=None):
    """Runs the pipeline; returns the exit status."""
    args, beam_args = _parser().parse_known_args(argv)
    if (args.command == "compress") != bool(args.model):
        return _complain("compress needs --model, and decompress finds it in the files.")
    options = convert.Options(
        model=args.model,
        models_dir=args.models_dir,
        keep_metadata=args.keep_metadata,
        keep_gps=args.keep_gps,
        effort=args.effort,
        max_pixels=args.max_pixels,
    )
    if args.command == "compress":
        try:
            convert.candidates(options)
        except ModelError as error:
            return _complain(error)
    # What fails is listed in the output; Beam's own steps are of no interest.
    logging.getLogger().setLevel(logging.WARNING)
    pipeline = beam.Pipeline(options=PipelineOptions(beam_args, save_main_session=False))
    failures = (
        pipeline
        | fileio.MatchFiles(args.input)
        | beam.Reshuffle()
        | fileio.ReadMatches()
        | beam.ParDo(Convert(args.command, options, args.input, args.output))
    )
    failures | beam.io.WriteToText(
        posixpath.join(args.output, _FAILURES), ".tsv", shard_name_template=""
    )
    try:
        result = pipeline.run()
        result.wait_until_finish()
    except beam.io.filesystem.BeamIOError as error:
        return _complain(f"Files cannot be listed or written ({error}).")
    with FileSystems.open(posixpath.join(args.output, _FAILURES + ".tsv")) as file:
        number = len(file.read().splitlines())
    if number:
        return _complain(f"{number} files failed, see {_FAILURES}.tsv in {args.output}.", 1)
    return 0


class Convert(beam.DoFn):
    """Converts one file; yields `input<tab>sentence` if that fails.

    Each worker process loads a model once, when the first file needs it.
    """

    def __init__(self, command, options, pattern, output):
        self.command = command
        self.options = options
        # What the glob leaves open is repeated in the output.
        self.root = posixpath.dirname(pattern.split("*")[0].split("?")[0].split("[")[0])
        self.output = output

    def setup(self):
        images.set_limit(self.options.max_pixels)

    def process(self, file):
        path = file.metadata.path
        try:
            data = file.read()
            if self.command == "compress":
                result = convert.compress(io.BytesIO(data), self.options)
            else:
                result = convert.decompress(data, self.options)
        except (BitstreamError, ImageError, ModelError, MemoryError) as error:
            yield f"{path}\t{error}"
            return
        self._write(path, result.file)

    def _write(self, path, file):
        name = path[len(self.root) :].lstrip("/") if path.startswith(self.root) else path
        target = posixpath.join(self.output, name) + _SUFFIXES[self.command]
        folder, base = posixpath.split(target)
        _make_folder(folder)
        # Under a name of its own until it is whole; a bundle that is tried again replaces it.
        temporary = posixpath.join(folder, ".part-" + base)
        with FileSystems.create(temporary, "application/octet-stream") as out:
            shutil.copyfileobj(file, out)
        if FileSystems.exists(target):
            FileSystems.delete([target])
        FileSystems.rename([temporary], [target])


def _make_folder(path):
    try:
        FileSystems.mkdirs(path)
    except OSError:
        # It exists, as another worker may have made it just now.
        pass


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m balle2017.beam",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=sorted(_SUFFIXES))
    parser.add_argument("--model", help="such as bls2017-mse-4 (compress only)")
    parser.add_argument(
        "--input", required=True, help="glob; ** also matches in folders of folders"
    )
    parser.add_argument("--output", required=True, help="folder")
    parser.add_argument("--models_dir", help="folder of models, the same on all machines")
    parser.add_argument("--keep_metadata", action="store_true", help="as `balle2017 compress`")
    parser.add_argument("--keep_gps", action="store_true", help="as `balle2017 compress`")
    parser.add_argument(
        "--effort",
        type=int,
        choices=range(MAX_EFFORT + 1),
        default=0,
        help="as `balle2017 compress`",
    )
    parser.add_argument(
        "--max_pixels", type=int, default=images.MAX_PIXELS, help="refuse larger pictures"
    )
    return parser


def _complain(sentence, status=2):
    print(f"balle2017.beam: {sentence}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
