"""Pictures: random ones, and files with all that cameras put into them."""

import io

import numpy as np
from PIL import Image, ImageCms

from balle2017.pictures import colour


def photograph(height, width, channels=3, seed=0):
    """Smooth random pixels."""
    small = np.random.default_rng(seed).integers(0, 256, [height // 8 + 2, width // 8 + 2, 3], np.uint8)
    image = np.asarray(Image.fromarray(small).resize((width, height), Image.BICUBIC))
    return image[:, :, :channels]


def assert_alike(pixels, expected):
    """Pixels of the same latents are the same to within a level, but where random weights cancel out."""
    difference = np.abs(np.subtract(pixels, expected, dtype=int))
    assert np.mean(difference > 1) < 1e-4


def gradient(height=20, width=30):
    y, x = np.mgrid[:height, :width]
    rgb = np.stack([x * 8, y * 12, 255 - x * 4 - y * 4], -1)
    return rgb.astype(np.uint8)


def saved(image, format="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    buffer.seek(0)
    return buffer


def with_metadata(format="JPEG"):
    exif = Image.Exif()
    exif[0x0110] = "a camera"
    exif.get_ifd(0x8769)[0x9003] = "2017:04:24 10:00:00"
    exif.get_ifd(0x8769)[0x927C] = b"maker note"
    exif.get_ifd(0x8825).update({1: "N", 2: (43.0, 36.0, 0.0)})
    xmp = (
        b'<x xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:exif="http://ns.adobe.com/exif/1.0/"'
        b' xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"><rdf:RDF>'
        b'<rdf:Description exif:GPSLatitude="43,36N" dc:source="Toulon"><exif:GPSLongitude>1,26E'
        b"</exif:GPSLongitude><tiff:Orientation>6</tiff:Orientation></rdf:Description></rdf:RDF></x>"
    )
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return saved(Image.fromarray(gradient()), format, exif=exif.tobytes(), icc_profile=profile, xmp=xmp)


P3_PRIMARIES, D65 = ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06)), (0.3127, 0.3290)
# In sRGB this is (217.5, 41.6, 52.3), by the matrices of SMPTE EG 432-1 and IEC 61966-2-1.
DISPLAY_P3 = colour.matrix_profile(P3_PRIMARIES, D65, None)


def gray_profile(gamma=1.0):
    """An ICC profile of grayscale."""
    curve = b"curv" + bytes([0, 0, 0, 0, 0, 0, 0, 1, int(gamma), round(gamma % 1 * 256)]) + b"\0\0"
    white = b"XYZ \0\0\0\0" + np.array([0.9642, 1, 0.8249]).__mul__(65536).astype(">i4").tobytes()
    size = 128 + 4 + 24 + len(white) + len(curve)
    header = size.to_bytes(4, "big") + bytes(4) + b"\2\x10\0\0mntrGRAYXYZ " + bytes(12) + b"acsp" + bytes(28)
    header += white[8:] + bytes(48)
    table = (2).to_bytes(4, "big")
    for name, start, content in ((b"wtpt", 156, white), (b"kTRC", 156 + len(white), curve)):
        table += name + start.to_bytes(4, "big") + len(content).to_bytes(4, "big")
    return header + table + white + curve
