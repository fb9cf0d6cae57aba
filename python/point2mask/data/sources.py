"""Which pictures are meant: files, folders and patterns, as a person writes them."""

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from point2mask.data.errors import DataError
from point2mask.data.files import file_size, normal_name, resolve_inside
from point2mask.data.frames import SHOWN, STORED, UPRIGHT, Frame, orientation, turned_size
from point2mask.data.heic import HEIC_SUFFIXES, HINT
from point2mask.data.panoptic import check_mask_names
from point2mask.data.places import files_below, is_folder, is_local, path_of, unpacked
from point2mask.data.png import PICTURE_SUFFIXES, picture_size
from point2mask.data.records import ImageRecord
from point2mask.data.report import Report

VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".gif")
# Whoever has pictures in them should know that they are missing.
ARCHIVE_SUFFIXES = (
    *(".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst"),
    *(".tar.lz4", ".zip", ".7z", ".rar"),
)
UNREAD_SUFFIXES = (
    *HEIC_SUFFIXES,
    *(".avif", ".jp2", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".psd", ".svg", ".jxl", ".pdf"),
    *VIDEO_SUFFIXES,
    *ARCHIVE_SUFFIXES,
)


def find_pictures(
    sources: Sequence[str | Path],
    frame: Frame = STORED,
    skip_broken: bool = False,
    report: Report | None = None,
) -> tuple[Path, list[ImageRecord]]:
    """The folder that all pictures lie in, and the pictures with their relative names as ids.

    Args:
        sources: pictures, folders (with all their folders) and patterns such as
            ``frames/*/left_*.png``, where ``**`` is any folders. A folder, the folder of a picture,
            or that before the first wildcard is the one that names are relative to; of several, the
            one that they share.
        frame: whether the records are of the pictures as stored, or as viewers show them.
        skip_broken: a picture whose size cannot be read is taken for one of a pixel, in place of an
            error, and is named when it is the picture's turn.
        report: gets what holds pictures in a form that is not read, such as compressed tars.

    Raises:
        DataError: nothing is there, there are no pictures, a name that cannot be printed, two
            pictures that differ in the suffix only, or one whose size cannot be read.
    """
    bases, paths = [], []
    report = report or Report()
    for source in sources:
        base, found = _find(source, report)
        bases.append(base)
        paths += found
    root = bases[0]
    if len(set(bases)) > 1:
        if not all(map(is_local, bases)):
            raise DataError(f"{sources[0]}: expected one folder of a store, got several sources")
        try:
            root = Path(os.path.commonpath([base.absolute() for base in bases]))
        except ValueError as error:  # on several drives
            raise DataError(f"{sources[0]}: expected pictures below one folder") from error
    names = [_relative(path, root) for path in paths]
    names = [normal_name(name, root) for name in dict.fromkeys(names)]
    check_mask_names([ImageRecord(name, name, 1, 1) for name in names], root)
    return root, [_record(root, name, frame, skip_broken) for name in names]


def _find(source: str | Path, report: Report) -> tuple[Path, list[Path]]:
    path = path_of(source)
    expected = ", ".join(PICTURE_SUFFIXES)
    if is_folder(path):
        links: list[Path] = []
        found = _pictures(files_below(path, links), report)
        for link in links:
            report.leave_out("links to folders, which are not entered", link)
        if not found:
            raise DataError(f"{path}: expected pictures, got none ({expected}){report.after()}")
        return path, found
    if path.suffix.lower() in VIDEO_SUFFIXES:
        raise DataError(
            f"{path}: expected pictures, got a video; write its frames into a folder first: "
            f"ffmpeg -i {path.name} frames/%06d.png"
        )
    if file_size(path) is not None:
        if not _pictures([path], report):
            raise DataError(f"{path}: expected a folder, a pattern or a picture ({expected})")
        return path.parent, [path]
    if not glob.has_magic(str(source)):
        raise DataError(f"{path}: expected a picture, a folder or a pattern, but nothing is there")
    found = _pictures(_matching(str(source)), report)
    if not found:
        more = report.after()
        raise DataError(f"{path}: expected pictures of this pattern, got none ({expected}){more}")
    return _fixed(path), found


def looks_into(source: str | Path, results: Path) -> bool:
    """Whether a folder or pattern may find the masks and overlays of a folder of results."""
    path = path_of(source)
    folder = path
    if not is_folder(path):
        if path.is_file() or not glob.has_magic(str(source)):
            return False
        folder = _fixed(path)
    place, start = results.resolve(), folder.resolve()
    if is_local(place) != is_local(start) or not place.is_relative_to(start):
        return False
    if folder is path or "**" in path.parts:
        return True
    # They lie in a folder of the results, or deeper: a shorter pattern does not reach them.
    return len(path.relative_to(folder).parts) >= len(place.relative_to(start).parts) + 2


def _fixed(pattern: Path) -> Path:
    """The folder before the first wildcard."""
    return next(part for part in pattern.parents if not glob.has_magic(str(part)))


def _matching(pattern: str) -> Iterator[Path]:
    """Ordinary files of a pattern; a tar stands for those in it."""
    for path in map(Path, glob.iglob(pattern, recursive=True)):
        if path.is_file():
            yield from unpacked(path)


def _pictures(paths: Iterable[Path], report: Report) -> list[Path]:
    found = []
    for path in paths:
        if path.name.startswith("._"):  # macOS' remarks on a file, under its name
            continue
        if path.suffix.lower() in PICTURE_SUFFIXES:
            found.append(path)
        elif kind := unread_kind(path.name):
            hint = f"; {HINT}" if kind in HEIC_SUFFIXES else ""
            report.leave_out(f"files of the kind {kind}, which is not read{hint}", path)
    return sorted(found, key=str)


def unread_kind(name: str) -> str:
    """The suffix of a file that holds pictures in a form that is not read, "" of any other."""
    lower = name.lower()
    return max((x for x in UNREAD_SUFFIXES if lower.endswith(x)), key=len, default="")


def _relative(path: Path, root: Path) -> str:
    if is_local(path):
        return Path(os.path.relpath(path, root)).as_posix()
    return path.relative_to(root).as_posix()


def _record(root: Path, name: str, frame: Frame, skip_broken: bool) -> ImageRecord:
    path = resolve_inside(root, name)
    try:
        size = picture_size(path)
    except DataError:
        if not skip_broken:
            raise
        return ImageRecord(name, name, 1, 1)
    tag = UPRIGHT if frame == STORED else orientation(path)
    if tag == UPRIGHT:
        return ImageRecord(name, name, *size)
    return ImageRecord(name, name, *turned_size(size, tag), SHOWN)
