"""Which picture a name in a file of clicks means, and in which frame the clicks on it are."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from point2mask.data.errors import DataError
from point2mask.data.files import normal_name, resolve_inside
from point2mask.data.formats.names import PictureNames
from point2mask.data.frames import (
    FRAMES,
    SHOWN,
    STORED,
    UPRIGHT,
    Frame,
    Size,
    decide_frame,
    orientation,
    turned_size,
)
from point2mask.data.png import DEFAULT_LIMIT, SizeLimit, picture_size
from point2mask.data.records import ImageRecord
from point2mask.data.report import Report
from point2mask.messages import shown

MAX_FILE = 2**28  # bytes of a file of clicks


# Without ways back: long digits that end in something else take no time.
_NUMBER = re.compile(r"[-+]?(\d++(\.\d*+)?|\.\d++)([eE][-+]?\d++)?", re.ASCII)


def number(text: str, place: object) -> float:
    """A coordinate as text has it. Python's own ``float`` takes ``1_0``, ``nan`` and more."""
    if not _NUMBER.fullmatch(text.strip()):
        raise DataError(f"{place}: expected a number, got {shown(text)}")
    return float(text)


@dataclass(frozen=True, slots=True)
class Click:
    place: str  # file and line or entry
    x: float  # pixels, in the frame of the image's clicks
    y: float
    category: str
    shape: int  # clicks of one shape of the tool share a number
    instance: str | None = None  # what the tool or its user calls the target


@dataclass(slots=True)
class ClickedImage:
    """An image with clicks.

    Attributes:
        record: the image.
        clicks: on it, as viewers show it where ``turned`` is not 1.
        turned: the orientation by which its clicks are brought to the frame of the record.
    """

    record: ImageRecord
    clicks: list[Click] = field(default_factory=list)
    turned: int = UPRIGHT

    @property
    def size(self) -> Size:
        """Height and width of the frame that the clicks are in."""
        return turned_size((self.record.height, self.record.width), self.turned)


@dataclass(frozen=True)
class Pictures:
    """Where images and their sizes come from: a folder, or the word of the file of clicks.

    Attributes:
        folder: None for the word of the file alone.
        limit: the largest picture.
        frame: in which all clicks are; None where it follows from sizes and format.
        report: gets what is left out and what should be known.
    """

    folder: Path | None
    limit: SizeLimit = DEFAULT_LIMIT
    frame: Frame | None = None
    report: Report = field(default_factory=Report)

    def find(
        self,
        names: str | Sequence[str],
        place: object,
        format_name: str,
        size: tuple[int | None, int | None] = (None, None),
        uploaded: str = "",
    ) -> ClickedImage:
        """The image of a name; the given size, if any, must be that of its picture.

        Args:
            names: what it may be called, the more folders the earlier; without a folder to look in,
                the last one counts.
            place: for errors.
            format_name: of the file, a key of :data:`~point2mask.data.frames.FRAMES`.
            size: height and width as the file has them.
            uploaded: what a server made of its name, see :meth:`PictureNames.find`.

        Raises:
            DataError: a path out of the folder, no picture or several, another size, or no size.
        """
        names = [names] if isinstance(names, str) else names
        names = [normal_name(name, place) for name in names]
        height, width = size
        given = None if height is None or width is None else (height, width)
        default = FRAMES[format_name]
        if self.folder is None or self._names is None:
            if given is None:
                raise DataError(
                    f"{place}: expected the size of {names[-1]}; give the folder of pictures"
                )
            self.limit.check(*given, place)
            frame = self.frame or default
            return ClickedImage(ImageRecord(names[-1], names[-1], *given, frame))
        name = self._names.find(names, place, uploaded)
        try:
            path = resolve_inside(self.folder, name)
            stored = picture_size(path, self.limit)
        except DataError as error:
            raise DataError(f"{place}: {error}") from error
        tag = orientation(path)
        frame = decide_frame(given, stored, tag, default, self.frame)
        found = stored if frame == STORED else turned_size(stored, tag)
        if any(said not in (None, is_) for said, is_ in zip(size, found, strict=True)):
            said_width, said_height = ("?" if side is None else side for side in (width, height))
            raise DataError(
                f"{place}: expected the size of {path}, {found[1]} x {found[0]}, "
                f"got {said_width} x {said_height}"
            )
        if tag != UPRIGHT and self.frame is None:
            self.report.note(
                "pictures with an EXIF orientation, whose clicks are taken for those on the "
                f"picture as it is {frame}, unless --frame says otherwise",
                name,
            )
        record = ImageRecord(name, name, *stored)
        return ClickedImage(record, turned=tag if frame == SHOWN else UPRIGHT)

    @cached_property
    def _names(self) -> PictureNames | None:
        return None if self.folder is None else PictureNames(self.folder)
