"""Files written in one step: what is at a path is the old file or the new one, and never half of it.

A new file has the mode that the process gives to its files, from its first byte on. A file that is
replaced hands on its mode, its owner and its group. Where the group cannot be kept, its rights are nobody's.
"""

import contextlib
import errno
import os
import secrets
import shutil
import stat
import sys
import threading

from balle2017.files import streams

# Held while a file is written, so that a program that ends elsewhere leaves no half file.
lock = threading.Lock()


class OutputError(OSError):
    """A file cannot be written; `filename` is its path, and `strerror` says why."""

    def __str__(self):
        return f"{self.filename}: {self.strerror}."


def write(path, source):
    """Writes the rest of a binary file object to a path, in one step; straight to what is no regular file.

    Raises:
      OutputError: If that fails, or what is there is write-protected.
    """
    if streams.is_stream(path):
        with _errors_of(path), streams.open_for_writing(path) as file:
            shutil.copyfileobj(source, file)
        return
    with lock, replacing(path) as file:
        shutil.copyfileobj(source, file)


def write_standard_output(source):
    """Writes the rest of a binary file object to standard output.

    Raises:
      BrokenPipeError: If nobody reads it any more.
      OutputError: If it fails otherwise.
    """
    try:
        shutil.copyfileobj(source, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    except OSError as error:
        streams.drop_standard_output()
        if isinstance(error, BrokenPipeError):
            raise
        raise OutputError(error.errno, error.strerror, "standard output") from None


def write_text(path, text):
    """Writes a text file in UTF-8, in one step; otherwise as `write`."""
    with replacing(path) as file:
        file.write(text.encode())


@contextlib.contextmanager
def replacing(path):
    """A new binary file that takes the place of `path` when the block ends, if it ends well.

    Raises:
      OutputError: As `write`.
    """
    with _errors_of(path):
        target = os.path.realpath(path)
        before = os.stat(target) if os.path.exists(target) else None
        # Replacing asks the folder only. Who may write everything is asked by the mode.
        if before and not (stat.S_IMODE(before.st_mode) & 0o222 and os.access(target, os.W_OK)):
            raise OSError(errno.EACCES, "It is write-protected")
        temporary = os.path.join(os.path.dirname(target), f".balle2017-{secrets.token_hex(8)}")
        try:
            with _create(temporary, before) as file:
                yield file
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise


def make_folder(path):
    """Makes a folder for outputs, and those above it, if it is not there.

    Raises:
      OutputError: If that fails.
    """
    with _errors_of(path):
        try:
            os.makedirs(path, exist_ok=True)
        except FileExistsError as error:
            raise OutputError(error.errno, "It is a file and no folder", os.fspath(path)) from None


@contextlib.contextmanager
def folder(path):
    """`make_folder`; those that were made, and that nothing was put into, go away when the block ends.

    Raises:
      OutputError: If the folder cannot be made.
    """
    missing, parent = [], os.path.abspath(path)
    while not os.path.lexists(parent):
        missing.append(parent)
        parent = os.path.dirname(parent)
    try:
        make_folder(path)
        yield
    finally:
        for made in missing:
            with contextlib.suppress(OSError):
                os.rmdir(made)


def check_folder(path):
    """Checks that a folder can be made and written to, and leaves everything as it was.

    Raises:
      OutputError: If not.
    """
    # Another process that checks it, too, may take away what both have made.
    with folder(path), _errors_of(path), contextlib.suppress(FileNotFoundError):
        os.rmdir(new_folder(path))


def new_folder(parent):
    """Makes a folder with a name of its own, to be renamed when it is complete; returns its path."""
    path = os.path.join(parent, f".balle2017-{secrets.token_hex(8)}")
    os.mkdir(path)
    return path


def _create(path, before):
    """Opens a new file for writing, with the mode of one before it; never, not even at first, with more."""
    mode = 0o666 if before is None else stat.S_IMODE(before.st_mode) & 0o600
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    file = os.fdopen(os.open(path, flags, mode), "wb")
    if before and hasattr(os, "fchown"):
        # As far as the process may: a user can give files to groups only.
        for owner in (before.st_uid, -1):
            with contextlib.suppress(OSError):
                os.fchown(file.fileno(), owner, before.st_gid)
                break
        # Not all file systems have modes.
        with contextlib.suppress(OSError):
            os.fchmod(file.fileno(), _handed_on(before, os.fstat(file.fileno())))
    return file


def _handed_on(before, after):
    """The mode of a file that takes the place of another, for its owner and group: nobody gains a right."""
    mode = stat.S_IMODE(before.st_mode)
    if after.st_uid != before.st_uid:
        mode &= ~stat.S_ISUID
    if after.st_gid != before.st_gid:
        # Who was of the old group is now one of all others, and could have been kept out by it.
        mode &= ~(stat.S_ISGID | stat.S_IRWXG | (~mode & stat.S_IRWXG) >> 3)
    return mode


@contextlib.contextmanager
def _errors_of(path):
    """Makes errors of the system name the output."""
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        if error.errno is None:
            raise
        raise OutputError(error.errno, error.strerror, os.fspath(path)) from None
