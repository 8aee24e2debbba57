"""What only some programs need, and is installed as an extra of the package."""

import contextlib
import sys


@contextlib.contextmanager
def needed(extra, program):
    """Ends the program with one sentence and status 2 if the block imports what is not installed.

    Args:
      extra: Name of the extra in `setup.cfg`.
      program: Name of the program that needs it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name.partition(".")[0] == "balle2017":
            raise
        if error.name == "tensorflow_compression" or error.name == "tensorflow" and extra == "train":
            print(
                f"{program} needs TensorFlow 2.14 and tensorflow-compression, which exist for Python 3.9 to 3.11 on"
                " Linux and macOS (x86_64).",
                file=sys.stderr,
            )
            sys.exit(2)
        print(f"{program} needs the package {error.name}: pip install 'balle2017[{extra}]'.", file=sys.stderr)
        sys.exit(2)
