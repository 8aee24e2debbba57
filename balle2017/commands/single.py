"""One input and one output: what is checked before anything is done, the same for every command."""

import os
import sys

from balle2017.container import bitstream
from balle2017.files import streams
from balle2017.pictures.formats import is_named_as_picture


class UsageError(Exception):
    """What is asked for cannot be done so, and nothing was; the message is one sentence."""


def paths(given, default, bitstreams, many=True):
    """The paths of input and output, `-` for standard input and output.

    Args:
      given: The paths of a command line.
      default: Function of the input's path to the output's, if none is given.
      bitstreams: Whether the output is a `.tfci` file, and not a picture.
      many: Whether the command takes many inputs, with --out.

    Raises:
      UsageError: If they cannot be those of one conversion.
    """
    if len(given) > 2:
        raise UsageError("Several inputs need --out, the folder of the outputs.")
    # /dev/stdin and /dev/stdout are longer names of -.
    source, *target = ("-" if streams.descriptor(path) == number else path for number, path in enumerate(given))
    if os.path.isdir(source):
        raise UsageError("A folder needs --out, the folder of the outputs." if many else f"{source} is a folder.")
    without_name = source == "-" or streams.is_stream(source)
    target = target[0] if target else "-" if without_name else default(source)
    if target == "-":
        if sys.stdout is None:
            raise UsageError("There is no standard output.")
        if sys.stdout.isatty():
            raise UsageError("The output is no text and not for a terminal.")
    elif streams.descriptor(target) is None:
        _check_place(source, target, many)
    if bitstreams and is_named_as_picture(target):
        raise UsageError(f"{target} is named as a picture, and would be a .tfci file{_hint(many)}.")
    return source, target


def may_write(target, overwrite, bitstreams, many=True) -> bool:
    """Whether an output is to be written: it is not there, or may be replaced.

    Args:
      target: Path, or `-`.
      overwrite: Whether what is there is replaced.
      bitstreams, many: As of `paths`.

    Raises:
      UsageError: If what is there is no output of such a run, but perhaps another input.
    """
    if overwrite or target == "-" or streams.is_stream(target) or not is_there(target):
        return True
    if _is_bitstream(target) != bitstreams:
        kind = "no .tfci file" if bitstreams else "a .tfci file itself"
        raise UsageError(f"{target} exists and is {kind}; --overwrite replaces it{_hint(many, ', and')}.")
    return False


def is_there(target) -> bool:
    """Whether a path holds something that could be lost; an empty file does not."""
    return os.path.lexists(target) and not (os.path.isfile(target) and os.path.getsize(target) == 0)


def copy_times(source, target):
    """Gives a file the time of modification of another; nothing to or from what is no file."""
    if os.path.isfile(source) and os.path.isfile(target):
        times = os.stat(source)
        os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))


def skipped(target) -> str:
    """What is said where `may_write` is not true."""
    return f"Skipped, as {target} exists; --overwrite replaces it."


def _hint(many, joint=";"):
    return f"{joint} several inputs need --out" if many else ""


def _check_place(source, target, many):
    if os.path.isdir(target):
        raise UsageError(f"{target} is a folder{', which needs --out' if many else ''}.")
    if os.path.exists(target) and os.path.exists(source) and os.path.samefile(source, target):
        raise UsageError("Input and output are the same file.")
    folder = os.path.dirname(target)
    if not os.path.isdir(folder or "."):
        raise UsageError(f"There is no folder {folder}.")


def _is_bitstream(path):
    try:
        with open(path, "rb") as file:
            return file.read(4) == bitstream.MAGIC
    except OSError:
        return False
