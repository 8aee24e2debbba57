"""What the coding tables cost: tfc's defaults against the ones that ship, on real latents.

    python benchmarks/coding_tables.py [MODEL ...] [--images ../shared/images/kodak]

Both code the same rounded latents of each image as one range coded string, so the difference is
the tables' alone: tfc's default has 12 bits of precision and leaves 2⁻⁸ of each channel's
probability to the escape code, which channels that carry nothing pay for at every position.
The last columns are the whole file, with its header and slices, and the entropy that the prior
itself predicts. Takes about a minute a model.
"""

import argparse
import glob
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
import tensorflow_compression as tfc
from PIL import Image
from tqdm import tqdm

from balle2017 import codec, export
from balle2017.prior import FactorizedPrior, set_prior_parameters


def bits_with_shipped_tables(tables, latents):
    """Bits of one string of `[positions, filters]` latents under `CodingTables`."""
    active = tables.active
    values = tf.constant(latents[:, active] - tables.offsets[active])
    handle = tfc.create_range_encoder([1], tf.constant(tables.lookup()))
    handle = tfc.entropy_encode_channel(handle, values[None])
    return 8 * len(tfc.entropy_encode_finalize(handle).numpy()[0])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help="names of rate points (default: all that ship)")
    parser.add_argument("--images", default="../shared/images/kodak", help="folder of PNG files")
    args = parser.parse_args()
    files = sorted(glob.glob(os.path.join(args.images, "*.png")))
    if not files:
        sys.exit(f"There are no PNG files in {args.images}: name a folder with --images.")
    names = args.models or [info["name"] for info in codec.list_models()]

    print(f"bits per pixel, mean of {len(files)} images")
    print(f"{'model':16s}{'not coded':>10s}{'tfc default':>13s}{'shipped':>10s}{'saved':>8s}{'file':>10s}{'prior':>10s}")
    for name in names:
        model = codec.load(name)
        point = export.load_rate_point(str(model.folder))
        prior = FactorizedPrior(batch_shape=[point.num_latents])
        set_prior_parameters(prior, point.prior)
        default = tfc.ContinuousBatchedEntropyModel(
            prior, coding_rank=3, compression=True, offset_heuristic=False
        )
        figures = []
        for path in tqdm(files, desc=name, leave=False):
            pixels = np.asarray(Image.open(path).convert("RGB"))
            latents = np.concatenate(list(model.analyze(pixels))).astype(np.int32)
            floating = tf.constant(latents[None], tf.float32)
            strings = default.compress(floating).numpy()
            predicted = float(default(floating, training=False)[1][0])
            shipped = bits_with_shipped_tables(point.tables, latents.reshape(-1, point.num_latents))
            whole = 8 * len(model.compress(pixels))
            area = pixels.shape[0] * pixels.shape[1]
            figures.append(np.array([8 * len(strings[0]), shipped, whole, predicted]) / area)
        usual, shipped, whole, predicted = np.mean(figures, 0)
        silent = point.num_latents - len(point.tables.active)
        print(
            f"{name:16s}{silent:10d}{usual:13.4f}{shipped:10.4f}{shipped / usual - 1:8.1%}{whole:10.4f}{predicted:10.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
