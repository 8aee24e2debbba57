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
        print(f"{program} needs the package {error.name}: pip install 'balle2017[{extra}]'.", file=sys.stderr)
        sys.exit(2)
