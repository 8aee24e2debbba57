"""What outputs are called when nobody says so."""

import os

from balle2017.pictures.formats import is_named_as_picture


def compressed(path, whole=False) -> str:
    """Of the `.tfci` file of a picture: always `a.jpg.tfci`, as `a.png` may be there, too."""
    return path + ".tfci"


def decompressed(path, extension=".png", whole=False) -> str:
    """Of the picture of a `.tfci` file: `a.png` for `a.jpg.tfci`.

    Args:
      path: Of the `.tfci` file.
      extension: Of the picture.
      whole: Whether what was a picture's extension stays, as `a.jpg.png`, since the short name is taken.
    """
    base, last = os.path.splitext(path)
    if last.lower() != ".tfci":
        return path + extension
    return (base if whole or not is_named_as_picture(base) else os.path.splitext(base)[0]) + extension
