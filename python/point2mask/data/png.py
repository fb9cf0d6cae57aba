"""Image files: pictures as RGB, and PNGs whose colours are segment ids. Headers come first."""

import io
import logging
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from point2mask.data.depth import (
    grey_to_bytes,
    has_wide_colors,
    is_deep_grey,
    prepare_tiff,
    read_wide_colors,
    strips,
    to_bytes,
)
from point2mask.data.errors import DataError
from point2mask.data.files import open_regular, write_bytes
from point2mask.data.frames import (
    STORED,
    Frame,
    decide_frame,
    orientation_of,
    to_shown,
    turned_size,
)
from point2mask.data.heic import HEIC_SUFFIXES, HINT, heic_formats, heic_suffixes
from point2mask.data.places import path_of

if TYPE_CHECKING:
    from PIL import Image
    from PIL.ImageFile import ImageFile

WRITTEN_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
# What Pillow logs of broken files becomes an error here, and is not printed beside it.
logging.getLogger("PIL").addHandler(logging.NullHandler())

PICTURE_SUFFIXES = (*WRITTEN_SUFFIXES, *heic_suffixes())  # that are read

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PICTURE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
_PICTURE_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
_COLOR_TYPES = {0: "grey", 2: "RGB", 3: "a palette", 4: "grey with alpha", 6: "RGB with alpha"}
_TIFF = "a TIFF whose channels are of another number or kind than grey or colours"
_OTHERS = {
    b"II*\0": _TIFF, b"MM\0*": _TIFF, b"GIF8": "a GIF", b"\0\0\0\x0cjP  ": "a JPEG 2000",
    b"%PDF": "a PDF", b"8BPS": "a Photoshop file", b"<": "text",
    b"version http": "a Git LFS pointer",
}  # fmt: skip
_PAGED = ("TIFF", "PNG", "WEBP")  # have pages, or are animated
_PAGES = 64  # of a TIFF that are looked at
_NEW_SUBFILE_TYPE = 254  # the tag; reduced pages and masks have these bits
_NO_PAGE = 1 | 4


@dataclass(frozen=True, slots=True)
class SizeLimit:
    """The largest image that is decoded: headers beyond it are refused unread."""

    side: int = 16_384  # pixels
    pixels: int = 100_000_000

    def accepts(self, height: int, width: int) -> bool:
        return max(height, width) <= self.side and height * width <= self.pixels

    def check(self, height: int, width: int, place: object) -> None:
        if not self.accepts(height, width):
            raise DataError(
                f"{place}: expected at most {self.side} pixels a side and {self.pixels} in all, "
                f"got {width} x {height}"
            )


DEFAULT_LIMIT = SizeLimit()


def read_ids(
    path: Path, height: int, width: int, limit: SizeLimit = DEFAULT_LIMIT
) -> NDArray[np.int32]:
    """The ids ``int32 [H, W]`` (R + 256 G + 65536 B, 0 = void) of a PNG of the expected size."""
    with _png(path, height, width, limit, ((8, 2),), "ids as 8-bit RGB") as (image, _):
        # Four bytes a pixel as Pillow stores them: one copy, and the ids are there.
        packed = image.tobytes("raw", "RGBX")
    ids = np.frombuffer(packed, "<u4").reshape(height, width) & np.uint32(0xFFFFFF)
    return ids.view(np.int32)


def read_indices(
    path: Path,
    height: int,
    width: int,
    limit: SizeLimit = DEFAULT_LIMIT,
    colors: Sequence[tuple[int, int, int]] | None = None,
) -> NDArray[np.uint8]:
    """The numbers ``uint8 [H, W]`` of a PNG with a palette or in grey, of at most 8 bits.

    Args:
        path: of the PNG.
        height: pixels.
        width: pixels.
        limit: the largest PNG.
        colors: of the numbers, where a PNG in RGB may have these in place of numbers.
    """
    kinds = _SMALL if colors is None else (*_SMALL, (8, 2), (8, 6))
    wanted = "numbers as a palette or grey of at most 8 bits"
    with _png(path, height, width, limit, kinds, wanted) as (image, kind):
        if colors is not None and kind[1] in (2, 6):
            numbers = np.empty((height, width), np.uint8)
            for rows, pixels in strips(image):
                numbers[rows] = _numbers_of(pixels[..., :3], colors, path)
            return numbers
        return _numbers(image, kind)


def read_wide_indices(
    path: Path, height: int, width: int, limit: SizeLimit = DEFAULT_LIMIT
) -> NDArray[np.int32]:
    """The numbers ``int32 [H, W]`` of a PNG in grey, of at most 16 bits."""
    kinds = ((16, 0), *((depth, color) for depth, color in _SMALL if color == 0))
    wanted = "numbers as grey of at most 16 bits"
    with _png(path, height, width, limit, kinds, wanted) as (image, kind):
        return _numbers(image, kind).astype(np.int32)


# Bit depth and colour type of PNGs whose pixels are numbers of at most 8 bits.
_SMALL = tuple((depth, color) for depth in (1, 2, 4, 8) for color in (0, 3))


def _numbers(image: "Image.Image", kind: tuple[int, int]) -> NDArray[Any]:
    """Pixels as the PNG has them; Pillow stretches grey of few bits to 8."""
    depth, color = kind
    numbers: NDArray[Any] = np.array(image)
    if color == 0 and depth == 1:
        return numbers.astype(np.uint8)
    if color == 0 and depth < 8:
        numbers //= 255 // (2**depth - 1)
    return numbers


def _numbers_of(
    pixels: NDArray[np.uint8], colors: Sequence[tuple[int, int, int]], path: Path
) -> NDArray[np.uint8]:
    packed, known = (
        np.asarray(part, np.int32) @ np.array([65536, 256, 1], np.int32)
        for part in (pixels, colors)
    )
    order = np.argsort(known, kind="stable")
    at: NDArray[np.int64] = order[
        np.searchsorted(known, packed, sorter=order).clip(max=len(known) - 1)
    ]
    wrong = known[at] != packed
    if wrong.any():
        raise DataError(
            f"{path}: expected the format's own colours in an RGB PNG, or numbers as a palette, "
            f"got the colour {tuple(pixels[wrong][0].tolist())}"
        )
    return at.astype(np.uint8)


@contextmanager
def _png(
    path: Path,
    height: int,
    width: int,
    limit: SizeLimit,
    kinds: Sequence[tuple[int, int]],
    wanted: str,
) -> Iterator[tuple["Image.Image", tuple[int, int]]]:
    """A PNG of the expected size, decoded, with its bit depth and colour type, one of ``kinds``."""
    expected = f"a PNG of {width} x {height} pixels"
    with open_regular(path, expected) as file:
        kind = _check_header(file, path, expected, height, width, limit)
        if kind not in kinds:
            depth, color = kind
            found = _COLOR_TYPES.get(color, f"the colour type {color}")
            raise DataError(f"{path}: expected {wanted}, got {found} of {depth} bits")
        with _decoding(file, path, ("PNG",), pixels=False) as image:
            if image.size != (width, height):  # Pillow takes the last header
                raise DataError(f"{path}: expected {expected}, got a second header of another size")
            image.load()
            yield image, kind


def _check_header(
    file: BinaryIO, path: Path, expected: str, height: int, width: int, limit: SizeLimit
) -> tuple[int, int]:
    """Bit depth and colour type of a PNG of the expected size; the file is at its start again."""
    header = file.read(26)
    if len(header) < 26 or header[:8] != _SIGNATURE or header[12:16] != b"IHDR":
        raise DataError(f"{path}: expected {expected}, but it is not a PNG")
    got_width, got_height, depth, color = struct.unpack(">IIBB", header[16:])
    limit.check(got_height, got_width, path)
    if (got_height, got_width) != (height, width):
        raise DataError(f"{path}: expected {expected}, got {got_width} x {got_height}")
    file.seek(0)
    return depth, color


def write_ids(path: Path, ids: NDArray[np.integer]) -> None:
    """Writes ids ``[H, W]`` in [0, 2^24) as PNG, atomically."""
    from PIL import Image

    packed = np.ascontiguousarray(ids, dtype="<u4").view(np.uint8).reshape(*ids.shape, 4)
    image = Image.fromarray(np.ascontiguousarray(packed[:, :, :3]))
    save_image(path, image, "PNG")


def read_rgb(
    path: str | Path,
    size: tuple[int, int] | None = None,
    limit: SizeLimit = DEFAULT_LIMIT,
    frame: Frame = STORED,
) -> NDArray[np.uint8]:
    """A picture as ``uint8 [H, W, 3]``; deeper ones by the rule of :mod:`point2mask.data.depth`.

    Alpha is not looked at. Refuses truncated files, sizes beyond ``limit``, several pages, and
    pixels that have no plain conversion to RGB.

    Args:
        path: of the picture.
        size: the height and width that it must have.
        limit: the largest picture.
        frame: as stored, or as viewers show it; where only the other one has ``size``, that.
    """
    path = path_of(path)
    expected = "a picture" if size is None else f"a picture of {size[1]} x {size[0]} pixels"
    with (
        open_regular(path, expected) as file,
        _decoding(file, path, _picture_formats(), limit, pixels=False) as image,
    ):
        stored = image.height, image.width
        if image.format == "TIFF":
            prepare_tiff(image, path)
        wide = has_wide_colors(image)
        orientation = orientation_of(image, file)
        frame = decide_frame(size, stored, orientation, frame)
        found = stored if frame == STORED else turned_size(stored, orientation)
        if size not in (None, found):
            raise DataError(f"{path}: expected {expected}, got {found[1]} x {found[0]}")
        pixels = _wide_rgb(image, file, path) if wide else _rgb(image, path)
        return pixels if frame == STORED else np.ascontiguousarray(to_shown(pixels, orientation))


def _wide_rgb(image: "ImageFile", file: BinaryIO, path: Path) -> NDArray[np.uint8]:
    """The pixels of a file that was opened as ``image``; it is decoded twice."""
    from PIL import Image

    file.seek(0)
    content, formats = file.read(), (str(image.format),)
    with (
        Image.open(io.BytesIO(content), formats=formats) as once,
        Image.open(io.BytesIO(content), formats=formats) as again,
    ):
        return to_bytes(read_wide_colors(once, again, path))


def _rgb(image: "ImageFile", path: Path) -> NDArray[np.uint8]:
    image.load()
    if is_deep_grey(image):
        return np.repeat(grey_to_bytes(image)[..., None], 3, axis=2)
    if image.mode not in _PICTURE_MODES:
        raise DataError(f"{path}: expected grey or colours, got pixels of type {image.mode}")
    rgb = np.empty((image.height, image.width, 3), np.uint8)
    for rows, pixels in strips(image, "RGB"):
        rgb[rows] = pixels
    return rgb


def picture_size(path: Path, limit: SizeLimit = DEFAULT_LIMIT) -> tuple[int, int]:
    """Height and width of a picture, from its header alone."""
    with (
        open_regular(path, "a picture") as file,
        _decoding(file, path, _picture_formats(), limit, pixels=False) as image,
    ):
        return image.height, image.width


def _picture_formats() -> tuple[str, ...]:
    return (*_PICTURE_FORMATS, *heic_formats())


def write_rgb(path: str | Path, pixels: NDArray[np.uint8]) -> None:
    """Writes ``uint8 [H, W, 3]`` atomically in the format of the suffix (.png, .jpg, ...)."""
    from PIL import Image

    path = path_of(path)
    format_name = Image.registered_extensions().get(path.suffix.lower())
    if format_name not in _PICTURE_FORMATS:
        raise DataError(f"{path}: expected a suffix such as .png or .jpg, got {path.suffix!r}")
    options = {"quality": 95} if format_name in ("JPEG", "WEBP") else {}
    save_image(path, Image.fromarray(pixels), format_name, **options)


def save_image(path: Path, image: "Image.Image", format_name: str, **options: int) -> None:
    """Writes an image atomically. Pillow encodes to memory: to a file on a full disk, it writes
    a part and says nothing."""
    encoded = io.BytesIO()
    image.save(encoded, format=format_name, **options)
    write_bytes(path, encoded.getvalue())


@contextmanager
def _decoding(
    file: BinaryIO,
    path: Path,
    formats: tuple[str, ...],
    limit: SizeLimit | None = None,
    pixels: bool = True,
) -> Iterator["ImageFile"]:
    """An image, decoded if its pixels are wanted; Pillow's errors become a DataError."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            # The sizes are checked here; other remarks on broken files end in errors anyway.
            warnings.simplefilter("ignore")
            with Image.open(file, formats=formats) as image:
                if limit is not None:
                    limit.check(image.height, image.width, path)
                    _check_pages(image, path)
                if pixels:
                    image.load()
                yield image
    except (DataError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        hint = f"; {HINT}" if path.suffix.lower() in HEIC_SUFFIXES and not heic_formats() else ""
        raise DataError(
            f"{path}: expected an image as {' or '.join(formats)}{_found(file)}{hint}"
        ) from error
    except Exception as error:  # Pillow raises a dozen types for broken files
        raise DataError(
            f"{path}: expected a complete image, but decoding failed: {error}"
        ) from error


def _found(file: BinaryIO) -> str:
    """What a file is that is none of the formats, if its first bytes tell."""
    file.seek(0)
    head = file.read(12)
    if not head:
        return ", got an empty file"
    known = [name for start, name in _OTHERS.items() if head.startswith(start)]
    return f", got {known[0]}" if known else ""


def _check_pages(image: "Image.Image", path: Path) -> None:
    """That a file has one picture. Phones put others behind it in a JPEG, which do not count, and
    neither do smaller copies and masks in a TIFF, of which some programs do not say what they are.
    """
    if image.format not in _PAGED:
        return
    pages = _tiff_pages(image) if image.format == "TIFF" else getattr(image, "n_frames", 1)
    if pages > 1:
        raise DataError(
            f"{path}: expected a picture, got a file of {pages} pages; save the page that is meant "
            "as a file of its own"
        )


def _tiff_pages(image: "Image.Image") -> int:
    """How many there are, of the first ones; 1 where the others are copies and masks.

    Pillow walks over all pages to count them, of which a small file may have many.
    """
    size, pages, only = image.size, 1, True
    while pages < _PAGES:
        try:
            image.seek(pages)
        except EOFError:
            break
        flags = getattr(image, "tag_v2", {}).get(_NEW_SUBFILE_TYPE, 0)
        only = only and bool(flags & _NO_PAGE or _is_smaller_copy(image.size, size))
        pages += 1
    image.seek(0)
    return 1 if only else pages


def _is_smaller_copy(size: tuple[int, int], whole: tuple[int, int]) -> bool:
    """Whether one size is the other one scaled down, but for rounding."""
    across, down = (part / all_of_it for part, all_of_it in zip(size, whole, strict=True))
    return max(across, down) < 1 and abs(across - down) <= 1 / min(whole)
