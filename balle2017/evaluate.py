"""Measures codecs on images: actual bytes, distortion and time, for any images and codecs.

`python -m balle2017.evaluate --images FOLDER --out DIR`
"""

import os
import pathlib

from balle2017.commands import ending, extras
from balle2017.commands.parser import Parser

PROGRAM = "balle2017.evaluate"


def main(argv=None):
    """Runs the command; returns the exit status."""
    args = _parser().parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with extras.needed("evaluate", PROGRAM):
        from balle2017.evaluation import baselines, bd, measuring, metrics, report, results

    try:
        if not os.path.isdir(args.images):
            raise ValueError(f"There is no folder {args.images!r}: name one with --images.")
        paths = measuring.find_images(args.images)
        chosen = measuring.choose(args.codecs, args.quality, args.models_dir)
        published = bd.load_published(args.published) if args.published else []
        out = pathlib.Path(args.out)
        out.mkdir(parents=True, exist_ok=True)
        records = measuring.evaluate(paths, chosen, out / "per_image")
    except (ValueError, OSError, baselines.CodecUnavailable) as error:
        return ending.complain(error, ending.FAILED, program=PROGRAM)
    if not records:
        return ending.complain("None of the images could be read.", ending.FAILED, program=PROGRAM)
    try:
        results.write_results(out, records, chosen)
        results.print_table(results.aggregate(records), chosen, published)
        small = {r["image"] for r in records if r["ms_ssim_rgb"] is None and r["psnr_rgb"] is not None}
        if small:
            side = metrics.MS_SSIM_MIN_SIDE
            print(f"\nNo MS-SSIM, being smaller than {side} pixels: {', '.join(sorted(small))}")
        if args.report:
            readable = {record["image"] for record in records}
            paths = [path for path in paths if path.name in readable]
            shown = results.viewer(paths, chosen, args.viewer_images, args.viewer_bpp)
            content = report.Report(args.title, results.curves_by_image(records, chosen), published, viewer=shown)
            report.write(out / "report.html", content)
            print(f"\nReport: {out / 'report.html'}")
    except OSError as error:
        return ending.complain(error, ending.FAILED, program=PROGRAM)
    return 0


def _parser():
    parser = Parser(
        prog="python -m balle2017.evaluate",
        description="Measures codecs on images: actual bytes, distortion and time.",
    )
    parser.add_argument("--images", metavar="FOLDER", required=True, help="the images to measure")
    parser.add_argument(
        "--out", metavar="DIR", required=True, help="folder for the results; a stopped run goes on from it"
    )
    parser.add_argument(
        "--codecs",
        metavar="NAME,…",
        type=_words,
        default=[],
        help="codecs by name (jpeg, jpeg2000, webp, avif, jpegxl), families of models (bls2017-mse), or"
        " module:Class (default: all that are installed)",
    )
    parser.add_argument("--models_dir", metavar="DIR", help="folder of models (default: those of the package)")
    parser.add_argument(
        "--quality",
        metavar="CODEC=NUMBER,…",
        action="append",
        default=[],
        help="qualities in place of the codec's own; may be given several times",
    )
    parser.add_argument(
        "--published",
        metavar="FOLDER",
        help="published results for the same images, as further curves: CompressAI's JSON or"
        " tensorflow-compression's tables (experiments/data/kodak)",
    )
    parser.add_argument(
        "--no_report",
        "--noreport",
        dest="report",
        action="store_false",
        help="leave out report.html, one page that needs nothing else",
    )
    parser.add_argument("--title", default="Rate–distortion report", help="title of the report (default: %(default)s)")
    parser.add_argument(
        "--viewer_images", metavar="N", type=int, default=6, help="images in the report's viewer (default: %(default)s)"
    )
    parser.add_argument(
        "--viewer_bpp",
        metavar="BPP,…",
        type=_rates,
        default=[0.2, 0.5, 1.0],
        help="rates at which the viewer compares them (default: 0.2,0.5,1)",
    )
    return parser


def _words(text):
    return [word.strip() for word in text.split(",") if word.strip()]


def _rates(text):
    rates = [float(word) for word in _words(text)]
    if not all(0 < rate < float("inf") for rate in rates):
        raise ValueError
    return rates


_rates.__name__ = "list of positive numbers"


if __name__ == "__main__":
    ending.run(main, PROGRAM)
