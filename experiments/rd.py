"""The Kodak evaluation of everything that ships: `make rd`.

    python experiments/rd.py

Writes `docs/rd/` (table, curves, JSON), the figures in each `model.json`, and the parts of
docs/measurements.md and README.md between their `rd` markers; also `results/kodak/report.html`.

Takes 22 minutes for 8 models and five other codecs on 2 cores, half a minute for each further model, and
four minutes for each image of the report's viewer, most of it for AVIF and JPEG XL. What is measured
is kept in `results/kodak`; a changed model is measured again in half a minute.
"""

import json
import os
import pathlib

from absl import app, flags
import matplotlib.pyplot as plt
import numpy as np

from balle2017.evaluation import baselines, bd, metrics, report, results
from balle2017.files import writing
import kodak

FLAGS = flags.FLAGS

CAPTION = (
    "Kodak, 24 images, actual files with their headers; means over images at constant quality."
    " BD-rate by package `bjontegaard` (Akima, 0.1–2.2 bpp): negative is smaller at equal quality."
)
MEASURES = ("psnr_rgb", "ms_ssim_rgb")

# Which published tables are of the same codec as a curve that is measured here, and why they differ.
# The figures in words were measured by changing that one setting here.
ANCHORS = {
    "jpeg": {
        "tfc-jpeg420": "`optimize=True` (Huffman tables made for each image); without it the two agree to +2.5 %",
        "compressai-jpeg": "the same: without `optimize=True` they agree to −1.9 %",
    },
    "jpeg2000": {
        "tfc-j2k-opj5": "`irreversible=True`; with OpenJPEG's default, the reversible transform, they agree to +0.3 %",
        "tfc-j2k-kdu5": "visual weights are the likely cause: Kakadu's PSNR is lower, its MS-SSIM higher",
        "compressai-jpeg2000": "encoded by ffmpeg, whose settings are not published",
    },
    "webp": {
        "tfc-webp": "`method=6`, and a newer libwebp; with `method=4` −5.5 % are left",
        "compressai-webp": "`method=6`; with Pillow's default `method=4` they agree to +0.1 %",
    },
    "avif": {"compressai-av1": "`speed=2`, and AVIF's container, some 300 bytes a file"},
}


def rate_point_table(family, points):
    """Markdown table of a family's rate points."""
    lines = [
        "| model | λ | bpp | PSNR (dB) | PSNR luma (dB) | MS-SSIM | MS-SSIM (dB) |",
        "|---|---|---|---|---|---|---|",
    ]
    for point in points:
        model = family.models[point["quality"]]
        similarity = metrics.decibels(point["ms_ssim_rgb"])
        lines.append(
            f"| `{model.name}` | {model.info['lambda']:g} | {point['bpp']:.4f} | {point['psnr_rgb']:.2f}"
            f" | {point['psnr_luma']:.2f} | {point['ms_ssim_rgb']:.4f} | {similarity:.2f} |"
        )
    return lines


def bd_table(tested, anchors):
    """Markdown table of BD-rates of curves against anchors."""
    lines = [
        "| BD-rate against | " + " | ".join(f"{c.label}: PSNR | MS-SSIM" for c in tested) + " |",
        "|---|" + "---|---|" * len(tested),
    ]
    for anchor in anchors:
        cells = []
        for curve in tested:
            for measure in MEASURES:
                same = curve is anchor
                cells.append("" if same else percent(bd.bd_rate(anchor, curve, measure)))
        lines.append(f"| {anchor.label} | " + " | ".join(cells) + " |")
    return lines


def claim_table(above, labels):
    """Markdown table of `results.above_by_image`: the paper's claim, image by image."""
    lines = ["| points above the curve of | by PSNR | by MS-SSIM |", "|---|---|---|"]
    for anchor, counts in above.items():
        cells = (f"{better} of {comparable}" for better, comparable in counts.values())
        lines.append(f"| {labels[anchor]} | " + " | ".join(cells) + " |")
    return lines


def readme_part(families, points, measured, anchors, above, picture):
    """Markdown lines of what README.md shows: the figure, how good it is, and the models to choose from."""
    labels = [f"{family.label}: " if len(families) > 1 else "" for family in families]
    lines = [
        f"![Rate–distortion curves on Kodak]({picture})",
        "",
        "| size at equal quality, against | " + " | ".join(f"{label}by PSNR | by MS-SSIM" for label in labels) + " |",
        "|---|" + "---|---|" * len(families),
    ]
    for anchor in anchors:
        rates = [bd.bd_rate(anchor, measured[family.name], measure) for family in families for measure in MEASURES]
        lines.append(f"| {anchor.label} | " + " | ".join(map(percent, rates)) + " |")
    lines.append("")
    for family, label in zip(families, labels):
        [jpeg, jpeg2000] = (
            [f"{better} of {comparable}" for better, comparable in above[family.name][name].values()]
            for name in ("jpeg", "jpeg2000")
        )
        lines.append(
            f"{label}Image by image, {points[family.name][0]['images']} × {len(points[family.name])} files: by MS-SSIM"
            f" {jpeg[1]} lie above JPEG's curve and {jpeg2000[1]} above JPEG 2000's;"
            f" by PSNR {jpeg[0]} and {jpeg2000[0]}."
        )
    lines += ["", "| model | bits per pixel | PSNR (dB) | MS-SSIM |", "|---|---|---|---|"]
    for family in families:
        for point in points[family.name]:
            name = family.models[point["quality"]].name
            lines.append(f"| `{name}` | {point['bpp']:.2f} | {point['psnr_rgb']:.1f} | {point['ms_ssim_rgb']:.3f} |")
    return lines


def anchor_table(measured, published):
    """Markdown table that holds the codecs measured here against published tables of the same codecs."""
    lines = [
        "| measured here | against the published | BD-rate, PSNR | BD-PSNR (dB) | PSNR at 0.5 bpp (dB): here, published"
        " | BD-rate, MS-SSIM | what differs |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, tables in ANCHORS.items():
        for table, reason in tables.items():
            if name not in measured:
                continue
            here, there = measured[name], published[table]
            gain = bd.bd_quality(there, here)
            at_half = ", ".join(f"{np.interp(0.5, *c.points['psnr_rgb']):.2f}" for c in (here, there))
            lines.append(
                f"| {here.label} | {there.label} | {percent(bd.bd_rate(there, here))} | {decibels(gain)} | {at_half}"
                f" | {percent(bd.bd_rate(there, here, 'ms_ssim_rgb'))} | {reason} |"
            )
    return lines


def percent(value):
    """A BD-rate in words."""
    return "–" if value is None else f"{value:+.1f} %".replace("-", "−")


def decibels(value):
    """A difference in dB with its sign."""
    return f"{value:+.2f}".replace("-", "−")


def convexity(curve, measure):
    """Margin of each inner point above the line between its neighbours, in dB."""
    bpp, values = curve.points[measure]
    return [values[i] - np.interp(bpp[i], bpp[[i - 1, i + 1]], values[[i - 1, i + 1]]) for i in range(1, len(bpp) - 1)]


def check(curve, measure, others):
    """Prints whether a curve is convex in the measure that it is for, and above others in MS-SSIM at each point."""
    margins = convexity(curve, measure)
    verdict = "yes" if all(margin >= 0 for margin in margins) else "NO"
    print(f"\n{curve.name}: all points on a convex curve of {bd.MEASURES[measure]}: {verdict}; margins over the"
          f" neighbours' line: {', '.join(f'{m:+.2f}' for m in margins)}")  # fmt: skip
    for other in others:
        margins = bd.margins(other, curve, "ms_ssim_rgb")
        verdict = "NO" if np.any(margins <= 0) else "yes"
        cells = ("no such file" if np.isnan(margin) else f"{margin:+.2f}" for margin in margins)
        print(f"{curve.name}: MS-SSIM above {other.label} at every point: {verdict}; margins (dB): {', '.join(cells)}")


def draw(measured, families, papers):
    """The curves by both measures, as a figure.

    Args:
      measured: `bd.Curve`s by name.
      families: Names of those that are this package's.
      papers: `bd.Curve`s of the paper's own models.
    """
    figure, axes = plt.subplots(1, 2, figsize=(12.5, 4.9), layout="constrained")
    for axis, measure, values in zip(axes, ("psnr_rgb", "ms_ssim_rgb"), ((24, 42), (7, 28))):
        draw_measured(axis, measure, measured, families)
        draw_papers(axis, measure, papers)
        kodak.finish(axis, "Kodak, mean of 24 images", measure, values=values)
    axes[0].legend(fontsize=8.5, frameon=False, loc="lower right")
    return figure


def draw_ms_ssim(measured, families, papers, bpg):
    """The curves by MS-SSIM at the rates where pages and previews are, with BPG's; arguments as `draw`, a figure."""
    figure, axis = plt.subplots(figsize=(8.6, 6.2), layout="constrained")
    draw_measured(axis, "ms_ssim_rgb", measured, families)
    kodak.draw(axis, bpg, "ms_ssim_rgb", color=kodak.COLORS["bpg"], linewidth=1.4)
    draw_papers(axis, "ms_ssim_rgb", papers)
    kodak.finish(axis, "Kodak, mean of 24 images", "ms_ssim_rgb", limits=(0, 1.3), values=(8, 24))
    axis.legend(fontsize=9, frameon=False, loc="lower right")
    return figure


def draw_measured(axis, measure, measured, families):
    """The curves that were measured here; those of this package stand out."""
    for name, curve in measured.items():
        ours = name in families
        style = dict(marker="o" if ours else "", markersize=5, linewidth=2.2 if ours else 1.4, zorder=3 if ours else 2)
        kodak.draw(axis, curve, measure, color=kodak.color(curve, families), **style)


def draw_papers(axis, measure, papers):
    """The points of the paper's own models."""
    for curve, marker in zip(papers, ("x", "+")):
        label = "the paper's own points" + (f" ({curve.label.partition('opt. ')[2].partition(')')[0]})")
        kodak.draw(axis, curve, measure, color=kodak.COLORS["paper"], linestyle="", marker=marker, zorder=4,
                   label=label)  # fmt: skip


def write_model_figures(family, points):
    """Writes each model's figures into the file beside it."""
    for point in points:
        file = family.models[point["quality"]].folder / "model.json"
        info = json.loads(file.read_text())
        info["kodak"] = {
            "bpp": round(point["bpp"], 4),
            "psnr": round(point["psnr_rgb"], 3),
            "ms_ssim": round(point["ms_ssim_rgb"], 5),
        }
        writing.write_text(file, json.dumps(info, indent=2) + "\n")


def points_tables(points, chosen):
    """Markdown lines: a table of all points for each codec."""
    lines = []
    for codec, _ in chosen:
        lines += [f"**{codec.label}**: {codec.settings}", "",
                  "| quality | bpp | PSNR | PSNR luma | MS-SSIM | MS-SSIM luma |",
                  "|---|---|---|---|---|---|"]  # fmt: skip
        for p in points[codec.name]:
            lines.append(f"| {p['quality']} | {p['bpp']:.4f} | {p['psnr_rgb']:.2f} | {p['psnr_luma']:.2f}"
                         f" | {p['ms_ssim_rgb']:.4f} | {p['ms_ssim_luma']:.4f} |")  # fmt: skip
        lines.append("")
    return lines


def main(argv):
    del argv
    paths = kodak.find_images()
    families = kodak.find_families()
    names = [family.name for family in families]
    records, chosen = kodak.measure(paths, baselines.installed(FLAGS.models_dir))
    results.write_results(FLAGS.results, records, chosen)
    points = results.aggregate(records)
    sets = results.curves_by_image(records, chosen)
    measured = {curve.name: curve for curve in next(iter(sets.values()))}
    published = kodak.published()
    # The paper's own table for squared error, and with a family for MS-SSIM also that one.
    kinds = {"mse", *(family.distortion for family in families)}
    papers = [published[name] for kind, name in kodak.PAPERS.items() if kind in kinds]
    results.print_table(points, chosen, list(published.values()))

    out = pathlib.Path(FLAGS.out)
    bpg = published["tfc-bpg444"]
    kodak.save(draw(measured, names, papers), out / "kodak.png")
    kodak.save(draw_ms_ssim(measured, names, papers, bpg), out / "ms_ssim.png")
    others = [measured[n] for n in ("jpeg", "jpeg2000", "webp", "avif", "jpegxl") if n in measured]
    anchors = [*papers, *others, bpg, *(published[n] for n in ("tfc-j2k-kdu5", "tfc-j2k-opj5", "tfc-jpeg420",
               "compressai-bmshj2018-factorized_mse_cpu"))]  # fmt: skip
    above = {name: results.above_by_image(sets, name, [other.name for other in others]) for name in names}

    rates = []
    for family in families:
        rates += [*rate_point_table(family, points[family.name]), ""]
    differences = bd_table([*(measured[name] for name in names), *papers], anchors)
    claims = [f"Image by image, {len(paths)} images × the rate points, at the rate of each point:", ""]
    for name in names:
        claims += [*claim_table(above[name], {other.name: other.label for other in others}), ""]
    agreement = ["The same codecs, measured here and as others published them:", "", *anchor_table(measured, published)]

    def document(folder):
        figures = [f"![Rate–distortion curves on Kodak]({folder}kodak.png)", "",
                   f"![The same by MS-SSIM, up to 1.3 bpp]({folder}ms_ssim.png)"]  # fmt: skip
        return [CAPTION, "", *rates, *figures, "", *differences, "", *claims, *agreement]

    lines = ["# Rate and distortion on Kodak", "", *document(""), "", "## All points", ""]
    writing.write_text(out / "kodak.md", "\n".join(lines + points_tables(points, chosen)))
    content = {codec.name: results.compressai_format(codec, points[codec.name]) for codec, _ in chosen}
    writing.write_text(out / "kodak.json", json.dumps(content, indent=1))
    for path, text in (
        (FLAGS.measurements, document),
        (FLAGS.readme, lambda folder: readme_part(
            families, points, measured, [*papers, *others], above, f"{folder}kodak.png")),
    ):  # fmt: skip
        folder = os.path.relpath(out, pathlib.Path(path).parent) + "/"
        results.update_part(pathlib.Path(path), "\n".join(text(folder)), "rd")
    for family in families:
        write_model_figures(family, points[family.name])

    print("\n" + "\n".join([*rates, *differences, "", *claims, *agreement]))
    for family in families:
        measure = kodak.MEASURES[family.distortion]
        check(measured[family.name], measure, [measured["jpeg"], measured["jpeg2000"]])
    print(f"\nTables: {out}")
    if FLAGS.report:
        shown = results.viewer(paths, chosen, FLAGS.viewer_images, [0.2, 0.5, 1.0])
        content = report.Report(
            "balle2017 on Kodak", sets, list(published.values()), [paper.name for paper in papers], shown)  # fmt: skip
        report.write(pathlib.Path(FLAGS.results) / "report.html", content)
        print(f"Report: {FLAGS.results}/report.html")


if __name__ == "__main__":
    kodak.define_flags()
    flags.DEFINE_string("out", str(kodak.ROOT / "docs/rd"), "Folder for table, curves and JSON.")
    kodak.define_measurements_flag()
    flags.DEFINE_string("readme", str(kodak.ROOT / "README.md"), "File whose part between the markers is replaced.")
    flags.DEFINE_bool("report", True, "Write the HTML report, too.")
    flags.DEFINE_integer("viewer_images", 6, "How many images the report shows in its viewer.")
    flags.adopt_module_key_flags(kodak)
    app.run(main)
