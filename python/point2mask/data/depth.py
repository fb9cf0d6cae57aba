"""Pictures of more than 8 bits a channel, as 8 bits by one stated rule.

White is the largest value of as few bits as hold the picture, at least 8: microscopes write 12 bits
in 16. Floating point is white at 1, or at 255 where it goes beyond 1. A picture that has negative
values, other floating point, or less than a sixteenth of that range is spread from its least to its
largest value. All channels are scaled alike.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from point2mask.data.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

DEEP_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")
_BITS, _PHOTOMETRIC, _PLANAR, _SAMPLE_FORMAT = 258, 262, 284, 339  # tags of a TIFF
_APART = 2  # channels one after another
_WHITE_IS_ZERO, _UNSIGNED, _SIGNED = 0, 1, 2
PART = 2**20  # values that are converted at a time
LITTLE_USED = 16  # a picture within one such part of the range is spread
# Pillow decodes the high bytes of colours of 16 bits alone, unless told that the low ones are.
_OTHER_ORDER = {"B": "L", "L": "B", "N": "B"}
_WIDE = ("RGB;16", "RGBX;16", "RGBA;16")
# libtiff, by which Pillow decompresses, hands out numbers in the machine's order of bytes, whatever
# that of the file is. Pillow allows for it where they are unsigned.
_AS_LIBTIFF = {"I;16BS": "I;16NS", "I;32BS": "I;32NS", "F;32BF": "F;32NF"}


def prepare_tiff(image: "ImageFile", place: object) -> None:
    """Mends how Pillow is about to decode a TIFF of more than 8 bits, or refuses what it cannot.

    Raises:
        DataError: colours of more than 8 bits whose channels lie one after another, of which Pillow
            would take a part of the bytes.
    """
    raw, tags = _raw_mode(image), getattr(image, "tag_v2", {})
    bits, apart = max(tags.get(_BITS, (1,))), tags.get(_PLANAR) == _APART
    if bits > 8 and image.mode not in DEEP_MODES and (apart or ";16" not in raw):
        raise DataError(
            f"{place}: expected colours pixel by pixel where channels have {bits} bits, got a TIFF "
            "with one channel after another"
        )
    if raw in _AS_LIBTIFF and image.tile[0].codec_name == "libtiff":
        (tile,) = image.tile
        image.tile = [tile._replace(args=(_AS_LIBTIFF[raw], *tuple(tile.args or ())[1:]))]


def has_wide_colors(image: "ImageFile") -> bool:
    """Whether a picture that is not decoded yet has colours of 16 bits a channel."""
    return ";16" in _raw_mode(image) and image.mode not in DEEP_MODES


def read_wide_colors(image: "ImageFile", again: "ImageFile", place: object) -> NDArray[np.uint16]:
    """Red, green and blue ``uint16 [H, W, 3]`` of such a picture.

    Args:
        image: opened, but not decoded; closed here.
        again: the same file, opened once more.
        place: for errors.

    Raises:
        DataError: channels that are not read here.
    """
    raw = _raw_mode(image)
    if raw[:-1] not in _WIDE:
        raise DataError(
            f"{place}: expected grey, RGB or RGBA where channels have 16 bits, got {raw}"
        )
    again.tile = [tile._replace(args=_swapped(tile.args)) for tile in again.tile]
    wide = np.empty((image.height, image.width, 3), np.uint16)
    for rows, pixels in strips(image):
        wide[rows] = pixels[..., :3]
    wide <<= 8
    image.close()  # one of the two is in memory at a time
    for rows, pixels in strips(again):
        wide[rows] |= pixels[..., :3]
    return wide


def strips(image: "Image", mode: str | None = None) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Rows of a picture and their pixels: what Pillow hands out at once is twice its size.

    Args:
        image: of Pillow.
        mode: that is wanted; the picture's own, if none is given.
    """
    height = max(1, PART // image.width)
    for top in range(0, image.height, height):
        strip = image.crop((0, top, image.width, min(top + height, image.height)))
        if mode is not None:
            strip = strip.convert(mode)
        yield slice(top, top + height), np.asarray(strip)


def grey_to_bytes(image: "Image") -> NDArray[np.uint8]:
    """The grey ``uint8 [H, W]`` of a decoded picture that :func:`is_deep_grey`.

    Pillow takes 32 bits for signed and 8 for unsigned whatever a TIFF says, and turns the grey of
    those whose white is 0 only where it has 8 bits.
    """
    tags = getattr(image, "tag_v2", {})
    values = np.asarray(image)
    signed = tags.get(_SAMPLE_FORMAT, (_UNSIGNED,))[0] == _SIGNED
    if image.mode == "L":
        values = values.view(np.int8)
    elif image.mode == "I" and not signed:
        values = values.view(np.uint32)
    grey = to_bytes(values)
    return 255 - grey if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO else grey


def is_deep_grey(image: "Image") -> bool:
    """Whether a picture's grey is of more than 8 bits, or of 8 of which one is the sign."""
    tags = getattr(image, "tag_v2", {})
    signed = image.mode == "L" and tags.get(_SAMPLE_FORMAT, (_UNSIGNED,))[0] == _SIGNED
    return signed or image.mode in DEEP_MODES


def _raw_mode(image: "ImageFile") -> str:
    """How Pillow names the bytes of the file."""
    arguments = image.tile[0].args if image.tile else ""
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _swapped(arguments: Any) -> Any:
    if isinstance(arguments, tuple):
        return (_swapped(arguments[0]), *arguments[1:])
    text = str(arguments)
    return text[:-1] + _OTHER_ORDER[text[-1]]


def to_bytes(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Values of any kind as ``uint8`` of the same shape, see above; what is not finite is black.

    >>> to_bytes(np.array([0, 1024, 4095], np.uint16))
    array([  0,  64, 255], dtype=uint8)
    """
    flat = values.reshape(-1)
    scaled = np.empty(flat.shape, np.uint8)
    low, high = _extremes(flat)
    black, white = 0.0, _white(values.dtype, high)
    if low < high and (low < 0 or high > white or high - low < white / LITTLE_USED):
        black, white = low, high
    for part in _parts(flat.size):
        numbers = flat[part].astype(np.float64)
        numbers = np.where(np.isfinite(numbers), numbers, black)
        scaled[part] = np.rint(((numbers - black) / (white - black)).clip(0, 1) * 255)
    return scaled.reshape(values.shape)


def _parts(size: int) -> list[slice]:
    """Parts of a picture small enough for its memory not to be multiplied."""
    return [slice(start, start + PART) for start in range(0, size, PART)]


def _extremes(flat: NDArray[np.generic]) -> tuple[float, float]:
    """The least and the largest of the finite values; 0 where there is none."""
    found = []
    for part in _parts(flat.size):
        numbers = flat[part].astype(np.float64)
        if (finite := numbers[np.isfinite(numbers)]).size:
            found.append((float(finite.min()), float(finite.max())))
    lows, highs = zip(*found, strict=True) if found else ((0.0,), (0.0,))
    return min(lows), max(highs)


def _white(kind: np.dtype[np.generic], high: float) -> float:
    if np.issubdtype(kind, np.integer):
        return float(2 ** max(8, int(high).bit_length()) - 1)
    return 1.0 if high <= 1 else 255.0
