"""Reconstructions at matched file size: this codec, JPEG, JPEG 2000 (paper: section 4).

    python experiments/reconstructions.py

Takes about a minute.
"""

from absl import app, flags
import matplotlib.pyplot as plt

from balle2017.evaluation import baselines, metrics
from balle2017.pictures import images
import kodak

FLAGS = flags.FLAGS


def reconstructions(path, family):
    """An image through this codec, and JPEG and JPEG 2000 at the size of its file.

    Args:
      path: Image file.
      family: `baselines.RatePoints`; the model that comes nearest to `--bpp` sets the size.

    Returns:
      List of lines of a caption and pixels uint8 `[height, width, 3]`, the original first.
    """
    pixels = images.read(path).pixels
    height, width, _ = pixels.shape
    quality, data = baselines.match_size(family, pixels, FLAGS.bpp * height * width / 8)
    files = [(family, quality, data)]
    for codec in (baselines.Jpeg(), baselines.Jpeg2000()):
        files.append((codec, *baselines.match_size(codec, pixels, len(data))))
    shown = [([f"Original, {path.name}", f"{width}×{height}"], pixels)]
    for codec, quality, data in files:
        decoded = codec.decode(data)
        size = f"{len(data)} bytes, {8 * len(data) / (height * width):.3f} bpp"
        figures = f"PSNR {metrics.psnr(pixels, decoded):.2f} dB"
        similarity = metrics.ms_ssim(pixels, decoded)
        if similarity is not None:
            figures += f", MS-SSIM {similarity:.4f}"
        print(f"{path.name} {codec.label:18} quality {quality:<8} {size}, {figures}")
        shown.append(([f"{codec.label}: {size}", figures], decoded))
    return shown


def draw(rows):
    """A row of whole images and one of a magnified part for each image, as a figure.

    Args:
      rows: What `reconstructions` returns of each image.
    """
    figure, axes = plt.subplots(
        2 * len(rows), 4, figsize=(16, 6.4 * len(rows)), layout="constrained", squeeze=False)  # fmt: skip
    for row, shown in enumerate(rows):
        height, width, _ = shown[0][1].shape
        # A part of the middle: artefacts are smaller than a printed page shows.
        top, left, side = int(0.4 * height), int(0.4 * width), min(height, width) // 4
        for column, (caption, image) in enumerate(shown):
            whole, part = axes[2 * row : 2 * row + 2, column]
            whole.imshow(image)
            whole.set_title("\n".join(caption), fontsize=9, loc="left")
            part.imshow(image[top : top + side, left : left + side * 3 // 2], interpolation="nearest")
            part.set_title(f"the same, {side * 3 // 2}×{side} pixels of the middle", fontsize=9, loc="left")
    for axis in axes.flat:
        axis.axis("off")
    return figure


def main(argv):
    del argv
    paths = {path.stem: path for path in kodak.find_images()}
    [family, *_] = kodak.find_families()
    picked = [paths[name] for name in FLAGS.pictures if name in paths] or list(paths.values())[:2]
    kodak.save(draw([reconstructions(path, family) for path in picked]), FLAGS.out)


if __name__ == "__main__":
    kodak.define_flags("reconstructions.png")
    flags.DEFINE_list("pictures", ["05", "15", "21"], "Images by name, without the suffix.")
    flags.DEFINE_float("bpp", 0.2, "Rate to aim at; the model nearest to it sets the size for the others.")
    flags.adopt_module_key_flags(kodak)
    app.run(main)
