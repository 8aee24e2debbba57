"""What rate points of one channel save of the bits of gray photographs, against those for RGB at equal luma PSNR.

    python -m balle2017.train --channels=1 --init_from=saved_models/bls2017-mse-6 --name=gray-6 --lmbda=0.0483 \\
        --num_filters=160 --num_latents=303 --slice_length=24 --num_classes=24 --relaxation=mixed --steps=1000 \\
        --learning_rate=0.004 --ema=0.99 --fine_tune_steps=0 --batch_size=7 --patch_size=192 --data=FOLDER
    python experiments/gray.py --data=FOLDER --gray=runs/models/gray-6

λ, filters, latents and length of slices are those of the RGB point; its `model.json` has them.
Takes gray versions of the photographs of the folder that training holds out. With `--steps=1 --learning_rate=0` the
transforms are those of the RGB point and the tables alone are new. A minute for each point on 2 cores.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from absl import app, flags
import numpy as np
from tqdm import tqdm

from balle2017 import codec
from balle2017.evaluation import metrics
from balle2017.training import photographs
import kodak

FLAGS = flags.FLAGS


def rate_and_quality(model, images):
    """Means over gray photographs `(name, uint8 [height, width, 1])`: bits per pixel, and PSNR of the luma in dB."""
    figures = []
    for _, pixels in tqdm(images, desc=model.name, leave=False, disable=None):
        picture = np.repeat(pixels, model.channels, 2)
        data = model.compress(picture)
        decoded = codec.decompress(data, os.path.dirname(model.folder)).pixels
        bpp = 8 * len(data) / (pixels.shape[0] * pixels.shape[1])
        figures.append((bpp, metrics.psnr_luma(picture, decoded)))
    return np.mean(figures, 0)


def saving(point, curve):
    """Part of the bits that a point saves against a curve, at the point's quality.

    Args:
      point: `(bpp, PSNR)`.
      curve: `(bpp, PSNR)` of points by ascending rate; the logarithm of the rate is interpolated linearly over PSNR.

    Returns:
      At most 1, negative if the point takes more; NaN where the curve does not reach its quality.
    """
    bpp, psnr = np.transpose(curve)
    expected = np.exp(np.interp(point[1], psnr, np.log(bpp), left=np.nan, right=np.nan))
    return 1 - point[0] / expected


def main(argv):
    del argv
    images = photographs.load_images(photographs.find_files([FLAGS.data]), 1, 128)
    _, held_out = photographs.hold_out(images, FLAGS.validation_fraction)
    family = list(kodak.find_family("mse").models.values())
    curve = [rate_and_quality(model, held_out) for model in family]
    print(f"{len(held_out)} gray photographs that are held out:\n")
    lines = ["| model | bpp | PSNR, luma (dB) | bits saved |", "|---|---|---|---|"]
    lines += [f"| `{model.name}` | {bpp:.4f} | {psnr:.2f} | |" for model, (bpp, psnr) in zip(family, curve)]
    for folder in FLAGS.gray:
        model = codec.load(os.path.abspath(folder))
        bpp, psnr = rate_and_quality(model, held_out)
        lines.append(f"| `{model.name}` | {bpp:.4f} | {psnr:.2f} | {100 * saving((bpp, psnr), curve):.1f} % |")
    print("\n".join(lines))


if __name__ == "__main__":
    flags.DEFINE_string("data", str(kodak.ROOT.parent / "shared/images/train"), "Folder of training photographs.")
    flags.DEFINE_float("validation_fraction", 0.05, "Part of them that training holds out.", 0, 0.9)
    flags.DEFINE_string("models_dir", None, "Folder of the RGB models; by default those that come with the package.")
    flags.DEFINE_multi_string("gray", [], "Folder of an exported point of one channel. May be repeated.")
    app.run(main)
