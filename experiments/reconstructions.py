"""Reconstructions at matched file size: this codec, JPEG, JPEG 2000 (paper: section 4).

    python experiments/reconstructions.py

Takes about a minute.
"""

import pathlib

from absl import app, flags
import matplotlib.pyplot as plt

from balle2017.evaluation import baselines, metrics
from balle2017.pictures import images
import kodak

FLAGS = flags.FLAGS


def main(argv):
    del argv
    paths = {path.stem: path for path in kodak.find_images()}
    [family, *_] = kodak.find_families()
    picked = [paths[name] for name in FLAGS.pictures if name in paths] or list(paths.values())[:2]
    figure, axes = plt.subplots(
        2 * len(picked), 4, figsize=(16, 5.9 * len(picked)), layout="constrained",
        gridspec_kw={"height_ratios": [1, 1] * len(picked)})  # fmt: skip
    for row, path in enumerate(picked):
        pixels = images.read(path).pixels
        height, width, _ = pixels.shape
        quality, data = baselines.match_size(family, pixels, FLAGS.bpp * height * width / 8)
        files = [(family, quality, data)]
        for codec in (baselines.Jpeg(), baselines.Jpeg2000()):
            files.append((codec, *baselines.match_size(codec, pixels, len(data))))
        shown = [(f"Original, {pathlib.Path(path).name}", pixels)]
        for codec, quality, data in files:
            decoded = codec.decode(data)
            psnr, similarity = metrics.psnr(pixels, decoded), metrics.ms_ssim(pixels, decoded)
            figures = f"{len(data)} bytes, {8 * len(data) / (height * width):.3f} bpp, {psnr:.2f} dB"
            if similarity is not None:
                figures += f", MS-SSIM {similarity:.4f}"
            print(f"{path.name} {codec.label:18} quality {quality:<8} {figures}")
            shown.append((f"{codec.label}: {figures}", decoded))
        # A part of the middle, magnified: artefacts are smaller than a printed page shows.
        top, left, side = int(0.4 * height), int(0.4 * width), min(height, width) // 4
        for column, (title, image) in enumerate(shown):
            axes[2 * row, column].imshow(image)
            axes[2 * row, column].set_title(title, fontsize=8.5)
            detail = image[top : top + side, left : left + side * 3 // 2]
            axes[2 * row + 1, column].imshow(detail, interpolation="nearest")
    for axis in axes.flat:
        axis.axis("off")
    kodak.save(figure, FLAGS.out)


if __name__ == "__main__":
    kodak.define_flags("reconstructions.png")
    flags.DEFINE_list("pictures", ["05", "15", "21"], "Images by name, without the suffix.")
    flags.DEFINE_float("bpp", 0.2, "Rate to aim at; the model nearest to it sets the size for the others.")
    app.run(main)
