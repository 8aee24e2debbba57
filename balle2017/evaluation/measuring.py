"""Codecs on images: actual bytes, distortion and time, measured once and kept."""

import collections
import json
import math
import pathlib
import sys
import time
import zlib

import numpy as np
from tqdm import tqdm

from balle2017.evaluation import baselines, bd, metrics
from balle2017.files.writing import write_text
from balle2017.pictures import formats, images

# What is measured of each image × codec × quality, in the order of the CSV's columns.
FIELDS = (
    "image", "width", "height", "codec", "quality", "bytes", "bpp", *bd.MEASURES,
    "encode_seconds", "decode_seconds",
)  # fmt: skip


def find_images(folder):
    """Paths of the image files in a folder, sorted by name; says how many others there are.

    Raises:
      ValueError: There is none.
    """
    folder = pathlib.Path(folder)
    extensions = formats.extensions()
    files = [p for p in folder.glob("*") if p.is_file() and not p.name.startswith(".")]
    paths = [p for p in files if p.suffix.lower() in extensions]
    others = collections.Counter(formats.kind_of(p) for p in files if p.suffix.lower() not in extensions)
    left_out = formats.describe_left_out(others)
    if not paths:
        but = f"; left out are {left_out}" if left_out else ""
        raise ValueError(f"There are no images in {str(folder)!r}: name a folder of images{but}.")
    if left_out:
        print(f"Left out: {left_out}.", file=sys.stderr)
    return sorted(paths)


def choose(names, qualities, models_dir=None):
    """Codecs and their qualities from the command line's words.

    Args:
      names: Names as `baselines.find` takes them; empty for all that are installed.
      qualities: Words such as `jpeg=30,60`, in place of a codec's own qualities.
      models_dir: Folder of models, see `codec.models_dir`.

    Returns:
      List of `(codec, qualities)`.

    Raises:
      baselines.CodecUnavailable: A codec that is asked for by name is not there.
      ValueError: A quality is none of its codec's, or its codec is not among the names.
    """
    if names:
        found = [baselines.find(name, models_dir) for name in names]
    else:
        found = baselines.installed(models_dir)
    wanted = {codec.name: codec.qualities for codec in found}
    by_name = {codec.name: codec for codec in found}
    for word in qualities:
        name, _, values = word.partition("=")
        if name not in wanted:
            raise ValueError(f"In the qualities {word}, {name!r} is not one of {', '.join(wanted)}.")
        try:
            numbers = [float(value) for value in values.split(",")]
        except ValueError:
            raise ValueError(f"The qualities {word} are not CODEC=NUMBER,NUMBER,….") from None
        unknown = [f"{number:g}" for number in numbers if not by_name[name].takes(number)]
        if unknown:
            raise ValueError(f"In the qualities {word}, {name} has no {unknown[0]}.")
        wanted[name] = tuple(int(number) if number.is_integer() else number for number in numbers)
    return [(codec, wanted[codec.name]) for codec in found]


def measure(codec, quality, pixels):
    """Measures one codec at one quality on one image.

    Args:
      codec: `baselines.Codec`.
      quality: One of its qualities.
      pixels: uint8 `[height, width, 3]`.

    Returns:
      A dictionary of all `FIELDS` but `image`. What is not defined (PSNR of
      equal images, MS-SSIM of small ones) is `None`.
    """
    height, width, _ = pixels.shape
    data, encode_seconds = codec.timed_encode(pixels, quality)
    start = time.perf_counter()
    decoded = codec.decode(data)
    decode_seconds = time.perf_counter() - start
    values = {
        "psnr_rgb": metrics.psnr(pixels, decoded),
        "ms_ssim_rgb": metrics.ms_ssim(pixels, decoded),
        "psnr_luma": metrics.psnr_luma(pixels, decoded),
        "ms_ssim_luma": metrics.ms_ssim_luma(pixels, decoded),
    }
    return {
        "width": width,
        "height": height,
        "codec": codec.name,
        "quality": quality,
        "bytes": len(data),
        "bpp": 8 * len(data) / (width * height),
        **{key: None if value == math.inf else value for key, value in values.items()},
        "encode_seconds": encode_seconds,
        "decode_seconds": decode_seconds,
    }


class Results:
    """Measurements, kept in one JSON file per image, so that a stopped run goes on.

    A kept measurement is used again only for the same pixels and the same
    settings of the codec.
    """

    def __init__(self, folder):
        self._folder = pathlib.Path(folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._warm = set()

    def of_image(self, path, chosen, progress=None):
        """Measurements of one image through codecs, measured or kept.

        Args:
          path: Image file.
          chosen: List of `(codec, qualities)`.
          progress: Function called after each measurement.

        Returns:
          List of dictionaries of all `FIELDS`.
        """
        pixels = images.read(path).pixels
        checksum = f"{zlib.crc32(np.ascontiguousarray(pixels)):08x}"
        file = self._folder / f"{path.name}.json"
        kept = json.loads(file.read_text()) if file.exists() else {}
        if kept.get("checksum") != checksum:
            kept = {"checksum": checksum, "measurements": {}}
        records = []
        for codec, qualities in chosen:
            for quality in qualities:
                key = f"{codec.name} {quality}"
                known = kept["measurements"].get(key)
                version = codec.version(quality)
                if known is None or known["settings"] != version:
                    if (codec.name, quality) not in self._warm:
                        # The first use of a codec may load libraries and models.
                        codec.warm_up(pixels, quality)
                        self._warm.add((codec.name, quality))
                    known = {"settings": version, **measure(codec, quality, pixels)}
                    kept["measurements"][key] = known
                    write_text(file, json.dumps(kept, indent=1))
                records.append({"image": path.name, **{k: known[k] for k in FIELDS if k != "image"}})
                if progress:
                    progress()
        return records


def evaluate(paths, chosen, folder):
    """Measures all images through all codecs, with a progress bar.

    Args:
      paths: Image files. One that can't be read is named and left out.
      chosen: List of `(codec, qualities)`.
      folder: Where the measurements are kept.

    Returns:
      List of dictionaries of all `FIELDS`.
    """
    results = Results(folder)
    records = []
    points = sum(len(qualities) for _, qualities in chosen)
    with tqdm(total=points * len(paths), unit="file", dynamic_ncols=True) as bar:
        for path in paths:
            bar.set_description(path.name)
            try:
                records += results.of_image(path, chosen, bar.update)
            except images.ImageError as error:
                bar.write(f"{path.name} is left out: {error}", file=sys.stderr)
    return records
