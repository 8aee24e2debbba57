"""What outputs are called when nobody says so."""

import os

# What is taken for a picture's extension here and everywhere, whatever is installed.
_PICTURES = {
    ".avif", ".bmp", ".gif", ".heic", ".heif", ".hif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".jxl",
    ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp",
}  # fmt: skip


def is_picture(path) -> bool:
    """Whether a path is named as a picture, be there one or not."""
    return os.path.splitext(path)[1].lower() in _PICTURES


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
    return (base if whole or not is_picture(base) else os.path.splitext(base)[0]) + extension
