"""The two frames of a picture, as it is stored and as viewers turn it by its EXIF tag, and its rim.

Everything here works in the stored frame unless an image's record says ``shown``. Coordinates are
continuous, pixel k reaches from k to k + 1, and a point lies in pixel (floor x, floor y).
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from point2mask.data.errors import DataError
from point2mask.data.files import open_regular

if TYPE_CHECKING:
    from PIL import Image

Frame = Literal["stored", "shown"]
Size = tuple[int, int]  # height and width in pixels
Mirror = Callable[[float, int], float]  # of a coordinate, in a length of pixels

STORED: Frame = "stored"
SHOWN: Frame = "shown"
# Whose coordinates are in which frame, where nobody says otherwise and sizes do not tell: what
# people clicked or drew in a viewer is as it showed them the picture; tables, and the masks of
# published sets, are as their pictures are stored.
FRAMES: dict[str, Frame] = {
    "csv": STORED,
    "pngs": STORED,
    "labelme": SHOWN,
    "cvat": SHOWN,
    "label-studio": SHOWN,
    "coco": SHOWN,
    "voc": STORED,
    "cityscapes": STORED,
    "ade20k": STORED,
}
NEAR = 0.01  # pixels outside the picture that are rounding: tools write two decimals

# TIFF and HEIC are turned as they are decoded, others have no tag.
_TURNED_BY_VIEWERS = ("JPEG", "MPO", "PNG", "WEBP")
MAX_TAGS = 2**16  # bytes
_ORIENTATION = 0x0112  # the number of the tag
UPRIGHT = 1
# From stored to shown: first exchange x and y, then reverse x, then reverse y.
_EXCHANGED, _X_REVERSED, _Y_REVERSED = (5, 6, 7, 8), (2, 3, 6, 7), (3, 4, 7, 8)


def orientation(path: Path) -> int:
    """How viewers turn a picture as it is read here: the EXIF tag from 1 (not at all) to 8."""
    from PIL import Image

    with open_regular(path, "a picture") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sizes, which are checked where pixels are read
        try:
            with Image.open(file) as image:
                return orientation_of(image, file)
        except Exception:  # what is no picture is not turned
            return UPRIGHT


def orientation_of(image: "Image.Image", file: BinaryIO) -> int:
    """The same of a picture that Pillow has opened, and not decoded, from ``file``."""
    if image.format not in _TURNED_BY_VIEWERS:
        return UPRIGHT
    try:
        exif = _png_exif(file) if image.format == "PNG" else image.getexif()
        found = exif.get(_ORIENTATION, UPRIGHT)
    except Exception:  # a broken tag turns nothing; broken pixels are found when they are read
        return UPRIGHT
    return found if found in range(1, 9) else UPRIGHT


def _png_exif(file: BinaryIO) -> "Image.Exif":
    """The tags of a PNG. Pillow would decode all pixels first, as the chunk may lie behind them."""
    from PIL import Image

    exif, place = Image.Exif(), file.tell()
    try:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length = int.from_bytes(head[:4], "big")
            if head[4:] == b"eXIf" and length <= MAX_TAGS:
                exif.load(b"Exif\0\0" + file.read(length))
                break
            file.seek(length + 4, 1)
    finally:
        file.seek(place)
    return exif


def turned_size(size: Size, orientation: int) -> Size:
    """A size in the other frame."""
    return (size[1], size[0]) if orientation in _EXCHANGED else size


def decide_frame(
    size: Size | None, stored: Size, orientation: int, default: Frame, asked: Frame | None = None
) -> Frame:
    """The frame of coordinates: the one asked for, else the only one of their size, else a default.

    Args:
        size: height and width that come with the coordinates, if any do.
        stored: of the picture.
        orientation: of the picture.
        default: for coordinates of this format.
        asked: for by the user.
    """
    shown = turned_size(stored, orientation)
    if asked is not None:
        return asked
    if size is not None and (size == stored) != (size == shown):
        return STORED if size == stored else SHOWN
    return default


def mirrored_click(value: float, length: int) -> float:
    """The mirror image of a click, in the mirrored pixel: also where it lies between two."""
    pixel = int(value // 1)
    return length - 1 - pixel + (1 - (value - pixel)) % 1


def mirrored_place(value: float, length: int) -> float:
    """The mirror image of a place, such as the corner of an outline: the left rim is the right."""
    return length - value


def point_to_stored(
    x: float, y: float, stored: Size, orientation: int, mirror: Mirror = mirrored_click
) -> tuple[float, float]:
    """A point of a picture's shown frame in its stored one; a click stays in its pixel.

    >>> point_to_stored(2.25, 0, (4, 10), 2)
    (7.75, 0)
    """
    height, width = turned_size(stored, orientation)
    if orientation in _X_REVERSED:
        x = mirror(x, width)
    if orientation in _Y_REVERSED:
        y = mirror(y, height)
    return (y, x) if orientation in _EXCHANGED else (x, y)


def point_to_shown(
    x: float, y: float, stored: Size, orientation: int, mirror: Mirror = mirrored_click
) -> tuple[float, float]:
    """A point of a picture's stored frame in its shown one."""
    if orientation in _EXCHANGED:
        x, y = y, x
    height, width = turned_size(stored, orientation)
    if orientation in _X_REVERSED:
        x = mirror(x, width)
    if orientation in _Y_REVERSED:
        y = mirror(y, height)
    return x, y


def to_shown(pixels: NDArray[np.generic], orientation: int) -> NDArray[np.generic]:
    """Pixels ``[H, W, ...]`` of the stored frame as viewers show them."""
    if orientation in _EXCHANGED:
        pixels = pixels.swapaxes(0, 1)
    return _flipped(pixels, orientation)


def to_stored(pixels: NDArray[np.generic], orientation: int) -> NDArray[np.generic]:
    """Pixels ``[H, W, ...]`` of the shown frame as they are stored."""
    pixels = _flipped(pixels, orientation)
    return pixels.swapaxes(0, 1) if orientation in _EXCHANGED else pixels


def _flipped(pixels: NDArray[np.generic], orientation: int) -> NDArray[np.generic]:
    if orientation in _X_REVERSED:
        pixels = pixels[:, ::-1]
    return pixels[::-1] if orientation in _Y_REVERSED else pixels


def inside(x: float, y: float, size: Size, place: object) -> tuple[float, float]:
    """A point of the closed picture, or of rounding beside it, in a pixel of the picture.

    The rim belongs to the last pixel.

    Raises:
        DataError: the point lies more than :data:`NEAR` outside, or nowhere.
    """
    height, width = size
    if 0 <= x < width and 0 <= y < height:
        return x, y
    if not (-NEAR <= x <= width + NEAR and -NEAR <= y <= height + NEAR):
        raise DataError(
            f"{place}: expected a point inside {width} x {height} pixels, got ({x}, {y})"
        )
    return _within(x, width), _within(y, height)


def _within(value: float, length: int) -> float:
    # The last place that is in the pixel also for who computes in float32.
    return min(max(value, 0.0), float(np.nextafter(np.float32(length), np.float32(0))))
