"""End-to-end optimized image compression (Ballé, Laparra & Simoncelli, ICLR 2017)."""

import sys

__version__ = "1.0.0"

if not (3, 9) <= sys.version_info[:2] < (3, 12):
    raise ImportError(
        "balle2017 needs Python 3.9, 3.10 or 3.11, the versions that tensorflow-compression 2.14.1 "
        f"is made for; this is Python {sys.version_info[0]}.{sys.version_info[1]}."
    )
