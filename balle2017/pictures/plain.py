"""Picture files for programs that decode PNG and JPEG, and look at the pixels only, such as a server's graph."""

import io

import numpy as np
from PIL import Image

from balle2017.pictures import images


def plain(data, max_pixels=images.MAX_PIXELS):
    """A picture file as PNG or JPEG whose bare pixels show it: upright, in sRGB, opaque, in 8 bits.

    Args:
      data: The bytes of a picture file of any format that `images.read` reads.
      max_pixels: Larger pictures are refused.

    Returns:
      The same bytes if they are so already, else those of a PNG file, in RGB; and notices, as `images.read` has them.

    Raises:
      images.ImageError: As `images.read`.
    """
    picture = images.read(io.BytesIO(data), max_pixels=max_pixels)
    with Image.open(io.BytesIO(data)) as image:
        bare = image.format in ("JPEG", "PNG") and image.mode in ("L", "RGB") and not image.has_transparency_data
        if bare and np.array_equal(np.asarray(image.convert("RGB")), picture.pixels):
            return data, picture.notices
    file = io.BytesIO()
    images.write(file, picture.pixels)
    return file.getvalue(), picture.notices
