"""What the coding tables cost: tfc's defaults, one table a channel, and the ones that ship, on real latents.

    python benchmarks/coding_tables.py [MODEL ...] [--images ../shared/images/kodak] [--update]

All code the same rounded latents of each image, so the difference is the tables' alone. tfc's default
is one string with 12 bits of precision, which leaves 2⁻⁸ of each channel's probability to the escape
code. One table a channel is the tables that ship with their classes merged, in the same slices: what
is left of the paper's curve if the code does not adapt to the picture. The last columns are
the whole file, with its header, and the entropy that the prior itself predicts. The BD-rates
are against the paper's own table. Takes about half a minute a model.
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
COLUMNS = ("tfc's default", "one table a channel", "competing tables", "whole file", "prior")


def slice_bits(coder, latents, slice_length):
    """Bits of the slices of latents int32 `[positions, N]`."""
    counts = slice_counts(tf.constant([len(latents)]), tf.constant([slice_length]))
    return 8 * int(np.sum(coder.to_bytes(*coder.encode(tf.constant(latents), counts))[1]))


def measure(name, files):
    """Means over images: bits per pixel as in `COLUMNS`, and PSNR in dB."""
    model = codec.load(name)
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
        psnr = metrics.psnr(pixels, model.decode(bitstream.unpack(file)))
        figures.append([*bits / (pixels.shape[0] * pixels.shape[1]), psnr])
    return np.mean(figures, 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help="names of rate points (default: all that ship)")
    parser.add_argument("--images", default="../shared/images/kodak", help="folder of PNG files")
    parser.add_argument("--update", action="store_true", help="put the table into docs/measurements.md")
    args = parser.parse_args()
    files = sorted(glob.glob(os.path.join(args.images, "*.png")))
    if not files:
        sys.exit(f"There are no PNG files in {args.images}: name a folder with --images.")
    names = args.models or [info["name"] for info in codec.list_models()]

    figures = []
    lines = ["| | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for name in names:
        figures.append(measure(name, files))
        lines.append(f"| `{name}` | " + " | ".join(f"{bpp:.4f}" for bpp in figures[-1][:-1]) + " |")
        print(lines[-1], flush=True)
    if len(names) > 2:
        published = {curve.name: curve for curve in bd.load_published(ROOT / "experiments/data/kodak")}
        paper, cells = published["tfc-balle-2017-iclr-opt-mse"], []
        for bpp in np.transpose(figures)[:-1]:
            curve = bd.Curve("tables", "tables", "")
            curve.add("psnr_rgb", bpp, np.array(figures)[:, -1])
            cells.append(f"{bd.bd_rate(paper, curve):+.1f} %".replace("-", "−"))
        lines.append("| BD-rate against the paper | " + " | ".join(cells) + " |")
        print(lines[-1])
    if args.update:
        text = f"Bits per pixel, means of {len(files)} images:\n\n" + "\n".join(lines)
        results.update_part(ROOT / "docs" / "measurements.md", text, "tables")


if __name__ == "__main__":
    main()
