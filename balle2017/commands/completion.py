"""Completion in the shell, by the package argcomplete: `eval "$(register-python-argcomplete balle2017)"`."""

import sys

from balle2017 import codec


def answer(parser):
    """Tells the shell what could stand where it asks, and ends the program."""
    try:
        import argcomplete
    except ImportError:
        sys.exit("balle2017: Completion needs argcomplete: pip install 'balle2017[completion]'.")
    argcomplete.autocomplete(parser)


def models(parsed_args=None, **_):
    """Names of models, or of families where a rate is given."""
    try:
        names = [found["name"] for found in codec.list_models(getattr(parsed_args, "models_dir", None))]
    except codec.ModelError:
        return []
    if getattr(parsed_args, "target_bpp", None) is None:
        return names
    return sorted({name.rpartition("-")[0] for name in names})
