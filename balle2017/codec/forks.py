"""What does not survive a fork: a child process has none of its parent's threads, and would wait for them for ever."""

import functools
import os


class ForkError(RuntimeError):
    """Something with threads was used before this process was forked; the message says what to do."""


def not_after_fork(function):
    """Decorates a function without arguments that may be called in one process, but not in children forked from it.

    Raises, when called in such a child:
      ForkError: In place of hanging.
    """
    first = None

    @functools.wraps(function)
    def guarded():
        nonlocal first
        first = first or os.getpid()
        if os.getpid() != first:
            raise ForkError(
                "The codec was used before this process was forked, and would hang in it: start processes by"
                ' multiprocessing.get_context("spawn"), or fork them before the first picture.'
            )
        return function()

    return guarded
