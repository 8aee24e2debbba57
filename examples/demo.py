"""`make demo`: a photograph through a shipped model, beside JPEG at the same size.

Prints file size, bits per pixel, PSNR and MS-SSIM of both, and writes a picture of a part of the
original, the reconstruction and JPEG side by side, labelled; `docs/comparison.png` is one.
"""

import pathlib

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from balle2017 import codec
from balle2017.evaluation import baselines, metrics

HERE = pathlib.Path(__file__).resolve().parent
PHOTOGRAPH = HERE / "kodak-23.png"
OUTPUT = pathlib.Path("demo")
# The lowest rate at which the reconstruction still looks good; JPEG falls apart there.
MODEL = "bls2017-mse-2"
# What the comparison shows of the photograph: left, top, right, bottom.
PART = (40, 60, 460, 460)
GAP, CAPTION, FONT_SIZE = 8, 62, 17


def figures(original, decoded, size):
    """File size and measures in words."""
    bpp = 8 * size / (original.shape[0] * original.shape[1])
    psnr, ms_ssim = metrics.psnr(original, decoded), metrics.ms_ssim(original, decoded)
    return f"{size / 1000:.1f} kB, {bpp:.3f} bpp", f"PSNR {psnr:.2f} dB, MS-SSIM {ms_ssim:.4f}"


def comparison(panels):
    """Pictures side by side, with captions below.

    Args:
      panels: List of `(pixels, lines)`: uint8 `[height, width, 3]` of one
        shape, and the lines of its caption.

    Returns:
      `PIL.Image.Image`.
    """
    height, width, _ = panels[0][0].shape
    image = Image.new("RGB", (len(panels) * (width + GAP) - GAP, height + CAPTION), "white")
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(FONT_SIZE)
    for index, (pixels, lines) in enumerate(panels):
        left = index * (width + GAP)
        image.paste(Image.fromarray(pixels), (left, 0))
        draw.multiline_text((left, height + 6), "\n".join(lines), fill="black", font=font, spacing=5)
    return image


def main():
    original = np.asarray(Image.open(PHOTOGRAPH).convert("RGB"))
    data = codec.load(MODEL).compress(original)
    decoded = codec.decompress(data).pixels
    jpeg = baselines.find("jpeg")
    _, jpeg_data = baselines.match_size(jpeg, original, len(data))
    jpeg_decoded = jpeg.decode(jpeg_data)

    left, top, right, bottom = PART
    panels = [(original[top:bottom, left:right], ["Original", f"{original.nbytes / 1000:.0f} kB of pixels"])]
    for label, pixels, size in (
        (f"balle2017 ({MODEL})", decoded, len(data)),
        ("JPEG at the same size", jpeg_decoded, len(jpeg_data)),
    ):
        found = figures(original, pixels, size)
        print(f"{label:26}{'   '.join(found)}")
        panels.append((pixels[top:bottom, left:right], [f"{label}: {found[0]}", found[1]]))

    OUTPUT.mkdir(exist_ok=True)
    (OUTPUT / "photograph.tfci").write_bytes(data)
    Image.fromarray(decoded).save(OUTPUT / "photograph.png")
    comparison(panels).save(OUTPUT / "comparison.png")
    print(f"Wrote {OUTPUT}/photograph.tfci, photograph.png and comparison.png (original | balle2017 | JPEG, a part).")


if __name__ == "__main__":
    main()
