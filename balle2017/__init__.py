"""End-to-end optimized image compression (Ballé, Laparra & Simoncelli, ICLR 2017).

    import balle2017
    data = balle2017.compress(pixels, "bls2017-mse-4")
    pixels = balle2017.decompress(data).pixels
    model = balle2017.load("bls2017-mse-4")

These are the functions of `balle2017.codec`, which is imported when one of them is first asked for.
"""

import importlib
import sys

__version__ = "1.0.0"
__all__ = ["compress", "decompress", "load"]

if sys.version_info < (3, 9):
    raise ImportError(f"balle2017 needs Python 3.9 or newer; this is {sys.version_info[0]}.{sys.version_info[1]}.")


def __getattr__(name):
    if name in __all__:
        return getattr(importlib.import_module("balle2017.codec"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *__all__])
