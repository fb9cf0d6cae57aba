"""Which picture a name in a file of clicks means, and in which frame the clicks on it are."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from point2mask.data.errors import DataError
from point2mask.data.files import normal_name, resolve_inside
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
from point2mask.data.png import DEFAULT_LIMIT, PICTURE_SUFFIXES, SizeLimit, picture_size
from point2mask.data.records import ImageRecord
from point2mask.data.report import Report

MAX_FILE = 2**28  # bytes of a file of clicks


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
    ) -> ClickedImage:
        """The image of a name; the given size, if any, must be that of its picture.

        Args:
            names: what it may be called, the more folders the earlier; without a folder to look in,
                the last one counts.
            place: for errors.
            format_name: of the file, a key of :data:`~point2mask.data.frames.FRAMES`.
            size: height and width as the file has them.

        Raises:
            DataError: a path out of the folder, no picture or several, another size, or no size.
        """
        names = [names] if isinstance(names, str) else names
        names = [normal_name(name, place) for name in names]
        height, width = size
        given = None if height is None or width is None else (height, width)
        default = FRAMES[format_name]
        if self.folder is None:
            if given is None:
                raise DataError(
                    f"{place}: expected the size of {names[-1]}; give the folder of pictures"
                )
            self.limit.check(*given, place)
            frame = self.frame or default
            return ClickedImage(ImageRecord(names[-1], names[-1], *given, frame))
        name = self._file_of(self.folder, names, place)
        try:
            path = resolve_inside(self.folder, name)
            stored = picture_size(path, self.limit)
        except DataError as error:
            raise DataError(f"{place}: {error}") from error
        tag = orientation(path)
        frame = decide_frame(given, stored, tag, default, self.frame)
        found = stored if frame == STORED else turned_size(stored, tag)
        if given not in (None, found):
            raise DataError(
                f"{place}: expected the size of {path}, {found[1]} x {found[0]}, "
                f"got {width} x {height}"
            )
        if tag != UPRIGHT and self.frame is None:
            self.report.note(
                "pictures with an EXIF orientation, whose clicks are taken for those on the "
                f"picture as it is {frame}, unless --frame says otherwise",
                name,
            )
        record = ImageRecord(name, name, *stored)
        return ClickedImage(record, turned=tag if frame == SHOWN else UPRIGHT)

    def _file_of(self, folder: Path, names: Sequence[str], place: object) -> str:
        """The picture in the folder that is meant, as its relative name.

        That is the one of the whole name; else of the end of the name, as where the folder is a
        part of the path; else the only one whose path ends so, as in folders of projects and
        subsets. Case does not matter where nothing fits otherwise, nor does a suffix that a name
        has not.
        """
        ends = [end for name in names for end in _ends(name)]
        for end in ends:
            if (folder / end).is_file():
                return end
        for key in map(str.casefold, ends):
            if found := self._by_name.get(key):
                return _only(found, place, folder)
        for key in map(str.casefold, names):
            files = self._by_last_part.get(key.rpartition("/")[2], [])
            found = [file for file in files if _ends_so(file.casefold(), key)]
            if found:
                return _only(found, place, folder)
        raise DataError(
            f"{place}: {folder / names[-1]}: expected a picture, but there is no such file"
        )

    @cached_property
    def _files(self) -> list[str]:
        if self.folder is None or not self.folder.is_dir():
            return []
        return sorted(
            path.relative_to(self.folder).as_posix()
            for path in self.folder.rglob("*")
            if path.suffix.lower() in PICTURE_SUFFIXES
        )

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        """Files by their names in small letters, with and without suffix."""
        return _index(self._files, self._files)

    @cached_property
    def _by_last_part(self) -> dict[str, list[str]]:
        return _index(self._files, [PurePosixPath(file).name for file in self._files])


def _index(files: Sequence[str], names: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for file, name in zip(files, names, strict=True):
        for key in (name, str(PurePosixPath(name).with_suffix(""))):
            found.setdefault(key.casefold(), []).append(file)
    return found


def _ends(name: str) -> list[str]:
    """``a/b/c.png``, ``b/c.png`` and ``c.png``."""
    parts = name.split("/")
    return ["/".join(parts[start:]) for start in range(len(parts))]


def _ends_so(file: str, name: str) -> bool:
    stem = str(PurePosixPath(file).with_suffix(""))
    return any(f"/{path}".endswith(f"/{name}") for path in (file, stem))


def _only(found: Sequence[str], place: object, folder: Path) -> str:
    if len(found) > 1:
        raise DataError(
            f"{place}: expected one picture of that name in {folder}, got {found[0]} and {found[1]}"
        )
    return found[0]
