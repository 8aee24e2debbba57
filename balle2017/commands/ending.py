"""How programs end: their statuses, sentences on standard error, and Ctrl-C."""

import gc
import os
import signal
import sys

from balle2017.files import writing

DONE, FAILED, USAGE, INCOMPLETE, INTERRUPTED = 0, 1, 2, 3, 130


def complain(sentence, status, path=None, program="balle2017"):
    """Prints a sentence on standard error, and returns the status."""
    where = f"{path}: " if path else ""
    print(f"{program}: {where}{sentence}", file=sys.stderr)
    return status


def run(main, program="balle2017"):
    """Ends the process with the status that `main` returns, or with 130 where the user ends it before."""
    try:
        # Ended by another program is like ended by the user.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        status = main()
        # The system takes back the memory as a whole: to look through it for what is not needed takes a while. What
        # refers to itself is never finalized then, which no file waits for.
        gc.freeze()
        sys.exit(status)
    except (KeyboardInterrupt, ImportError) as error:
        if not _is_interruption(error):
            raise
        complain("interrupted", INTERRUPTED, program=program)
        sys.stderr.flush()
        # Threads may still be at work: without waiting for them, but for a file being written.
        with writing.lock:
            os._exit(INTERRUPTED)


def _is_interruption(error):
    """Whether the user is the cause: of an extension that is interrupted while it begins the import fails."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None
