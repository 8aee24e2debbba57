"""TensorFlow imported without what it prints of itself."""

import contextlib
import importlib
import os
import subprocess
import sys

# Today's TensorFlow prints them before it asks any variable.
_GREETINGS = r"WARNING: All log messages before absl::InitializeLog|[IW]\d{4} .*\] |.*port\.cc:\d+\] oneDNN"
# A process, as it passes on what a crash says, which a thread could not.
_FILTER = f"""
import re, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
for line in sys.stdin.buffer:
    if not re.match({_GREETINGS.encode()!r}, line):
        sys.stderr.buffer.write(line)
        sys.stderr.flush()
"""
# Seconds for its last lines, which it has unless another program holds the pipe.
_PATIENCE = 5


def import_tensorflow():
    """The package.

    Raises:
      ImportError: If it is not installed.
    """
    # 3 silences what TensorFlow says about GPUs that are not there; a crash still speaks.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "tensorflow" in sys.modules or _asks_the_variable():
        return importlib.import_module("tensorflow")
    with _without_greetings():
        return importlib.import_module("tensorflow")


def _asks_the_variable():
    # Here, as it imports all that Python knows of mail.
    from importlib import metadata

    try:
        return metadata.version("tensorflow").startswith("2.14.")
    except metadata.PackageNotFoundError:
        return False


@contextlib.contextmanager
def _without_greetings():
    """Passes all that is written to standard error through `_FILTER`, where there is a standard error."""
    try:
        # Closed, its number may be that of another file.
        before = os.dup(2) if sys.stderr is not None and sys.executable else None
    except OSError:
        before = None
    if before is None:
        yield
        return
    with os.fdopen(before, "wb", 0) as before:
        program = [sys.executable, "-I", "-S", "-c", _FILTER]
        process = subprocess.Popen(program, stdin=subprocess.PIPE, stderr=before, start_new_session=True)
        os.dup2(process.stdin.fileno(), 2)
        process.stdin.close()
        try:
            yield
        finally:
            os.dup2(before.fileno(), 2)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_PATIENCE)
