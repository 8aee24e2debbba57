"""Timing things side by side: in turns, so that whatever else the machine does meets all of them."""

import os
import time

import numpy as np


def take_turns(tasks, rounds, progress, warm_up=2):
    """Runs all tasks once in each round.

    Args:
      tasks: Functions without arguments by name.
      rounds: Number of rounds that count.
      progress: A `tqdm` bar, moved on by one for each call.
      warm_up: Rounds before, in which TensorFlow traces, folds constants and picks kernels.

    Returns:
      Seconds of each call, lists by name.
    """
    seconds = {name: [] for name in tasks}
    for turn in range(warm_up + rounds):
        for name, task in tasks.items():
            progress.set_postfix_str(name)
            start = time.perf_counter()
            task()
            if turn >= warm_up:
                seconds[name].append(time.perf_counter() - start)
            progress.update()
    return seconds


def quartiles(seconds):
    """Lower quartile, median, upper quartile."""
    return np.percentile(seconds, [25, 50, 75])


class BackgroundLoad:
    """How many processor cores others kept busy between `__init__` and `cores`, as Linux counts."""

    def __init__(self):
        self._start = self._read()

    def cores(self):
        """Mean number of cores, or `None` where there is no /proc/stat."""
        if self._start is None:
            return None
        (busy, own, now), (busy_0, own_0, then) = self._read(), self._start
        return max(0.0, (busy - busy_0 - (own - own_0)) / (now - then))

    def _read(self):
        try:
            with open("/proc/stat") as file:
                ticks = [int(field) for field in file.readline().split()[1:9]]
        except OSError:
            return None
        # user, nice, system, (idle, waiting,) interrupts, and what other machines took from this one.
        busy = (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")
        return busy, sum(os.times()[:4]), time.monotonic()
