"""Measures codecs on images: actual bytes, distortion and time, for any images and codecs.

`python -m balle2017.evaluate --images FOLDER --out DIR`
"""

import os
import pathlib
import sys

try:
    from absl import app, flags

    from balle2017.evaluation import baselines, bd, measuring, metrics, report, results
except ModuleNotFoundError as missing:
    sys.exit(f"balle2017.evaluate needs the package {missing.name}: pip install 'balle2017[evaluate]'.")

FLAGS = flags.FLAGS


def main(argv):
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        if len(argv) > 1:
            raise ValueError(f"Unexpected argument {argv[1]!r}: name the images with --images.")
        if not os.path.isdir(FLAGS.images):
            raise ValueError(f"There is no folder {FLAGS.images!r}: name one with --images.")
        paths = measuring.find_images(FLAGS.images)
        chosen = measuring.choose(FLAGS.codecs, FLAGS.quality, FLAGS.models_dir)
        published = bd.load_published(FLAGS.published) if FLAGS.published else []
        out = pathlib.Path(FLAGS.out)
        out.mkdir(parents=True, exist_ok=True)
        records = measuring.evaluate(paths, chosen, out / "per_image")
    except (ValueError, OSError, baselines.CodecUnavailable) as error:
        sys.exit(f"balle2017.evaluate: {error}")
    if not records:
        sys.exit("balle2017.evaluate: None of the images could be read.")
    results.write_results(out, records, chosen)
    results.print_table(results.aggregate(records), chosen, published)
    small = {r["image"] for r in records if r["ms_ssim_rgb"] is None and r["psnr_rgb"] is not None}
    if small:
        side = metrics.MS_SSIM_MIN_SIDE
        print(f"\nNo MS-SSIM, being smaller than {side} pixels: {', '.join(sorted(small))}")
    if FLAGS.report:
        rates = [float(word) for word in FLAGS.viewer_bpp]
        readable = {record["image"] for record in records}
        paths = [path for path in paths if path.name in readable]
        shown = results.viewer(paths, chosen, FLAGS.viewer_images, rates)
        content = report.Report(FLAGS.title, results.curves_by_image(records, chosen), published, viewer=shown)
        report.write(out / "report.html", content)
        print(f"\nReport: {out / 'report.html'}")


def define_flags():
    flags.DEFINE_string("images", None, "Folder of the images to measure.", required=True)
    flags.DEFINE_string("out", None, "Folder for the results; a stopped run goes on from it.", required=True)
    flags.DEFINE_list(
        "codecs", [], "Codecs by name, families of models (bls2017-mse), or module:Class; "
        "by default all that are installed: " + ", ".join(codec.name for codec in baselines.CODECS))  # fmt: skip
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
