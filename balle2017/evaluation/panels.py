"""Parts of pictures side by side, pixel for pixel, with captions: what codecs are shown to people by."""

from PIL import Image, ImageDraw, ImageFont

from balle2017.evaluation import metrics

GAP, FONT_SIZE, LINE, MARGIN = 8, 17, 22, 6


def caption_height(lines):
    """Pixels below a picture that its caption of some lines takes."""
    return 3 * MARGIN + LINE * lines


def figures(original, decoded, size):
    """File size and measures of a whole picture in words: `(size and rate, PSNR and MS-SSIM)`."""
    bpp = 8 * size / (original.shape[0] * original.shape[1])
    psnr, ms_ssim = metrics.psnr(original, decoded), metrics.ms_ssim(original, decoded)
    return f"{size / 1000:.1f} kB, {bpp:.3f} bpp", f"PSNR {psnr:.2f} dB, MS-SSIM {ms_ssim:.4f}"


def comparison(panels, columns=None):
    """Pictures side by side, with captions below.

    Args:
      panels: List of `(pixels, lines)`: uint8 `[height, width, 3]` of one
        shape, and the lines of its caption, as many of each.
      columns: How many stand in a row; all, if not given.

    Returns:
      `PIL.Image.Image`.
    """
    columns = columns or len(panels)
    rows = -(-len(panels) // columns)
    height, width, _ = panels[0][0].shape
    below = caption_height(len(panels[0][1]))
    image = Image.new("RGB", (columns * (width + GAP) - GAP, rows * (height + below)), "white")
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(FONT_SIZE)
    for index, (pixels, lines) in enumerate(panels):
        left, top = index % columns * (width + GAP), index // columns * (height + below)
        image.paste(Image.fromarray(pixels), (left, top))
        for number, line in enumerate(lines):
            draw.text((left, top + height + MARGIN + LINE * number), line, fill="black", font=font)
    return image
