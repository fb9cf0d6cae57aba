"""Point labels in JSON Lines: the categories first, then an image a line, read when needed.

A JSON of a million images takes gigabytes of memory. Of lines only the places are kept.
"""

from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from point2mask.data.errors import DataError
from point2mask.data.filed import ImageFile, Kinds, have_any
from point2mask.data.files import open_local, open_replacing
from point2mask.data.json_files import decode_json
from point2mask.data.kept_file import KeptFile
from point2mask.data.marks import NO_MARKS, Marks
from point2mask.data.png import DEFAULT_LIMIT, SizeLimit
from point2mask.data.records import (
    Category,
    CategoryFile,
    ImageId,
    ImageRecord,
    categories_by_id,
    categories_to_json,
    check_entries,
    checked_record,
    image_to_json,
    normal_record,
)
from point2mask.data.sequences import first_repeated_hash
from point2mask.data.targets import (
    LabelledImage,
    LabelledImages,
    PointLabels,
    PointTarget,
    check_clicks,
    check_image_marks,
    check_targets,
    keep_marks,
    moved_inside,
    target_to_json,
)
from point2mask.messages import shown

SUFFIX = ".jsonl"
MAX_LINE = 2**24  # bytes
LAYOUT = "JSON Lines of point labels"
LINE = "an image with its targets"
Line = TypeVar("Line")
ImageKey = tuple[ImageId, str]  # id and name of an image


class PointLine(Marks, frozen=True, kw_only=True):
    """What a line, or a row of a table, says of an image."""

    image: ImageRecord
    segments_info: list[PointTarget]


class _Image(msgspec.Struct):
    """The same without its targets, which are stepped over."""

    image: ImageRecord


class PointLines:
    """The images of a file, each read whenever it is asked for; an ``ImageFile``."""

    def __init__(self, path: Path, file: KeptFile, places: Sequence[int]) -> None:
        """
        Args:
            path: for errors.
            file: that the lines are in.
            places: where lines of images begin, and one more: where the last of them ends.
        """
        self._path, self._file, self._places = path, file, places

    def __len__(self) -> int:
        return len(self._places) - 1

    def image(self, number: int) -> LabelledImage:
        """An image and its targets."""
        line, place = self._decoded(number, PointLine)
        return labelled_image(line, place)

    def record(self, number: int) -> ImageRecord:
        """An image without its targets."""
        line, place = self._decoded(number, _Image)
        return normal_record(line.image, f"{place}: image")

    def have_any(self, categories: Collection[int]) -> NDArray[np.bool_]:
        """Of all images, whether a target is of these categories, and no crowd."""
        lines = (self._decoded(number, Kinds)[0] for number in range(len(self)))
        return have_any(lines, categories)

    def _decoded(self, number: int, kind: type[Line]) -> tuple[Line, str]:
        """A line, and what errors call it."""
        start, end = self._places[number], self._places[number + 1]
        content = self._file.read_at(end - start, start)
        place = f"{self._path}: line {number + 2}"
        return decode_json(content, place, kind, LINE), place


def read_line_categories(path: Path) -> dict[int, Category]:
    """The categories alone: no image is looked at."""
    with open_local(path, LAYOUT) as file:
        return _categories(file, path)


def read_point_lines(path: Path, limit: SizeLimit) -> PointLabels:
    """Reads the file once and checks every line; see :func:`point2mask.data.read_points`."""
    places = array("q")
    marks: dict[ImageId, Marks] = {}
    with open_local(path, LAYOUT) as file:
        categories = _categories(file, path)
        keys = _checked_keys(file, path, categories, limit, places, marks)

        kept = KeptFile(file.fileno())

        def all_lines() -> PointLines:
            return PointLines(path, kept, places)

        check_repeated(keys, all_lines, f"{path}: line", 2)
        return PointLabels(categories, LabelledImages(all_lines()), marks)


def write_point_lines(path: Path, labels: PointLabels) -> None:
    """Writes point labels line by line, atomically."""
    encode = msgspec.json.Encoder(enc_hook=float).encode  # the numbers may be NumPy's
    with open_replacing(path) as file:
        file.write(encode({"categories": categories_to_json(labels.categories)}) + b"\n")
        file.writelines(encode(line) + b"\n" for line in lines_of(labels, path))


def lines_of(labels: PointLabels, path: Path) -> Iterator[dict[str, Any]]:
    """What is written of every image, after it has been checked."""

    def checked(record: ImageRecord) -> ImageRecord:
        return checked_record(record, f"{path}: image {shown(record.id)}", DEFAULT_LIMIT)

    keys = (key_of(checked(record)) for record in labels.records)
    repeated = _repeated(keys, lambda index: checked(labels.records[index]))
    if repeated is not None:
        raise DataError(f"{path}: {repeated[0]} again")
    for record, targets in labels.images:
        place = f"{path}: image {shown(record.id)}"
        check_targets(record, targets, labels.categories, place)
        marks = labels.marks.get(record.id, NO_MARKS)
        check_image_marks(record, marks, targets, place)
        segments = [target_to_json(target) for target in targets]
        line = {"image": image_to_json(record), "segments_info": segments}
        yield {**line, **msgspec.to_builtins(marks)}


def check_line(
    line: PointLine,
    place: str,
    categories: Mapping[int, Category],
    limit: SizeLimit,
    marks: dict[ImageId, Marks],
) -> ImageKey:
    """Checks all of a line, and keeps the marks of an image that has any."""
    record, targets = labelled_image(line, place)
    limit.check(record.height, record.width, place)
    check_entries(line.segments_info, categories, place)
    check_clicks(record, targets, place)
    keep_marks(line, record, targets, place, marks)
    return key_of(record)


def labelled_image(line: PointLine, place: str) -> LabelledImage:
    """The image with its name in normal form, and its targets with their points inside."""
    record = normal_record(line.image, f"{place}: image")
    return record, [moved_inside(target, record, place) for target in line.segments_info]


def key_of(record: ImageRecord) -> ImageKey:
    """What no two images have in common; the name is in normal form."""
    return record.id, record.file_name


def check_repeated(
    keys: Iterable[ImageKey], file: Callable[[], ImageFile[LabelledImage]], place: str, first: int
) -> None:
    """That no id or name comes twice; ``place`` and the number of the first image are for the
    error."""
    repeated = _repeated(keys, lambda number: file().record(number))
    if repeated is not None:
        what, earlier, later = repeated
        raise DataError(
            f"{place} {later + first}: {what} again, as in {place.rpartition(': ')[2]} "
            f"{earlier + first}"
        )


def _repeated(
    keys: Iterable[ImageKey], record: Callable[[int], ImageRecord]
) -> tuple[str, int, int] | None:
    """What was expected and got of the first id that comes twice, else of the first such name, and
    the numbers of the two images."""
    pairs = ((hash(identity), hash(name)) for identity, name in keys)
    hashes: NDArray[np.int64] = np.fromiter(pairs, np.dtype((np.int64, 2)))
    for column, wanted in enumerate(("unique image ids", "every picture once")):

        def again(number: int, column: int = column) -> ImageId:
            return key_of(record(number))[column]

        repeated = first_repeated_hash(hashes[:, column], again)
        if repeated is not None:
            return f"expected {wanted}, got {shown(again(repeated[1]))}", *repeated
    return None


def _categories(file: BinaryIO, path: Path) -> dict[int, Category]:
    """Those of the first line, which is read."""
    header = decode_json(_next_line(file, path, 1), path, CategoryFile, f"{LAYOUT} at line 1")
    return categories_by_id(header.categories, f"{path}: line 1")


def _checked_keys(
    file: BinaryIO,
    path: Path,
    categories: Mapping[int, Category],
    limit: SizeLimit,
    places: "array[int]",
    marks: dict[ImageId, Marks],
) -> Iterator[ImageKey]:
    """The keys of a file's images; adds the places of lines, and the marks of images with any."""
    places.append(file.tell())
    for number in count(2):
        content = _next_line(file, path, number)
        place = f"{path}: line {number}"
        if not content.strip():
            if content and _next_line(file, path, number + 1):
                raise DataError(f"{place}: expected an image, got an empty line")
            return
        places.append(places[-1] + len(content))
        line = decode_json(content, place, PointLine, LINE)
        yield check_line(line, place, categories, limit, marks)


def _next_line(file: BinaryIO, path: Path, number: int) -> bytes:
    content = file.readline(MAX_LINE + 1)
    if len(content) > MAX_LINE:
        raise DataError(f"{path}: line {number}: expected at most {MAX_LINE} bytes, got more")
    return content
