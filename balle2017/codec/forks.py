"""What does not survive a fork: a child process has none of its parent's threads, and would wait for them for ever."""

import functools
import os
import weakref

_renewed = weakref.WeakSet()
# Waiting for its threads is also what something does that is freed.
_kept = []


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
                "TensorFlow was used before this process was forked, and would hang in it: start processes by"
                ' multiprocessing.get_context("spawn"), or fork them before the first picture.'
            )
        return function()

    return guarded


def renew_in_children(owner):
    """Has `owner.renew()` called in every child process that is forked, and keeps what it returns for ever."""
    _renewed.add(owner)


def _renew():
    _kept.extend([owner.renew() for owner in _renewed])


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
