"""Many files: which there are, what their outputs are called, and a run over all of them."""

import concurrent.futures
import dataclasses
import glob
import os
import shutil
import stat
import tempfile
import threading
from typing import List, Optional, Tuple

from PIL import Image
from tqdm import tqdm

# Held while a file is written, so that a program that ends elsewhere leaves no half file.
write_lock = threading.Lock()


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
    failures: List[Tuple[str, str]] = dataclasses.field(default_factory=list)
    notices: List[Tuple[str, str]] = dataclasses.field(default_factory=list)
    damaged: bool = False
    bytes_in: int = 0
    bytes_out: int = 0


def picture_extensions():
    """Extensions of picture files, lower case, as far as Pillow reads them."""
    return {e for e, name in Image.registered_extensions().items() if name in Image.OPEN}


def find(patterns, extensions, out, suffix):
    """Lists the files that folders, globs and paths stand for.

    In folders, at any depth, these are files with one of the extensions;
    hidden files and the folder `out` are left out. A folder's structure is
    repeated in `out`.

    Args:
      patterns: Paths of files or folders, or globs.
      extensions: Lower-case extensions with their dots.
      out: Folder of the outputs.
      suffix: Appended to an input's name to get its output's.

    Returns:
      `(input, output)` of each, without duplicates, in order.
    """
    found = {}
    for pattern in patterns:
        # A file may have brackets in its name, which a glob would not find.
        matches = [pattern]
        if not os.path.lexists(pattern) and glob.has_magic(pattern):
            matches = sorted(glob.glob(pattern, recursive=True)) or [pattern]
        for match in matches:
            if not os.path.isdir(match):
                found.setdefault(match, os.path.join(out, os.path.basename(match) + suffix))
                continue
            for path in _walk(match, extensions, os.path.realpath(out)):
                relative = os.path.relpath(path, match)
                found.setdefault(path, os.path.join(out, relative + suffix))
    return list(found.items())


def _walk(folder, extensions, out):
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(
            f
            for f in folders
            if not f.startswith(".") and os.path.realpath(os.path.join(parent, f)) != out
        )
        for name in sorted(names):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in extensions:
                yield os.path.join(parent, name)


def run(files, convert, jobs, overwrite, explain, verb) -> Summary:
    """Converts files in threads: while one picture is transformed, others are read and written.

    One bad file is noted and does not end the run.

    Args:
      files: `(input, output)` paths.
      convert: Function `(input, output)` to a `convert.Result`.
      jobs: Number of threads.
      overwrite: Whether to convert again what has an output already.
      explain: Function of an exception to a sentence, or `None` if it is a bug.
      verb: For the progress bar.

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
        if os.path.lexists(target) and not overwrite:
            raise OutputExists
        size = os.path.getsize(source)
        result = convert(source, target)
        os.makedirs(os.path.dirname(target) or ".", exist_ok=True)
        write(target, result.file)
        return size, result.size, result.notices, result.damaged

    progress = tqdm(total=len(files), unit=" images", desc=verb, disable=None, smoothing=0.05)
    pool = concurrent.futures.ThreadPoolExecutor(jobs)
    with progress:
        futures = {pool.submit(work, *file): file[0] for file in files}
        try:
            for future in concurrent.futures.as_completed(futures):
                _account(summary, futures[future], future, explain)
                saved = (summary.bytes_in - summary.bytes_out) / 1e6
                progress.set_postfix_str(f"{saved:.1f} MB saved" if saved > 0 else "", False)
                progress.update()
        finally:
            # After an interruption without waiting for what runs.
            pool.shutdown(wait=False, cancel_futures=True)
    order = {source: index for index, (source, _) in enumerate(files)}
    summary.failures.sort(key=lambda item: order[item[0]])
    summary.notices.sort(key=lambda item: order[item[0]])
    return summary


def _account(summary, source, future, explain):
    try:
        size, new_size, notices, damaged = future.result()
    except OutputExists:
        summary.skipped += 1
    except Exception as error:
        # What nobody has thought of must not end a run of hours either.
        unexpected = f"Unexpectedly, {type(error).__name__}: {error}."
        summary.failures.append((source, explain(error) or unexpected))
    else:
        summary.done += 1
        summary.bytes_in += size
        summary.bytes_out += new_size
        summary.notices += [(source, notice) for notice in notices]
        summary.damaged |= damaged


def write(path, source):
    """Writes the rest of a binary file object to a file, whole or not at all."""
    path = os.path.realpath(path)
    if os.path.exists(path) and not stat.S_ISREG(os.stat(path).st_mode):
        # Such as /dev/null, which is not to be replaced.
        with open(path, "wb") as file:
            shutil.copyfileobj(source, file)
        return
    with write_lock:
        temporary: Optional[str] = None
        try:
            handle, temporary = tempfile.mkstemp(prefix=".balle2017-", dir=os.path.dirname(path))
            with os.fdopen(handle, "wb") as file:
                shutil.copyfileobj(source, file)
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, path)
            temporary = None
        finally:
            if temporary is not None:
                os.unlink(temporary)


def _umask():
    """The process's umask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
