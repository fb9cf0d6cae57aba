"""Pictures with an EXIF tag by which viewers turn them, one pixel of them red."""

import numpy as np
from PIL import Image

TAGS = range(1, 9)
SIZES = [(6, 10), (8, 8)]


def write_turned(path, pixels, tag):
    """Pixels as they are stored, with the tag by which viewers turn them."""
    exif = Image.Exif()
    exif[0x0112] = tag
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, exif=exif)


def scene(size):
    """Pixels that are all different, one of them red."""
    pixels = np.arange(size[0] * size[1] * 3, dtype=np.uint8).reshape(*size, 3)
    pixels[1, 3] = 255, 0, 0
    return pixels


def red(pixels):
    """Column and row of the red pixel."""
    ((y, x),) = np.argwhere((pixels == (255, 0, 0)).all(2))
    return int(x), int(y)
