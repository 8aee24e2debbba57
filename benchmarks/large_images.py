"""Memory and time of the commands against megapixels: memory flat, time linear.

    python benchmarks/large_images.py bls2017-mse-4 [--out results/large_images]

Each measurement is a process of its own, as `/usr/bin/time -v` would see it. Time is the median of a few
rounds, memory the largest. The cost of one more megapixel is what two successive sizes differ by.
Writes `large_images.csv` and a plot of it.
"""

import argparse
import collections
import csv
import glob
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time

import matplotlib
import numpy as np
from PIL import Image

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PHOTOGRAPHS = os.path.join(ROOT, "..", "shared", "images", "train", "*", "*")
LIMIT_GIB = 2


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--models_dir", help="folder of models")
    parser.add_argument("--runtimes", nargs="+", default=["tensorflow", "onnx"], help="as `balle2017 --runtime`")
    parser.add_argument("--rounds", type=int, default=3, help="how often each command runs")
    parser.add_argument("--photographs", default=PHOTOGRAPHS, help="glob of pictures to put together")
    parser.add_argument("--megapixels", nargs="+", type=float, default=[1, 3, 6, 12, 25, 50, 100], help="sizes")
    parser.add_argument("--out", default="results/large_images", help="where figures and picture go")
    args = parser.parse_args()
    measured = collections.defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        for megapixels in args.megapixels:
            source = os.path.join(folder, "large.png")
            make_picture(source, megapixels, sorted(glob.glob(args.photographs)))
            for _, runtime in itertools.product(range(args.rounds), args.runtimes):
                options = ["--overwrite", "--runtime", runtime]
                options += ["--models_dir", args.models_dir] if args.models_dir else []
                packed, unpacked = source + ".tfci", os.path.join(folder, "decoded.png")
                for command in (
                    ["compress", *options, args.model, source, packed],
                    ["decompress", *options, packed, unpacked],
                ):
                    measured[runtime, command[0], megapixels].append(measure(command))
    rows = [
        [*case, round(statistics.median(seconds), 2), round(max(memory) / 2**20)]
        for case, (seconds, memory) in sorted((case, zip(*values)) for case, values in measured.items())
    ]
    for row in rows:
        print("{:10} {:10} {:6.1f} Mpixel {:8.2f} s {:6d} MiB".format(*row))
    write(rows, args.out)
    plot(rows).savefig(os.path.join(args.out, "large_images.png"), dpi=120)
    for case, part in lines(rows):
        if len(part) < 2:
            continue
        low, high = np.percentile(slopes(part), [0, 100])
        print(f"{' '.join(case)}: one more megapixel takes {low:.3f} to {high:.3f} s")
    if max(row[-1] for row in rows) > LIMIT_GIB * 1024:
        sys.exit(f"More than {LIMIT_GIB} GiB of memory.")


def make_picture(path, megapixels, photographs):
    """A mosaic of photographs, 3 by 2."""
    height = round((megapixels * 1e6 / 1.5) ** 0.5)
    width = round(height * 1.5)
    mosaic = Image.new("RGB", (width, height))
    random = np.random.default_rng(0)
    y = 0
    while y < height:
        x, step = 0, height
        while x < width:
            with Image.open(photographs[random.integers(len(photographs))]) as tile:
                tile = tile.convert("RGB")
                mosaic.paste(tile, (x, y))
                x, step = x + tile.width, min(step, tile.height)
        y += step
    mosaic.save(path, compress_level=1)


def measure(command):
    """Runs a command of balle2017; returns seconds and the maximum resident set in bytes."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "balle2017.tfci", *command], env={**os.environ, "PYTHONPATH": ROOT}
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed.")
    return time.perf_counter() - start, usage.ru_maxrss * 1024


def write(rows, out):
    os.makedirs(out, exist_ok=True)
    with open(os.path.join(out, "large_images.csv"), "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["runtime", "command", "megapixels", "seconds", "mebibytes"])
        writer.writerows(rows)


def lines(rows):
    """`(runtime, command)` and what was measured of it, `[sizes, 3]`: megapixels, seconds, MiB."""
    return [(case, np.array([row[2:] for row in part])) for case, part in itertools.groupby(rows, lambda row: row[:2])]


def slopes(part):
    """Seconds that one more megapixel takes, between each size and the one before."""
    return np.diff(part[:, 1]) / np.diff(part[:, 0])


def plot(rows):
    """Memory, time and the cost of one more megapixel against megapixels, as a figure."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, middle, right) = pyplot.subplots(1, 3, figsize=(15, 4.5), layout="constrained")
    for (runtime, command), part in lines(rows):
        style = dict(label=f"{command}, {runtime}", marker="o", linestyle="-" if command == "compress" else "--")
        style["color"] = {"tensorflow": "C0", "onnx": "C1"}[runtime]
        left.plot(part[:, 0], part[:, 2], **style)
        middle.plot(part[:, 0], part[:, 1], **style)
        right.plot(part[1:, 0], slopes(part), **style)
    left.axhline(LIMIT_GIB * 1024, color="gray", linestyle=":", label=f"the limit, {LIMIT_GIB} GiB")
    left.set(xlabel="megapixels", ylabel="MiB", title="Largest memory of a command (resident set)")
    middle.set(xlabel="megapixels", ylabel="seconds", title="Time of a command")
    right.set(xlabel="megapixels", ylabel="seconds", title="Time of one more megapixel")
    # Room above the highest line, for the legend.
    left.set_ylim(0, 1.6 * LIMIT_GIB * 1024)
    for axis in (middle, right):
        axis.set_ylim(0, None)
    left.legend(loc="upper left", ncols=2, fontsize=9, frameon=False)
    return figure


if __name__ == "__main__":
    main()
