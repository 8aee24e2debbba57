"""Measures codecs on images: actual bytes, distortion and time, for any images and codecs.

`python -m balle2017.evaluate --images FOLDER --out DIR`
"""

import csv
import json
import math
import os
import pathlib
import platform
import re
import sys
import time
import zlib

from absl import app, flags
import numpy as np
from PIL import Image
from tqdm import tqdm

from balle2017 import bd, codecs, images, metrics, report

FLAGS = flags.FLAGS

# What is measured of each image × codec × quality, in the order of the CSV's columns.
FIELDS = (
    "image", "width", "height", "codec", "quality", "bytes", "bpp", *bd.MEASURES,
    "encode_seconds", "decode_seconds",
)  # fmt: skip


def find_images(folder):
    """Paths of the image files in a folder, sorted by name.

    Raises:
      ValueError: There is none.
    """
    folder = pathlib.Path(folder)
    Image.init()
    paths = [p for p in folder.glob("*") if p.suffix.lower() in Image.EXTENSION and p.is_file()]
    if not paths:
        raise ValueError(f"There are no images in {str(folder)!r}: name a folder of images.")
    return sorted(paths)


def measure(codec, quality, pixels):
    """Measures one codec at one quality on one image.

    Args:
      codec: `codecs.Codec`.
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
                    write_file(file, json.dumps(kept, indent=1))
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


def aggregate(records):
    """Means over images at constant quality, as the published tables have them.

    Args:
      records: As `evaluate` returns them.

    Returns:
      Dictionary from codec to a list of points by ascending rate: dictionaries
      of `quality`, `images` (how many) and the means of all numbers of
      `FIELDS`; of MS-SSIM over those images that are large enough for it.
    """
    groups = {}
    for record in records:
        groups.setdefault(record["codec"], {}).setdefault(record["quality"], []).append(record)
    numbers = FIELDS[FIELDS.index("bytes") :]
    result = {}
    for codec, qualities in groups.items():
        points = []
        for quality, group in qualities.items():
            point = {"quality": quality, "images": len(group)}
            for field in numbers:
                values = [record[field] for record in group if record[field] is not None]
                point[field] = float(np.mean(values)) if values else None
            points.append(point)
        result[codec] = sorted(points, key=lambda point: point["bpp"])
    return result


def curves(points, chosen):
    """`bd.Curve`s of aggregated points (or of one image's records), for each codec of `chosen`."""
    result = []
    for codec, _ in chosen:
        curve = bd.Curve(codec.name, codec.label, codec.settings)
        for key in bd.MEASURES:
            known = [p for p in points.get(codec.name, []) if p[key] is not None]
            if known:
                curve.add(key, [p["bpp"] for p in known], [p[key] for p in known])
        result.append(curve)
    return result


def curves_by_image(records, chosen):
    """Curves of the aggregate, and then of each image: what a report shows."""
    names = sorted({record["image"] for record in records})
    sets = {f"Mean of {len(names)} images": curves(aggregate(records), chosen)}
    for name in names:
        of_image = [record for record in records if record["image"] == name]
        sets[name] = curves(aggregate(of_image), chosen)
    return sets


def viewer(paths, chosen, count, rates):
    """Some of the images through all codecs at matched sizes, with a progress bar.

    Args:
      paths: Image files, of which `count` are taken, evenly.
      chosen: List of `(codec, qualities)`.
      count: How many images.
      rates: Rates to aim at, in bpp.
    """
    count = min(count, len(paths))
    picked = [paths[i * len(paths) // count] for i in range(count)]
    compared = [codec for codec, _ in chosen]
    return [
        report.compare(path.name, images.read(path).pixels, compared, rates)
        for path in tqdm(picked, desc="viewer", unit="image")
    ]


def compressai_format(codec, points):
    """Aggregated points of a codec as CompressAI's plot tools read them."""
    names = {
        "psnr-rgb": "psnr_rgb",
        "ms-ssim-rgb": "ms_ssim_rgb",
        "psnr-luma": "psnr_luma",
        "ms-ssim-luma": "ms_ssim_luma",
        "bpp": "bpp",
        "encoding_time": "encode_seconds",
        "decoding_time": "decode_seconds",
    }
    results = {}
    for name, field in names.items():
        values = [point[field] for point in points]
        if None not in values:
            results[name] = values
    return {"name": codec.label, "description": codec.settings, "results": results}


def write_results(folder, records, chosen):
    """Writes `results.json`, `results.csv` and `compressai/CODEC.json` into a folder."""
    folder = pathlib.Path(folder)
    points = aggregate(records)
    content = {
        "codecs": {codec.name: {"label": codec.label, "settings": codec.settings} for codec, _ in chosen},
        "aggregate": points,
        "images": records,
    }
    write_file(folder / "results.json", json.dumps(content, indent=1))
    temporary = folder / "results.csv.tmp"
    with open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        writer.writerows(records)
    os.replace(temporary, folder / "results.csv")
    (folder / "compressai").mkdir(exist_ok=True)
    for codec, _ in chosen:
        content = compressai_format(codec, points.get(codec.name, []))
        write_file(folder / "compressai" / f"{codec.name}.json", json.dumps(content, indent=2))


def processor():
    """The processor's name, and how it multiplies, for captions."""
    try:
        with open("/proc/cpuinfo") as file:
            text = file.read()
    except OSError:
        return platform.processor()
    name = re.search(r"model name\s*: (.*)", text)
    features = [f for f in ("amx_bf16", "avx512_bf16", "avx512f", "avx2") if re.search(rf"\b{f}\b", text)]
    return f"{name.group(1) if name else platform.machine()} ({', '.join(features[:2])})"


def write_file(path, text):
    """Writes a text file in one step, so that a stop leaves the old one or the new one."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text)
    os.replace(temporary, path)


def update_readme(path, text, name):
    """Replaces what stands between the markers of a name."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    content = path.read_text() if path.exists() else ""
    if content.count(begin) != 1 or content.count(end) != 1:
        print(f"{path} has no pair of markers {begin} and {end}: it stays as it is.")
        return
    before, rest = content.split(begin)
    _, after = rest.split(end)
    write_file(path, f"{before}{begin}\n{text}\n{end}{after}")


def choose(names, qualities, models_dir=None):
    """Codecs and their qualities from the command line's words.

    Args:
      names: Names as `codecs.find` takes them; empty for all that are installed.
      qualities: Words such as `jpeg=30,60`, in place of a codec's own qualities.
      models_dir: Folder of models, see `codec.models_dir`.

    Returns:
      List of `(codec, qualities)`.

    Raises:
      codecs.CodecUnavailable: A codec that is asked for by name is not there.
      ValueError: A quality is not a number, or its codec is not among the names.
    """
    if names:
        found = [codecs.find(name, models_dir) for name in names]
    else:
        found = codecs.installed(models_dir)
    wanted = {codec.name: codec.qualities for codec in found}
    for word in qualities:
        name, _, values = word.partition("=")
        if name not in wanted:
            raise ValueError(f"--quality {word}: {name!r} is not one of {', '.join(wanted)}.")
        try:
            numbers = [float(value) for value in values.split(",")]
        except ValueError:
            raise ValueError(f"--quality {word}: write CODEC=NUMBER,NUMBER,….") from None
        wanted[name] = tuple(int(number) if number.is_integer() else number for number in numbers)
    return [(codec, wanted[codec.name]) for codec in found]


def print_table(points, chosen, published):
    """Prints the aggregated points and the BD-rates between all curves."""
    for codec, _ in chosen:
        print(f"\n{codec.label}: {codec.settings}")
        print(f"{'quality':>8} {'bpp':>7} {'PSNR':>6} {'luma':>6} {'MS-SSIM':>8} {'luma':>7} {'encode':>8} {'decode':>8}")
        for point in points.get(codec.name, []):
            cells = [point[key] for key in bd.MEASURES]
            rgb, ms_ssim, luma, ms_ssim_luma = ["-" if c is None else f"{c:.5g}" for c in cells]
            print(
                f"{point['quality']:>8} {point['bpp']:7.4f} {rgb:>6} {luma:>6} {ms_ssim:>8} {ms_ssim_luma:>7}"
                f" {1000 * point['encode_seconds']:5.0f} ms {1000 * point['decode_seconds']:5.0f} ms"
            )
    every = curves(points, chosen) + published
    print("\nBD-rate of the column against the row (%, PSNR RGB):")
    width = max(len(curve.name) for curve in every)
    print(" " * width, *(f"{curve.name:>9.9}" for curve in every[: len(chosen)]))
    for curve, row in zip(every, bd.matrix(every)):
        print(f"{curve.name:{width}}", *("        -" if v is None else f"{v:9.1f}" for v in row[: len(chosen)]))


def main(argv):
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        if len(argv) > 1:
            raise ValueError(f"Unexpected argument {argv[1]!r}: name the images with --images.")
        if not os.path.isdir(FLAGS.images):
            raise ValueError(f"There is no folder {FLAGS.images!r}: name one with --images.")
        paths = find_images(FLAGS.images)
        chosen = choose(FLAGS.codecs, FLAGS.quality, FLAGS.models_dir)
        published = bd.load_published(FLAGS.published) if FLAGS.published else []
        out = pathlib.Path(FLAGS.out)
        out.mkdir(parents=True, exist_ok=True)
        records = evaluate(paths, chosen, out / "per_image")
    except (ValueError, OSError, codecs.CodecUnavailable) as error:
        sys.exit(f"balle2017.evaluate: {error}")
    if not records:
        sys.exit("balle2017.evaluate: None of the images could be read.")
    write_results(out, records, chosen)
    print_table(aggregate(records), chosen, published)
    small = {r["image"] for r in records if r["ms_ssim_rgb"] is None and r["psnr_rgb"] is not None}
    if small:
        side = metrics.MS_SSIM_MIN_SIDE
        print(f"\nNo MS-SSIM, being smaller than {side} pixels: {', '.join(sorted(small))}")
    if FLAGS.report:
        rates = [float(word) for word in FLAGS.viewer_bpp]
        readable = {record["image"] for record in records}
        paths = [path for path in paths if path.name in readable]
        shown = viewer(paths, chosen, FLAGS.viewer_images, rates)
        content = report.Report(FLAGS.title, curves_by_image(records, chosen), published, viewer=shown)
        report.write(out / "report.html", content)
        print(f"\nReport: {out / 'report.html'}")


def define_flags():
    flags.DEFINE_string("images", None, "Folder of the images to measure.", required=True)
    flags.DEFINE_string("out", None, "Folder for the results; a stopped run goes on from it.", required=True)
    flags.DEFINE_list(
        "codecs", [], "Codecs by name, families of models (bls2017-mse), or module:Class; "
        "by default all that are installed: " + ", ".join(codec.name for codec in codecs.CODECS))  # fmt: skip
    flags.DEFINE_string("models_dir", None, "Folder of models; by default those that come with the package.")
    flags.DEFINE_multi_string("quality", [], "CODEC=NUMBER,NUMBER,…: qualities in place of the codec's own.")
    flags.DEFINE_string(
        "published", None, "Folder of published results for the same images, as further curves: "
        "CompressAI's JSON or tensorflow-compression's tables (experiments/data/kodak).")  # fmt: skip
    flags.DEFINE_bool("report", True, "Write report.html, one page that needs nothing else.")
    flags.DEFINE_string("title", "Rate–distortion report", "Title of the report.")
    flags.DEFINE_integer("viewer_images", 6, "How many images the report shows in its viewer.")
    flags.DEFINE_list("viewer_bpp", ["0.2", "0.5", "1"], "Rates at which the viewer compares them, in bpp.")


if __name__ == "__main__":
    define_flags()
    app.run(main)
