"""`make demo`: a photograph through a shipped model, beside JPEG at the same size.

Prints file size, bits per pixel, PSNR and MS-SSIM of both and writes a picture of the
original, the reconstruction and JPEG side by side.
"""

import pathlib

import numpy as np
from PIL import Image

from balle2017 import codec
from balle2017.evaluation import baselines, metrics

HERE = pathlib.Path(__file__).resolve().parent
PHOTOGRAPH = HERE / "kodak-23.png"
OUTPUT = pathlib.Path("demo")
# The lowest rate at which the reconstruction still looks good; JPEG falls apart there.
MODEL = "bls2017-mse-2"


def report(label, original, decoded, size):
    bpp = 8 * size / (original.shape[0] * original.shape[1])
    psnr, ms_ssim = metrics.psnr(original, decoded), metrics.ms_ssim(original, decoded)
    print(f"{label:24s}{size:8d} bytes {bpp:7.3f} bpp {psnr:7.2f} dB PSNR {ms_ssim:9.4f} MS-SSIM")


def main():
    original = np.asarray(Image.open(PHOTOGRAPH).convert("RGB"))
    data = codec.load(MODEL).compress(original)
    decoded = codec.decompress(data).pixels
    jpeg = baselines.find("jpeg")
    _, jpeg_data = baselines.match_size(jpeg, original, len(data))
    jpeg_decoded = jpeg.decode(jpeg_data)

    OUTPUT.mkdir(exist_ok=True)
    (OUTPUT / "photograph.tfci").write_bytes(data)
    Image.fromarray(decoded).save(OUTPUT / "photograph.png")
    Image.fromarray(np.hstack([original, decoded, jpeg_decoded])).save(OUTPUT / "comparison.png")

    report(f"balle2017 ({MODEL})", original, decoded, len(data))
    report("JPEG at the same size", original, jpeg_decoded, len(jpeg_data))
    print(f"Wrote {OUTPUT}/photograph.tfci, photograph.png and comparison.png (original | balle2017 | JPEG).")


if __name__ == "__main__":
    main()
