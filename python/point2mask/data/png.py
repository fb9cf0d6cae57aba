"""Image files: pictures as RGB, and PNGs whose colours are segment ids. Headers come first."""

import io
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from point2mask.data.errors import DataError
from point2mask.data.files import open_regular, write_bytes

if TYPE_CHECKING:
    from PIL import Image

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PICTURE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
_PICTURE_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
EXIF_ORIENTATION = 0x0112
_EXIF_QUARTER_TURNS = (5, 6, 7, 8)  # these exchange width and height


@dataclass(frozen=True, slots=True)
class SizeLimit:
    """The largest image that is decoded: headers beyond it are refused unread."""

    side: int = 16_384  # pixels
    pixels: int = 100_000_000

    def check(self, height: int, width: int, place: object) -> None:
        if max(height, width) > self.side or height * width > self.pixels:
            raise DataError(
                f"{place}: expected at most {self.side} pixels a side and {self.pixels} in all, "
                f"got {width} x {height}"
            )


DEFAULT_LIMIT = SizeLimit()


def read_ids(
    path: Path, height: int, width: int, limit: SizeLimit = DEFAULT_LIMIT
) -> NDArray[np.int32]:
    """The ids ``int32 [H, W]`` (R + 256 G + 65536 B, 0 = void) of a PNG of the expected size."""
    kind = "8-bit RGB without alpha, got another kind of PNG"
    with _png(path, height, width, limit, ((8, 2),), kind) as image:
        # Four bytes a pixel as Pillow stores them: one copy, and the ids are there.
        packed = image.tobytes("raw", "RGBX")
    ids = np.frombuffer(packed, "<u4").reshape(height, width) & np.uint32(0xFFFFFF)
    return ids.view(np.int32)


def read_indices(
    path: Path, height: int, width: int, limit: SizeLimit = DEFAULT_LIMIT
) -> NDArray[np.uint8]:
    """The numbers ``uint8 [H, W]``, not the colours, of a PNG with a palette or in grey."""
    kind = "8 bits with a palette or grey, got another PNG"
    with _png(path, height, width, limit, ((8, 0), (8, 3)), kind) as image:
        return np.array(image, dtype=np.uint8)


def read_wide_indices(
    path: Path, height: int, width: int, limit: SizeLimit = DEFAULT_LIMIT
) -> NDArray[np.int32]:
    """The numbers ``int32 [H, W]`` of a PNG of 16 bits in grey."""
    with _png(path, height, width, limit, ((16, 0),), "16 bits in grey, got another PNG") as image:
        return np.array(image).astype(np.int32)


@contextmanager
def _png(
    path: Path,
    height: int,
    width: int,
    limit: SizeLimit,
    kinds: tuple[tuple[int, int], ...],
    wanted: str,
) -> Iterator["Image.Image"]:
    """A PNG of the expected size, decoded, whose bit depth and colour type are one of ``kinds``."""
    expected = f"a PNG of {width} x {height} pixels"
    with open_regular(path, expected) as file:
        if _check_header(file, path, expected, height, width, limit) not in kinds:
            raise DataError(f"{path}: expected {wanted}")
        with _decoding(file, path, ("PNG",)) as image:
            yield image


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
    path: Path, size: tuple[int, int] | None = None, limit: SizeLimit = DEFAULT_LIMIT
) -> NDArray[np.uint8]:
    """A picture as ``uint8 [H, W, 3]``, as stored (EXIF rotation is not applied).

    ``size`` is the (height, width) that it must have. Refuses truncated files, sizes beyond
    ``limit`` and pixel types that have no plain conversion to 8-bit RGB.
    """
    expected = "a picture" if size is None else f"a picture of {size[1]} x {size[0]} pixels"
    with (
        open_regular(path, expected) as file,
        _decoding(file, path, _PICTURE_FORMATS, limit, size) as image,
    ):
        if image.mode not in _PICTURE_MODES:
            raise DataError(f"{path}: expected 8 bits a channel, got pixels of type {image.mode}")
        return np.array(image.convert("RGB"), dtype=np.uint8)


def picture_size(path: Path, limit: SizeLimit = DEFAULT_LIMIT) -> tuple[int, int]:
    """Height and width of a picture, from its header alone."""
    with (
        open_regular(path, "a picture") as file,
        _decoding(file, path, _PICTURE_FORMATS, limit, pixels=False) as image,
    ):
        return image.height, image.width


def write_rgb(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Writes ``uint8 [H, W, 3]`` atomically in the format of the suffix (.png, .jpg, ...)."""
    from PIL import Image

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
    size: tuple[int, int] | None = None,
    pixels: bool = True,
) -> Iterator["Image.Image"]:
    """An image, decoded if its pixels are wanted; Pillow's errors become a DataError."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            # The sizes are checked here; other remarks on broken files end in errors anyway.
            warnings.simplefilter("ignore")
            with Image.open(file, formats=formats) as image:
                if limit is not None:
                    limit.check(image.height, image.width, path)
                if size is not None and (image.height, image.width) != size:
                    raise DataError(
                        f"{path}: expected {size[1]} x {size[0]} pixels, "
                        f"got {image.width} x {image.height}{_turned(image, size)}"
                    )
                if pixels:
                    image.load()
                yield image
    except (DataError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: expected an image as {' or '.join(formats)}") from error
    except Exception as error:  # Pillow raises a dozen types for broken files
        raise DataError(
            f"{path}: expected a complete image, but decoding failed: {error}"
        ) from error


def _turned(image: "Image.Image", size: tuple[int, int]) -> str:
    """What to say of a picture that has the expected size only as viewers show it."""
    orientation = image.getexif().get(EXIF_ORIENTATION)
    if orientation not in _EXIF_QUARTER_TURNS or (image.width, image.height) != size:
        return ""
    return (
        f" as stored: viewers turn it by its EXIF orientation {orientation}, which is ignored "
        "here; save it turned, without the tag"
    )
