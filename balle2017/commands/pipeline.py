"""The conversion of many files as an Apache Beam pipeline."""

import argparse
import hashlib
import io
import posixpath
import shutil
import uuid

import apache_beam as beam
from apache_beam.io import fileio
from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from balle2017.codec import ModelError
from balle2017.commands import convert, names
from balle2017.commands.subcommands import explain
from balle2017.container.bitstream import BitstreamError
from balle2017.pictures import images
from balle2017.pictures.images import ImageError

FAILURES = "failures.tsv"
NOTICES = "notices.tsv"
# Files that a Dask worker converts as one task.
_DASK_PARTITION = 8


class RunnerError(ValueError):
    """There is no such runner, or what it needs is not installed; the message is Beam's."""


def count(pattern):
    """How many files a glob matches.

    Raises:
      apache_beam.io.filesystem.BeamIOError, ValueError: If that cannot be known.
    """
    return sum(len(result.metadata_list) for result in FileSystems.match([pattern]))


def run(command, options, pattern, output, overwrite, beam_args):
    """Converts all files that a glob matches.

    Args:
      command: "compress" or "decompress".
      options: `convert.Options`.
      pattern: Glob of the inputs.
      output: Folder of the outputs, of `FAILURES`, which lists the inputs that failed, and of `NOTICES`, which says
        what the outputs of others lack.
      overwrite: Whether outputs that exist are made anew.
      beam_args: Flags of Beam.

    Returns:
      How many files failed, and how many notices there are.

    Raises:
      RunnerError: If Beam has no such runner here.
      apache_beam.io.filesystem.BeamIOError: If files cannot be listed or written.
    """
    pipeline = _make_pipeline(beam_args)
    run_name = uuid.uuid4().hex[:8]
    found = pipeline | _matches(pattern, pipeline) | beam.Reshuffle() | fileio.ReadMatches()
    found | beam.ParDo(Convert(command, options, pattern, output, overwrite, run_name))
    try:
        pipeline.run().wait_until_finish()
        return tuple(
            _collect(output, kind(run_name), name) for kind, name in ((_failed, FAILURES), (_noticed, NOTICES))
        )
    finally:
        # What workers have left that did not end by themselves.
        _delete(_list(posixpath.join(output, f"**{_part(run_name)}*")))


def _make_pipeline(beam_args):
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--runner")
    found, others = parser.parse_known_args(beam_args)
    try:
        if found.runner == "DaskRunner":
            # Beam does not know it by this name, and it takes no option that is not its own.
            from apache_beam.runners.dask.dask_runner import DaskRunner

            return beam.Pipeline(DaskRunner(), PipelineOptions(others))
        return beam.Pipeline(options=PipelineOptions(beam_args, save_main_session=False))
    except (ValueError, ImportError) as error:
        raise RunnerError(str(error)) from None


def _matches(pattern, pipeline):
    """The transform that lists the files."""
    if type(pipeline.runner).__name__ != "DaskRunner":
        return fileio.MatchFiles(pattern)
    # This runner ignores Reshuffle, so all that the pattern stands for would stay with one worker.
    # What a pipeline begins with it does divide, though less finely than pictures need.
    from apache_beam.runners.dask.dask_runner import DaskOptions

    options = pipeline.options.view_as(DaskOptions)
    if not (options.npartitions or options.partition_size):
        options.partition_size = _DASK_PARTITION
    return beam.Create(FileSystems.match([pattern])[0].metadata_list)


def _collect(output, prefix, name):
    """Makes one file of those that `Convert` wrote with a prefix; returns the number of its lines.

    Beam's own way to write one file has a side input, for which Dask's runner does all work twice.
    """
    paths, texts = _list(posixpath.join(output, f"{prefix}*")), []
    for path in paths:
        with FileSystems.open(path) as file:
            texts.append(file.read())
    _make_folder(output)
    with FileSystems.create(posixpath.join(output, name), "text/plain") as file:
        file.write(b"".join(sorted(texts)))
    _delete(paths)
    return sum(text.count(b"\n") for text in texts)


def _list(pattern):
    return [found.path for found in FileSystems.match([pattern])[0].metadata_list]


def _delete(paths):
    if paths:
        FileSystems.delete(paths)


def _part(run_name):
    """How the names of unfinished outputs begin."""
    return f".part-{run_name}-"


def _failed(run_name):
    """How the names of files begin that hold the failure of one input."""
    return f".failed-{run_name}-"


def _noticed(run_name):
    """The same for what an output lacks."""
    return f".noticed-{run_name}-"


class Convert(beam.DoFn):
    """Converts one file; one beside it says `input<tab>sentence` where that fails, or where something is lost.

    Each worker process loads a model once, when the first file needs it. A bundle may be worked on more
    than once, by workers that know nothing of each other: all that is written is the same each time.
    """

    def __init__(self, command, options, pattern, output, overwrite, run_name):
        self.command = command
        self.overwrite = overwrite
        self.run_name = run_name
        self.options = options
        # What the glob leaves open is repeated in the output.
        self.root = posixpath.dirname(pattern.split("*")[0].split("?")[0].split("[")[0])
        self.output = output

    def setup(self):
        images.set_limit(self.options.max_pixels)

    def process(self, file):
        path = file.metadata.path
        target = self._target(path)
        # Also of a bundle that is tried again.
        if not self.overwrite and FileSystems.exists(target):
            return ()
        try:
            data = file.read()
            if self.command == "compress":
                result = convert.compress(io.BytesIO(data), self.options)
            else:
                result = convert.decompress(data, self.options)
        except (BitstreamError, ImageError, ModelError, MemoryError) as error:
            self._say(_failed, path, [explain(error)])
        else:
            # First, as with its output there a file is not looked at again.
            if result.notices:
                self._say(_noticed, path, result.notices)
            _write(target, result.file, self.run_name)
        return ()

    def _say(self, kind, path, sentences):
        # Paths are bytes to the system, of which none may end a column or a line.
        shown = path.replace("\t", "\\t").replace("\n", "\\n").encode(errors="surrogateescape")
        lines = b"".join(b"%s\t%s\n" % (shown, sentence.encode()) for sentence in sentences)
        name = kind(self.run_name) + hashlib.sha256(path.encode(errors="surrogateescape")).hexdigest()
        _write(posixpath.join(self.output, name), io.BytesIO(lines), self.run_name)

    def _target(self, path):
        name = path[len(self.root) :].lstrip("/") if path.startswith(self.root) else path
        # No worker knows whether another file would have the shorter name of a picture.
        rename = names.compressed if self.command == "compress" else names.decompressed
        return posixpath.join(self.output, rename(name, whole=True))


def _write(target, file, run_name):
    """Writes a file, whole or not at all."""
    folder = posixpath.dirname(target)
    _make_folder(folder)
    # Under a name of its own until it is whole, as another worker may be trying the same.
    temporary = posixpath.join(folder, f"{_part(run_name)}{uuid.uuid4().hex}")
    with FileSystems.create(temporary, "application/octet-stream") as out:
        shutil.copyfileobj(file, out)
    try:
        FileSystems.rename([temporary], [target])
    except BeamIOError:
        # Not all file systems replace a file that is there.
        FileSystems.delete([target])
        FileSystems.rename([temporary], [target])


def _make_folder(path):
    try:
        FileSystems.mkdirs(path)
    except OSError:
        # It exists, as another worker may have made it just now.
        pass
