"""Skin, sky, text and foliage at the two lowest rate points, for squared error and for MS-SSIM, beside AVIF and JPEG.

    python experiments/crops.py

All files of a photograph have one size. It is that of the model for MS-SSIM; the family for squared error goes to
it with `--effort`, AVIF and JPEG take the quality that comes nearest (JPEG has no files as small for some
photographs). Writes a picture for each of the two rate points, and a table with what a mean over a picture does not
show: how far colours are off, and whether the grid of the latents can be seen. Takes about a minute.
"""

import dataclasses
import pathlib
import sys

from absl import app, flags

from balle2017 import codec
from balle2017.evaluation import artefacts, baselines, metrics, panels
from balle2017.files import writing
from balle2017.model.network import STRIDE
from balle2017.pictures import images
import kodak

FLAGS = flags.FLAGS


@dataclasses.dataclass(frozen=True)
class Crop:
    """A part of a photograph that shows something, `[top : top + HEIGHT, left : left + WIDTH]`."""

    subject: str
    photograph: str
    top: int
    left: int

    def of(self, pixels):
        """The part, as far as the picture is large enough for it."""
        top, left = max(0, min(self.top, pixels.shape[0] - HEIGHT)), max(0, min(self.left, pixels.shape[1] - WIDTH))
        return pixels[top : top + HEIGHT, left : left + WIDTH]


HEIGHT, WIDTH = 216, 288
CROPS = (Crop("skin", "04", 290, 130), Crop("sky", "21", 20, 280), Crop("text", "14", 295, 440),
         Crop("foliage", "13", 110, 300))  # fmt: skip


def files_of_one_size(pixels, number, families):
    """A picture through all codecs.

    Args:
      pixels: uint8 `[height, width, 3]`.
      number: Of the rate point, counted from 0.
      families: The `baselines.RatePoints` for squared error and for MS-SSIM.

    Returns:
      List of names, sizes in bytes and decoded pixels.
    """
    squared_error, similarity = (list(family.models.values()) for family in families)
    data = similarity[number].compress(pixels, effort=FLAGS.effort)
    bpp = 8 * len(data) / (pixels.shape[0] * pixels.shape[1])
    model, own = codec.compress_to_bpp(squared_error, pixels, bpp, effort=FLAGS.effort)
    found = [(model.name, own, families[0]), (similarity[number].name, data, families[1])]
    for rival in (baselines.find("avif"), baselines.find("jpeg")):
        found.append((rival.label, baselines.match_size(rival, pixels, len(data))[1], rival))
    return [(name, len(file), used.decode(file)) for name, file, used in found]


def row_of(crop, name, size, pixels, decoded):
    """A row of the table."""
    height, width, _ = pixels.shape
    grid = artefacts.border_visibility(pixels, decoded, range(STRIDE, height, STRIDE), range(STRIDE, width, STRIDE))
    shift = ", ".join(f"{level:+.1f}" for level in artefacts.colour_shift(pixels, decoded)).replace("-", "−")
    return (
        f"| {crop.subject} ({crop.photograph}) | {name} | {8 * size / (height * width):.3f}"
        f" | {metrics.psnr(pixels, decoded):.2f} | {metrics.ms_ssim(pixels, decoded):.4f} | {shift} | {grid:.2f} |"
    )


def main(argv):
    del argv
    paths = {path.stem: path for path in kodak.find_images()}
    families = [kodak.find_family(distortion) for distortion in ("mse", "ms_ssim")]
    crops = [crop for crop in CROPS if crop.photograph in paths]
    if not crops:
        sys.exit(
            f"None of {', '.join(crop.photograph for crop in CROPS)} is in {FLAGS.images}: name the Kodak photographs."
        )
    rows, pictures, out = [], [], pathlib.Path(FLAGS.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    for number in range(min(2, *(len(family.models) for family in families))):
        shown = []
        for crop in crops:
            pixels = images.read(paths[crop.photograph]).pixels
            shown.append((crop.of(pixels), [f"Original, {crop.photograph}.png", "", ""]))
            for name, size, decoded in files_of_one_size(pixels, number, families):
                rows.append(row_of(crop, name, size, pixels, decoded))
                print(rows[-1], flush=True)
                shown.append((crop.of(decoded), [name, *panels.figures(pixels, decoded, size)]))
        pictures.append(out.parent / f"{out.name}-{number + 1}.png")
        with writing.replacing(pictures[-1]) as file:
            panels.comparison(shown, len(shown) // len(crops)).save(file, "PNG", optimize=True)
    writing.write_text(out.with_suffix(".md"), "\n".join(document(rows, pictures)))
    print(f"Pictures and table: {out.with_suffix('.md')}, {', '.join(map(str, pictures))}")


def document(rows, pictures):
    """Markdown lines of the table and its pictures."""
    size = f"one size, this package's with effort {FLAGS.effort}" if FLAGS.effort else "about one size"
    return [
        "# Squared error and MS-SSIM, looked at",
        "",
        f"Parts of Kodak photographs, pixel for pixel. The files of each photograph have {size}; AVIF and JPEG take",
        "the quality that comes nearest. The figures are of the whole photographs.",
        "",
        *(f"![Skin, sky, text and foliage]({picture.name})\n" for picture in pictures),
        "Colours: how many of 255 levels red, green and blue are off on the mean. Grid: how much the error jumps",
        f"across the borders of {STRIDE}×{STRIDE} pixels, against its changes from pixel to pixel beside them; at 1",
        "there is no grid.",
        "",
        "| shows | codec | bpp | PSNR (dB) | MS-SSIM | colours | grid |",
        "|---|---|---|---|---|---|---|",
        *rows,
        "",
    ]


if __name__ == "__main__":
    kodak.define_flags()
    flags.DEFINE_string(
        "out", str(kodak.ROOT / "docs/eye/crops"), "Where the pictures and the table go, without suffix."
    )
    flags.DEFINE_integer(
        "effort", 1, "Effort of this package's files; with 0 the sizes are only near each other.", 0, 9
    )
    flags.adopt_module_key_flags(kodak)
    app.run(main)
