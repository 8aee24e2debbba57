"""Many files: which there are, what their outputs are called, and a run over all of them."""

import collections
import concurrent.futures
import dataclasses
import glob
import os

from balle2017.commands import single
from balle2017.commands.progress import Progress
from balle2017.commands.sizes import size
from balle2017.files import streams, writing
from balle2017.pictures import formats


class OutputExists(Exception):
    """The output is there already, and is not to be overwritten."""


@dataclasses.dataclass
class Summary:
    """What became of a run.

    Attributes:
      done, skipped: Numbers of files.
      failures: `(input, sentence)` of each file that failed.
      notices: `(input, sentence)`.
      damaged: Whether a result lacks parts.
      bytes_in, bytes_out: Sizes of all files done.
    """

    done: int = 0
    skipped: int = 0
    failures: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    notices: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    damaged: bool = False
    bytes_in: int = 0
    bytes_out: int = 0


@dataclasses.dataclass
class Found:
    """What folders, globs and paths stand for.

    Attributes:
      files: `(input, output)` of each, without duplicates, in order.
      left_out: How many of each kind are left out; a kind is an extension, or says in words what it is.
      errors: Of folders that cannot be read.
    """

    files: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    left_out: dict[str, int] = dataclasses.field(default_factory=collections.Counter)
    errors: list[OSError] = dataclasses.field(default_factory=list)


def find(patterns, extensions, out, name) -> Found:
    """Lists the files that folders, globs and paths stand for.

    In folders, at any depth, these are files with one of the extensions;
    hidden files and the folder `out` are left out. A folder's structure is
    repeated in `out`.

    Args:
      patterns: Paths of files or folders, or globs.
      extensions: Lower-case extensions with their dots.
      out: Folder of the outputs.
      name: Function of an input's path in its folder to that of its output in `out`, and with
        `whole=True` to a longer one, which those get of which several would have the same.
    """
    found, known, places = Found(), set(), []

    def add(path, place):
        # One file may be named in several ways, but be done once.
        folder, base = os.path.split(path)
        key = os.path.join(os.path.realpath(folder), base)
        if key not in known:
            known.add(key)
            places.append((path, place))

    for pattern in patterns:
        # A file may have brackets in its name, which a glob would not find.
        matches = [pattern]
        if not os.path.lexists(pattern) and glob.has_magic(pattern):
            matches = sorted(glob.glob(pattern, recursive=True)) or [pattern]
        for match in matches:
            if not os.path.isdir(match):
                add(match, os.path.basename(match))
                continue
            for path in _walk(match, extensions, os.path.realpath(out), found):
                add(path, os.path.relpath(path, match))
    counts = collections.Counter(os.path.normcase(name(place)) for _, place in places)
    for path, place in places:
        output = name(place, whole=counts[os.path.normcase(name(place))] > 1)
        found.files.append((path, os.path.join(out, output)))
    return found


def _walk(folder, extensions, out, found):
    for parent, folders, names in os.walk(folder, onerror=found.errors.append):
        shown = [f for f in sorted(folders) if not f.startswith(".")]
        links = [f for f in shown if os.path.islink(os.path.join(parent, f))]
        if links:
            found.left_out["links to folders"] += len(links)
        folders[:] = [f for f in shown if os.path.realpath(os.path.join(parent, f)) != out]
        for name in sorted(names):
            path, extension = os.path.join(parent, name), os.path.splitext(name)[1].lower()
            if name.startswith("."):
                continue
            if extension not in extensions:
                found.left_out[formats.kind_of(name)] += 1
            elif streams.is_stream(path):
                found.left_out["pipes and devices"] += 1
            else:
                yield path


def run(files, convert, explain, args) -> Summary:
    """Converts files in threads: while one picture is transformed, others are read and written.

    One bad file is noted and does not end the run.

    Args:
      files: `(input, output)` paths.
      convert: Function `(input, output)` to a `convert.Result`.
      explain: Function of an exception to a sentence, or `None` if it is a bug.
      args: With `jobs` (number of threads), `overwrite` (whether to convert again what has an
        output already), `keep_times` (whether outputs get the times of their inputs), and `command`.

    Returns:
      A `Summary`.
    """
    summary = Summary()
    taken = {}
    for source, target in files:
        taken.setdefault(os.path.normcase(target), source)

    def work(source, target):
        if taken[os.path.normcase(target)] != source:
            raise FileExistsError(f"Its output would be that of {taken[os.path.normcase(target)]}.")
        if single.is_there(target) and not args.overwrite:
            raise OutputExists
        before = os.path.getsize(source)
        result = convert(source, target)
        writing.make_folder(os.path.dirname(target) or ".")
        writing.write(target, result.file)
        if args.keep_times:
            single.copy_times(source, target)
        return before, result.size, result.notices, result.damaged

    pool = concurrent.futures.ThreadPoolExecutor(args.jobs)
    with Progress(unit=" images", smoothing=0.05) as progress:
        progress.begin(len(files), args.command)
        futures = {pool.submit(work, *file): file[0] for file in files}
        try:
            for future in concurrent.futures.as_completed(futures):
                _account(summary, futures[future], future, explain)
                saved = summary.bytes_in - summary.bytes_out
                progress.update(1, f"{size(saved)} saved" if saved > 0 else "")
        finally:
            # After an interruption without waiting for what runs.
            pool.shutdown(wait=False, cancel_futures=True)
    order = {source: index for index, (source, _) in enumerate(files)}
    summary.failures.sort(key=lambda item: order[item[0]])
    summary.notices.sort(key=lambda item: order[item[0]])
    return summary


def _account(summary, source, future, explain):
    try:
        before, after, notices, damaged = future.result()
    except OutputExists:
        summary.skipped += 1
    except Exception as error:
        # What nobody has thought of must not end a run of hours either.
        unexpected = f"Unexpectedly, {type(error).__name__}: {error}."
        summary.failures.append((source, explain(error) or unexpected))
    else:
        summary.done += 1
        summary.bytes_in += before
        summary.bytes_out += after
        summary.notices += [(source, notice) for notice in notices]
        summary.damaged |= damaged
