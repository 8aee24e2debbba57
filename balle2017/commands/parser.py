"""Command lines whose options and paths come in any order."""

import argparse
import difflib
import sys


class Parser(argparse.ArgumentParser):
    """A parser that takes options and paths in any order, and has a hint for a misspelt option."""

    _mixing = False

    def parse_known_args(self, args=None, namespace=None):
        if hasattr(sys.stdout, "reconfigure"):
            # What its encoding lacks, a letter or a byte of a file's name, is written as on standard error.
            sys.stdout.reconfigure(errors="backslashreplace")
        # Which argparse cannot do where there are subcommands, but can in each of them.
        if self._mixing or self._subparsers is not None:
            return super().parse_known_args(args, namespace)
        self._mixing = True
        try:
            found, unknown = self.parse_known_intermixed_args(args, namespace)
        finally:
            self._mixing = False
        if unknown:
            known = [option for option in self._option_string_actions if option.startswith("--")]
            near = [difflib.get_close_matches(word.partition("=")[0], known, 1) for word in unknown]
            hint = ", ".join(options[0] for options in near if options)
            self.error(f"unknown: {' '.join(unknown)}" + (f" (did you mean {hint}?)" if hint else ""))
        return found, unknown
