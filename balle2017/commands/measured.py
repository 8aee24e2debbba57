"""Rate and distortion of a picture that has just been compressed."""

import numpy as np

from balle2017 import codec


def report(result, models_dir, max_pixels) -> str:
    """Lines for people about a `convert.Result` of `compress`, by decoding it."""
    # Only here, as it takes a while to import.
    from balle2017.evaluation import metrics

    decoded = codec.decompress(result.file.getvalue(), models_dir, max_pixels).pixels
    pixels = np.asarray(result.pixels)
    height, width = decoded.shape[:2]
    lines = [
        f"model    {result.model}",
        f"size     {result.size} bytes for {width}×{height} pixels",
        f"bpp      {8 * result.size / (width * height):.4f}",
        f"PSNR     {metrics.psnr(pixels, decoded):.2f} dB",
    ]
    similarity = metrics.ms_ssim(pixels, decoded)
    if similarity is None:
        lines.append(f"MS-SSIM  not defined for sides below {metrics.MS_SSIM_MIN_SIDE} pixels")
    else:
        lines.append(f"MS-SSIM  {similarity:.4f} ({metrics.decibels(similarity):.2f} dB)")
    return "\n".join(lines)
