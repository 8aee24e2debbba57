"""`make demo`: a photograph through a shipped model, beside JPEG at the same size.

Prints file size, bits per pixel, PSNR and MS-SSIM of both, and of the models for MS-SSIM where they are
installed, and writes a picture of a part of the original and of each, labelled; `docs/comparison.png` is one.
"""

import pathlib

import numpy as np
from PIL import Image

from balle2017 import codec
from balle2017.evaluation import baselines, panels

HERE = pathlib.Path(__file__).resolve().parent
PHOTOGRAPH = HERE / "kodak-23.png"
OUTPUT = pathlib.Path("demo")
# The lowest rate at which the reconstruction still looks good; JPEG falls apart there.
MODEL = "bls2017-mse-2"
# Those for MS-SSIM, of which the file gets the same size.
FOR_MS_SSIM = "bls2017-msssim"
# What the comparison shows of the photograph: left, top, right, bottom.
PART = (40, 60, 460, 460)


def for_ms_ssim(original, size):
    """The model for MS-SSIM that comes nearest to a size and its file, refined to it where TensorFlow is; or `None`."""
    try:
        family = codec.load_family(FOR_MS_SSIM)
    except codec.ModelError:
        return None
    bpp = 8 * size / (original.shape[0] * original.shape[1])
    return codec.compress_to_bpp(family, original, bpp, effort=codec.default_effort(bpp))


def main():
    original = np.asarray(Image.open(PHOTOGRAPH).convert("RGB"))
    data = codec.load(MODEL).compress(original)
    decoded = codec.decompress(data).pixels
    files = [(f"balle2017 ({MODEL})", decoded, len(data))]
    found = for_ms_ssim(original, len(data))
    if found:
        model, file = found
        files.append((f"balle2017 ({model.name})", codec.decompress(file).pixels, len(file)))
    jpeg = baselines.find("jpeg")
    _, jpeg_data = baselines.match_size(jpeg, original, len(data))
    files.append(("JPEG at the same size", jpeg.decode(jpeg_data), len(jpeg_data)))

    left, top, right, bottom = PART
    shown = [(original[top:bottom, left:right], ["Original", f"{original.nbytes / 1000:.0f} kB of pixels"])]
    for label, pixels, size in files:
        found = panels.figures(original, pixels, size)
        print(f"{label:30}{'   '.join(found)}")
        shown.append((pixels[top:bottom, left:right], [f"{label}: {found[0]}", found[1]]))

    OUTPUT.mkdir(exist_ok=True)
    (OUTPUT / "photograph.tfci").write_bytes(data)
    Image.fromarray(decoded).save(OUTPUT / "photograph.png")
    panels.comparison(shown, 2 if len(shown) == 4 else None).save(OUTPUT / "comparison.png")
    print(f"Wrote {OUTPUT}/photograph.tfci, photograph.png and comparison.png (a part of the original and of each).")


if __name__ == "__main__":
    main()
