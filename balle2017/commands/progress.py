"""Progress on standard error: nothing for two seconds, then a bar that moves.

`TQDM_DISABLE=1` in the environment silences it.
"""

import sys

# Seconds that may pass in silence, and between two reports where no terminal is.
DELAY, INTERVAL = 2, 2


class Progress:
    """A bar that appears when its work has taken a while; a context manager.

    Args:
      **options: Of `tqdm`.
    """

    def __init__(self, **options):
        self._options = options
        self._bar = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._bar is not None:
            self._bar.close()

    def begin(self, total=None, description=None):
        """Starts the clock."""
        # Here, as most pictures need no bar, and it imports all that Python knows of mail.
        from tqdm import tqdm

        options = {"total": total, "desc": description, "delay": DELAY, **self._options}
        if sys.stderr is None:
            options["disable"] = True
        elif not sys.stderr.isatty():
            options["mininterval"] = INTERVAL
        self._bar = tqdm(**options)

    def at_first_step(self, total=None, description=None):
        """Returns `update`, which starts the clock itself: what a library takes to load does not count."""

        def update(steps=1, note=""):
            if self._bar is None:
                if steps == total:
                    # All in one step: it is done before a bar would appear.
                    return
                self.begin(total, description)
            self.update(steps, note)

        return update

    def update(self, steps=1, note=""):
        """Moves the bar on by some steps; `note` stands behind it."""
        if note:
            self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(steps)
