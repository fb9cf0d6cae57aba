"""Pictures for the page: the stored pixels for the canvas, and small upright ones for the list."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

from point2mask.data.errors import DataError
from point2mask.data.files import open_regular
from point2mask.data.frames import SHOWN
from point2mask.data.png import picture_size, read_rgb

if TYPE_CHECKING:
    from PIL import Image

THUMBNAIL = (112, 84)  # pixels, width and height at most: twice what the list shows
_START, _EXIF, _SCAN, _END = b"\xff\xd8", b"\xff\xe1", b"\xff\xda", b"\xff\xd9"


def encoded(path: Path, size: tuple[int, int]) -> bytes:
    """A picture of ``size`` (height, width) as a JPEG that browsers show as stored.

    Of a JPEG the file itself, without the EXIF segment by which a browser would turn it; other
    pictures are encoded anew.
    """
    if path.suffix.lower() in (".jpg", ".jpeg"):
        with open_regular(path, "a picture") as file:
            content = file.read()
        if picture_size(path) == size and (plain := _without_exif(content)) is not None:
            return plain
    from PIL import Image

    result = io.BytesIO()
    Image.fromarray(read_rgb(path, size)).save(result, format="JPEG", quality=95)
    return result.getvalue()


def _without_exif(content: bytes) -> bytes | None:
    """A JPEG of one or three colours without its APP1 segments; None if it is not a whole one."""
    if content[:2] != _START or _END not in content[-64:]:
        return None
    parts, at = [_START], 2
    while content[at : at + 2] != _SCAN:
        marker, length = content[at : at + 2], int.from_bytes(content[at + 2 : at + 4], "big")
        if len(marker) < 2 or marker[0] != 0xFF or length < 2:
            return None
        frame = 0xC0 <= marker[1] <= 0xCF and marker[1] not in (0xC4, 0xC8, 0xCC)
        if frame and content[at + 9 : at + 10] > b"\x03":  # colours
            return None
        if marker != _EXIF:
            parts.append(content[at : at + 2 + length])
        at += 2 + length
    return b"".join((*parts, content[at:]))


def thumbnail(path: Path) -> bytes:
    """A small upright JPEG of a picture.

    Raises:
        DataError: the picture is broken or too large.
    """
    from PIL import Image

    picture_size(path)  # refuses what is too large, and what is no picture
    if path.suffix.lower() in (".jpg", ".jpeg"):
        small = _small_jpeg(path)
    else:
        small = Image.fromarray(read_rgb(path, frame=SHOWN))
    small.thumbnail(THUMBNAIL)
    result = io.BytesIO()
    small.save(result, format="JPEG", quality=75)
    return result.getvalue()


def _small_jpeg(path: Path) -> "Image.Image":
    """A JPEG, upright and decoded at a fraction of its size, which is a fraction of the work."""
    from PIL import Image, ImageOps

    with open_regular(path, "a picture") as file:
        try:
            with Image.open(file) as image:
                image.draft("RGB", (2 * THUMBNAIL[0], 2 * THUMBNAIL[1]))
                return ImageOps.exif_transpose(image).convert("RGB")
        except Exception as error:  # Pillow raises a dozen types for broken files
            raise DataError(
                f"{path}: expected a complete image, but decoding failed: {error}"
            ) from error
