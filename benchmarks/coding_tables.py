"""What the coding tables cost: tfc's defaults, one table a channel, and the ones that ship, on real latents.

    python benchmarks/coding_tables.py [MODEL ...] [--images ../shared/images/kodak] [--update]

All code the same rounded latents of each image, so the difference is the tables' alone. tfc's default
is one string with 12 bits of precision, which leaves 2⁻⁸ of each channel's probability to the escape
code. One table a channel is the tables that ship with their classes merged, in the same slices: what
is left of the paper's curve if the code does not adapt to the picture. The last columns are
the whole file, with its header, and the entropy that the prior itself predicts. The BD-rates are those of
each family by the measure that it was trained for, against the paper's own table for that. Takes about half a
minute a model.
"""

import argparse
import glob
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from PIL import Image
import tensorflow as tf
import tensorflow_compression as tfc
from tqdm import tqdm

from balle2017 import codec
from balle2017.container import bitstream
from balle2017.container.container_graph import slice_counts
from balle2017.entropy.competition import merged_tables
from balle2017.entropy.tfc_coder import TfcCoder
from balle2017.evaluation import bd, metrics, results
from balle2017.model.competing_prior import prior_of
from balle2017.model.objective import bottleneck_of
from balle2017.saved_model import reading
from reference import single_density  # beside this file

ROOT = pathlib.Path(__file__).resolve().parents[1]
# The paper's own tables, by what the models were trained for.
PAPERS = {"mse": "tfc-balle-2017-iclr-opt-mse", "ms_ssim": "tfc-balle-2017-iclr-opt-msssim"}
COLUMNS = ("tfc's default", "one table a channel", "competing tables", "whole file", "prior")


def slice_bits(coder, latents, slice_length):
    """Bits of the slices of latents int32 `[positions, N]`."""
    counts = slice_counts(tf.constant([len(latents)]), tf.constant([slice_length]))
    return 8 * int(np.sum(coder.to_bytes(*coder.encode(tf.constant(latents), counts))[1]))


def measure(name, files, models_dir=None):
    """What a model was trained for; and means over images: bits per pixel as in `COLUMNS`, PSNR in dB and MS-SSIM."""
    model = codec.load(name, models_dir)
    point = reading.load_rate_point(str(model.folder))
    default = tfc.ContinuousBatchedEntropyModel(
        single_density(point.prior), coding_rank=3, compression=True, offset_heuristic=False
    )
    bottleneck = bottleneck_of(prior_of(point.prior))
    coders = [TfcCoder(tables) for tables in (merged_tables(point.tables), point.tables)]
    figures = []
    for path in tqdm(files, desc=name, leave=False, disable=None):
        pixels = np.asarray(Image.open(path).convert("RGB"))
        latents = np.concatenate(list(model.analyze(pixels)))
        floating = tf.constant(latents[None], tf.float32)
        flat = latents.reshape(-1, point.num_latents)
        file = model.compress(pixels)
        bits = np.array([
            8 * len(default.compress(floating).numpy()[0]),
            *(slice_bits(coder, flat, point.slice_length) for coder in coders),
            8 * len(file),
            float(bottleneck(floating, training=False)[1][0]),
        ])  # fmt: skip
        decoded = model.decode(bitstream.unpack(file))
        quality = metrics.psnr(pixels, decoded), metrics.ms_ssim(pixels, decoded)
        figures.append([*bits / (pixels.shape[0] * pixels.shape[1]), *quality])
    return model.info.get("distortion", "mse"), np.mean(figures, 0)


def against_the_paper(distortion, figures):
    """A row of the table: BD-rates of rate points of one family by the measure that they were trained for.

    Args:
      distortion: `mse` or `ms_ssim`.
      figures: What `measure` returns of each.
    """
    published = {curve.name: curve for curve in bd.load_published(ROOT / "experiments/data/kodak")}
    paper = published[PAPERS[distortion]]
    measure, values = {"mse": ("psnr_rgb", -2), "ms_ssim": ("ms_ssim_rgb", -1)}[distortion]
    cells = []
    for bpp in np.transpose(figures)[: len(COLUMNS)]:
        curve = bd.Curve("tables", "tables", "")
        curve.add(measure, bpp, np.array(figures)[:, values])
        rate = bd.bd_rate(paper, curve, measure)
        cells.append("–" if rate is None else f"{rate:+.1f} %".replace("-", "−"))
    return f"| BD-rate by {bd.MEASURES[measure].partition(' ')[0]} against the paper | " + " | ".join(cells) + " |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help="names of rate points (default: all that ship)")
    parser.add_argument("--images", default="../shared/images/kodak", help="folder of PNG files")
    parser.add_argument("--models_dir", help="folder of models (default: those of the package)")
    parser.add_argument("--update", action="store_true", help="put the table into docs/measurements.md")
    args = parser.parse_args()
    files = sorted(glob.glob(os.path.join(args.images, "*.png")))
    if not files:
        sys.exit(f"There are no PNG files in {args.images}: name a folder with --images.")
    names = args.models or [info["name"] for info in codec.list_models(args.models_dir)]

    by_distortion = {}
    lines = ["| | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for name in names:
        distortion, figures = measure(name, files, args.models_dir)
        by_distortion.setdefault(distortion, []).append(figures)
        lines.append(f"| `{name}` | " + " | ".join(f"{bpp:.4f}" for bpp in figures[: len(COLUMNS)]) + " |")
        print(lines[-1], flush=True)
    for distortion, figures in by_distortion.items():
        if len(figures) > 2:
            lines.append(against_the_paper(distortion, figures))
            print(lines[-1])
    if args.update:
        text = f"Bits per pixel, means of {len(files)} images:\n\n" + "\n".join(lines)
        results.update_part(ROOT / "docs" / "measurements.md", text, "tables")


if __name__ == "__main__":
    main()
