"""The conversion of many files as an Apache Beam pipeline."""

import io
import posixpath
import shutil

import apache_beam as beam
from apache_beam.io import fileio
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from balle2017.codec import ModelError
from balle2017.commands import convert, names
from balle2017.container.bitstream import BitstreamError
from balle2017.pictures import images
from balle2017.pictures.images import ImageError

FAILURES = "failures.tsv"


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
      output: Folder of the outputs, and of `FAILURES`, which lists the inputs that failed.
      overwrite: Whether outputs that exist are made anew.
      beam_args: Flags of Beam.

    Returns:
      How many files failed.

    Raises:
      apache_beam.io.filesystem.BeamIOError: If files cannot be listed or written.
    """
    pipeline = beam.Pipeline(options=PipelineOptions(beam_args, save_main_session=False))
    failures = (
        pipeline
        | fileio.MatchFiles(pattern)
        | beam.Reshuffle()
        | fileio.ReadMatches()
        | beam.ParDo(Convert(command, options, pattern, output, overwrite))
    )
    name, suffix = posixpath.splitext(FAILURES)
    failures | beam.io.WriteToText(posixpath.join(output, name), suffix, shard_name_template="")
    pipeline.run().wait_until_finish()
    with FileSystems.open(posixpath.join(output, FAILURES)) as file:
        return len(file.read().splitlines())


class Convert(beam.DoFn):
    """Converts one file; yields `input<tab>sentence` if that fails.

    Each worker process loads a model once, when the first file needs it.
    """

    def __init__(self, command, options, pattern, output, overwrite):
        self.command = command
        self.overwrite = overwrite
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
            return
        try:
            data = file.read()
            if self.command == "compress":
                result = convert.compress(io.BytesIO(data), self.options)
            else:
                result = convert.decompress(data, self.options)
        except (BitstreamError, ImageError, ModelError, MemoryError) as error:
            yield f"{path}\t{error}"
            return
        self._write(target, result.file)

    def _target(self, path):
        name = path[len(self.root) :].lstrip("/") if path.startswith(self.root) else path
        # No worker knows whether another file would have the shorter name of a picture.
        rename = names.compressed if self.command == "compress" else names.decompressed
        return posixpath.join(self.output, rename(name, whole=True))

    def _write(self, target, file):
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
