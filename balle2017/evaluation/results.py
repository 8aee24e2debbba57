"""What becomes of measurements: means, curves, files of results, tables and captions."""

import csv
import io
import json
import pathlib
import platform
import re

import numpy as np
from tqdm import tqdm

from balle2017.evaluation import bd, report
from balle2017.evaluation.measuring import FIELDS
from balle2017.files.writing import write_text
from balle2017.pictures import images


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


def above_by_image(sets, tested, anchors):
    """Of all points of all images: how many lie above the curves of other codecs.

    Args:
      sets: As `curves_by_image` returns them.
      tested: Name of a codec.
      anchors: Names of the codecs to hold it against.

    Returns:
      Dictionary from anchor to a dictionary from measure (`psnr_rgb`,
      `ms_ssim_rgb`) to `(above, comparable)`, see `bd.count_above`.
    """
    images_only = [{curve.name: curve for curve in of_image} for of_image in list(sets.values())[1:]]
    return {
        anchor: {
            measure: bd.count_above(
                [(c[anchor], c[tested]) for c in images_only if measure in c[tested].points], measure
            )
            for measure in ("psnr_rgb", "ms_ssim_rgb")
        }
        for anchor in anchors
    }


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
    with tqdm(desc="viewer", unit=" files", total=len(picked) * len(compared) * len(rates)) as bar:
        return [report.compare(path.name, images.read(path).pixels, compared, rates, bar.update) for path in picked]


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
    write_text(folder / "results.json", json.dumps(content, indent=1))
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, FIELDS)
    writer.writeheader()
    writer.writerows(records)
    write_text(folder / "results.csv", table.getvalue())
    (folder / "compressai").mkdir(exist_ok=True)
    for codec, _ in chosen:
        content = compressai_format(codec, points.get(codec.name, []))
        write_text(folder / "compressai" / f"{codec.name}.json", json.dumps(content, indent=2))


def print_table(points, chosen, published):
    """Prints the aggregated points and the BD-rates between all curves."""
    for codec, _ in chosen:
        print(f"\n{codec.label}: {codec.settings}")
        print(
            f"{'quality':>8} {'bpp':>7} {'PSNR':>6} {'luma':>6} {'MS-SSIM':>8} {'luma':>7} {'encode':>8} {'decode':>8}"
        )
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


def update_part(path, text, name):
    """Replaces what stands between the markers of a name in a Markdown file."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    content = path.read_text() if path.exists() else ""
    if content.count(begin) != 1 or content.count(end) != 1:
        print(f"{path} has no pair of markers {begin} and {end}: it stays as it is.")
        return
    before, rest = content.split(begin)
    _, after = rest.split(end)
    write_text(path, f"{before}{begin}\n{text}\n{end}{after}")
