"""Which files are pictures: the formats that are read, their extensions, and what metadata each can hold."""

import functools
import io
import os

from PIL import Image, UnidentifiedImageError

from balle2017.files import streams

# Measurements, films and drawings, which Pillow hands on to other programs if it reads them at all,
# and what this package makes itself.
_NO_PICTURES = ("BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "TFCI", "WMF")
# Extensions that stand for pictures whatever is installed here, so that what is called after them has the same name
# everywhere (what can be read is another question, see `extensions`); and the packages that some of them take.
_PILLOW = """
.avif .bmp .gif .j2k .jfif .jp2 .jpe .jpeg .jpg .pgm .png .pnm .ppm .tga .tif .tiff .webp
""".split()
_PACKAGES = {
    ".heic": "pillow-heif",
    ".heif": "pillow-heif",
    ".hif": "pillow-heif",
    ".jxl": "pillow-jxl-plugin",
}
_ALL = ("EXIF", "ICCP", "XMP ")
# What Pillow writes of metadata; other formats hold none.
HOLDS = {
    "AVIF": _ALL,
    "HEIF": _ALL,
    "JPEG": _ALL,
    "MPO": _ALL,
    "PNG": _ALL,
    "WEBP": _ALL,
    "TIFF": _ALL,
    "JXL": ("EXIF", "ICCP"),
}


def open_picture(source):
    """Pillow's image of a file, by the plugins that are installed.

    Args:
      source: Path or binary file object.

    Raises:
      UnidentifiedImageError: If it is no picture.
      OSError: If the file cannot be opened.
    """
    if isinstance(source, (str, os.PathLike)) and streams.is_stream(source):
        # Pillow and the plugins may look at a file more than once.
        source = io.BytesIO(streams.read(source))
    try:
        image = Image.open(source)
    except UnidentifiedImageError:
        # Only now, as it takes a while to import them.
        if not load_plugins():
            raise
        if hasattr(source, "seek"):
            source.seek(0)
        image = Image.open(source)
    if image.format in _NO_PICTURES:
        image.close()
        raise UnidentifiedImageError("It is no picture.")
    return image


@functools.cache
def load_plugins():
    """Registers the formats of packages that may be installed; returns how many there are."""
    count = 0
    try:
        import pillow_heif

        pillow_heif.register_heif_opener()
        count += 1
    except Exception:
        # Not there, or not made for this Pillow.
        pass
    try:
        import pillow_jxl  # noqa: F401

        count += 1
    except Exception:
        pass
    return count


def extensions():
    """Extensions of picture files, lower case with their dots, as far as they can be read here."""
    load_plugins()
    registered = Image.registered_extensions()
    return {e for e, name in registered.items() if name in Image.OPEN and name not in _NO_PICTURES}


def is_named_as_picture(path) -> bool:
    """Whether a path is named as a picture, be there one or not, and be it read here or not."""
    extension = os.path.splitext(path)[1].lower()
    return extension in _PILLOW or extension in _PACKAGES


def missing_package(extension):
    """The package that would have to be installed to read pictures of an extension, or `None`."""
    return None if extension in extensions() else _PACKAGES.get(extension)


def kind_of(path):
    """What a file is called that is no picture by its name: its extension, if it has one."""
    return os.path.splitext(path)[1].lower() or "without extension"


def describe_left_out(kinds):
    """How many files of each kind, and what could be installed to read them; `kinds` has their numbers."""
    described = []
    for kind, count in sorted(kinds.items()):
        package = missing_package(kind)
        described.append(f"{count} {kind}" + (f" (needs the package {package})" if package else ""))
    return ", ".join(described)


def writer(path):
    """Pillow's name of the format that a path's extension stands for, or `None` if it writes no such format."""
    extension = "." + str(path).rpartition(".")[2].lower()
    if extension == ".png":
        # The usual one needs none of Pillow's plugins, which take longer to import than a picture to be written.
        return "PNG"
    if extension in _PACKAGES:
        load_plugins()
    name = Image.registered_extensions().get(extension)
    return name if name in Image.SAVE and name not in _NO_PICTURES else None
