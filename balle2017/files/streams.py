"""Paths of what is no regular file: pipes, terminals, devices and the shell's `<(…)` and `>(…)`.

Such a path is opened once, and read or written from its beginning to its end.
"""

import os
import stat
import sys

_STANDARD = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_FOLDERS = ("/dev/fd/", "/proc/self/fd/")


def descriptor(path):
    """The number of the open file that a path such as /dev/stdin or /dev/fd/63 names, or `None`."""
    path = os.fspath(path)
    if path in _STANDARD:
        return _STANDARD[path]
    for folder in _FOLDERS:
        if path.startswith(folder) and path[len(folder) :].isdecimal():
            return int(path[len(folder) :])
    return None


def is_stream(path):
    """Whether a path is to be read once and written straight: it exists, and is neither file nor folder."""
    if descriptor(path) is not None:
        return True
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def read(path):
    """The bytes of a file or stream.

    Raises:
      OSError: If it cannot be read.
    """
    with _open(path, "rb") as file:
        return file.read()


def read_standard_input():
    """The bytes of standard input.

    Raises:
      OSError: If it cannot be read, or was closed before.
    """
    if sys.stdin is None:
        raise OSError("There is no standard input")
    return sys.stdin.buffer.read()


def drop_standard_output():
    """Lets what standard output still holds go nowhere, so that it does not fail again when the program ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def open_for_writing(path):
    """A stream as a binary file object.

    Raises:
      OSError: If it cannot be opened.
    """
    return _open(path, "wb")


def _open(path, mode):
    number = descriptor(path)
    # A copy goes on where the shell's file stands, which opening it by its path would not.
    return open(path if number is None else os.dup(number), mode)
