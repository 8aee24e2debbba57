"""What encoder effort buys: BD-rate against encoding time, and rates that are hit.

    python experiments/effort.py
    python experiments/effort.py --efforts 1,2,3,4 --num_images 8 --notargets

Compares files of each effort with those of effort 0, for each family of models in the measure that it was trained
for and in the other, and measures how near `--target_bpp` comes. Writes `docs/effort/` (tables, curves) and the part of
docs/measurements.md between its `effort` markers. What is measured is kept in
`results/kodak`, so a stopped run goes on, and a run with more rate points or images only
measures what is new. All efforts of a file are measured on the way to the highest. Nothing else should run.
"""

import os
import pathlib
import sys
import time

from absl import app, flags
import matplotlib.pyplot as plt
import numpy as np

from balle2017 import codec
from balle2017.evaluation import baselines, bd, measuring, results
from balle2017.files import writing
from balle2017.pictures import images
import kodak
import rd

FLAGS = flags.FLAGS
MEASURES = ("psnr_rgb", "ms_ssim_rgb")


class Effort(baselines.RatePoints):
    """An effort whose time counts on from that of the efforts below, which it passes through anyway.

    The files are those of `baselines.RatePoints`; the time of effort n has the range coding of n files in it.
    """

    # By quality: the picture, the effort reached, the seconds until there, the files to come.
    _climbs = {}

    def timed_encode(self, pixels, quality):
        if self.effort == 0:
            return super().timed_encode(pixels, quality)
        picture, reached, seconds, files = self._climbs.get(quality, (None, 0, 0.0, None))
        if picture is not pixels or reached >= self.effort:
            reached, seconds, files = 0, 0.0, self.models[quality].compress_by_effort(pixels)
        start = time.perf_counter()
        for _ in range(self.effort - reached):
            data = next(files)
        seconds += time.perf_counter() - start
        self._climbs[quality] = pixels, self.effort, seconds, files
        return data, seconds


def expected_seconds(pixels, chosen):
    """Seconds that one image takes in a family, if a step takes as long as at effort 2; nothing kept is read."""
    total = 0.0
    family, highest = chosen[0][0].name, max(codec.effort for codec, _ in chosen)
    quick = [baselines.RatePoints(family, FLAGS.models_dir, effort) for effort in (1, 2)]
    for quality in chosen[0][1]:
        quick[1].encode(pixels, quality)
        low, high = (measuring.measure(codec, quality, pixels)["encode_seconds"] for codec in quick)
        count = quick[0].models[quality].count_steps
        step = (high - low) / (count(pixels, 2) - count(pixels, 1))
        total += low + step * max(0, count(pixels, highest) - count(pixels, 1))
    return total


def choose(family):
    """The efforts of a family as `(codec, qualities)`, effort 0 first."""
    known = baselines.RatePoints(family, FLAGS.models_dir)
    wanted = [int(word) for word in FLAGS.rate_points] or known.qualities
    missing = [quality for quality in wanted if quality not in known.models]
    if missing:
        sys.exit(f"{family} has no rate point {missing[0]}, only {', '.join(map(str, known.models))}.")
    efforts = sorted({0, *map(int, FLAGS.efforts)})
    if not set(efforts) <= set(range(codec.MAX_EFFORT + 1)):
        sys.exit(f"Efforts go from 0 to {codec.MAX_EFFORT}.")
    return [(Effort(family, FLAGS.models_dir, effort), wanted) for effort in efforts]


def gains(points, chosen):
    """Rows of the effort, BD-rates in percent, seconds an image and how many times effort 0's that is.

    The BD-rates are against effort 0 by PSNR and by MS-SSIM, and against the paper's own table of models that
    were trained for the same.
    """
    curves = results.curves(points, chosen)
    paper, own = kodak.published()[kodak.PAPERS[chosen[0][0].distortion]], kodak.MEASURES[chosen[0][0].distortion]
    seconds = [np.mean([p["encode_seconds"] for p in points[c.name]]) for c, _ in chosen]
    rows = []
    for (family, _), curve, mean in zip(chosen, curves, seconds):
        gained = [0.0, 0.0]
        if family.effort:
            gained = [bd.bd_rate(curves[0], curve, measure) for measure in MEASURES]
        rows.append((family.effort, *gained, bd.bd_rate(paper, curve, own), mean, mean / seconds[0]))
    return rows


def table(rows, slowest):
    """Markdown table of `gains`."""
    lines = ["| effort | BD-rate by PSNR | by MS-SSIM | against the paper | s an image | × effort 0 |"
             " slowest image (s) |", "|---|---|---|---|---|---|---|"]  # fmt: skip
    for (effort, *rates, seconds, ratio), longest in zip(rows, slowest):
        cells = " | ".join("0" if (effort, rate) == (0, 0.0) else rd.percent(rate) for rate in rates)
        lines.append(f"| {effort} | {cells} | {seconds:.2f} | {ratio:.1f} | {longest:.1f} |")
    return lines


def target_table(records, target):
    """Markdown table of how near files come to the rates that are wanted."""
    lines = [
        "| --target_bpp | files within 1 % | largest difference | PSNR (dB) | s an image |",
        "|---|---|---|---|---|",
    ]
    for rate in target.qualities:
        group = [r for r in records if r["quality"] == rate]
        errors = [100 * (r["bpp"] / rate - 1) for r in group]
        psnr, seconds = (np.mean([r[key] for r in group]) for key in ("psnr_rgb", "encode_seconds"))
        worst = max(errors, key=abs)
        lines.append(f"| {rate:g} | {sum(abs(e) <= 1 for e in errors)} of {len(group)}"
                     f" | {worst:+.2f} % | {psnr:.2f} | {seconds:.1f} |".replace("-", "−"))  # fmt: skip
    return lines


def draw(families):
    """BD-rate against encoding time, as a figure, of families `(label, measure, rows of gains)`."""
    figure, axis = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    # Above the first curve and below the others.
    for color, below, (label, measure, rows) in zip(kodak.OURS, (5, -12, -12), families):
        efforts, *rates, _, seconds, _ = zip(*rows)
        rates = rates[MEASURES.index(measure)]
        axis.semilogx(seconds, rates, color=color, marker="o", linewidth=2, label=label)
        for effort, mean, rate in zip(efforts, seconds, rates):
            axis.annotate(f"{effort}", (mean, rate), (5, below), textcoords="offset points", fontsize=9)
    axis.set_xlabel("encoding time, seconds an image", fontsize=9)
    axis.set_ylabel("BD-rate against effort 0 in what the models are for, %", fontsize=9)
    axis.set_title(f"Efforts 0 to {max(efforts)} on Kodak", fontsize=10, loc="left")
    axis.grid(color="#e6e6e6", linewidth=0.8)
    axis.set_axisbelow(True)
    axis.legend(fontsize=8, frameon=False)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    kodak.plain_logarithmic(axis.xaxis)
    return figure


def measure(family, paths, folder):
    """Measures a family of models: lines of its part of the document, and its rows of `gains`."""
    chosen = choose(family)
    seconds = expected_seconds(images.read(paths[0]).pixels, chosen)
    print(f"{family}: expected are {seconds * len(paths) / 60:.0f} minutes for the efforts of {len(paths)} images,"
          " less what is kept.", flush=True)  # fmt: skip
    records = measuring.evaluate(paths, chosen, folder)
    rows = gains(results.aggregate(records), chosen)
    slowest = [max(r["encode_seconds"] for r in records if r["codec"] == c.name) for c, _ in chosen]
    names = ", ".join(f"`{chosen[0][0].models[q].name}`" for q in chosen[0][1])
    lines = [f"{len(paths)} images, real files of {names}:", "", *table(rows, slowest), ""]
    if FLAGS.targets:
        # A search takes as long as many files, and says as much of every third image.
        few = paths[::3]
        target = baselines.TargetRate(family, FLAGS.models_dir, FLAGS.target_effort)
        hits = measuring.evaluate(few, [(target, target.qualities)], folder)
        caption = f"`--target_bpp` with effort {FLAGS.target_effort}, {len(few)} images:"
        lines += [caption, "", *target_table(hits, target), ""]
    return lines, rows


def main(argv):
    del argv
    paths = kodak.find_images()
    FLAGS.num_images = min(FLAGS.num_images, len(paths))
    paths = [paths[i * len(paths) // FLAGS.num_images] for i in range(FLAGS.num_images)]
    families = kodak.find_families()
    if FLAGS.family:
        families = [baselines.RatePoints(FLAGS.family, FLAGS.models_dir)]
    lines = [
        "Kodak; BD-rate against effort 0 by PSNR and by MS-SSIM, and against the paper's own table of models for the"
        " same measure, in that (package `bjontegaard`, Akima); encoding times on"
        f" {os.cpu_count()} cores of {results.processor()}.",
        "",
    ]
    drawn = []
    for family in families:
        part, rows = measure(family.name, paths, pathlib.Path(FLAGS.results) / "per_image")
        lines += part
        drawn.append((family.label, kodak.MEASURES[family.distortion], rows))
    lines.pop()
    print("\n" + "\n".join(lines))
    out = pathlib.Path(FLAGS.out)
    kodak.save(draw(drawn), out / "kodak.png")
    document = ["# Encoder effort on Kodak", "", *lines, "", "![Curve](kodak.png)", ""]
    writing.write_text(out / "kodak.md", "\n".join(document))
    results.update_part(pathlib.Path(FLAGS.measurements), "\n".join(lines), "effort")


if __name__ == "__main__":
    kodak.define_flags()
    flags.DEFINE_list("efforts", ["1", "2"], "Efforts to measure, besides 0.")
    flags.DEFINE_list("rate_points", ["2", "4", "6", "8"], "Numbers of the rate points to measure; empty for all.")
    flags.DEFINE_integer("num_images", 24, "How many of the images, taken evenly.", 1)
    flags.DEFINE_string("family", None, "Family of models; by default all.")
    flags.DEFINE_bool("targets", True, "Measure --target_bpp, too.")
    flags.DEFINE_integer("target_effort", 1, "Effort of --target_bpp.", 1, codec.MAX_EFFORT)
    flags.DEFINE_string("out", str(kodak.ROOT / "docs/effort"), "Folder for table and curve.")
    kodak.define_measurements_flag()
    flags.adopt_module_key_flags(kodak)
    app.run(main)
