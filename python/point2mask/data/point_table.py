"""Point labels in Parquet: an image a row, with the keys of a line of JSON Lines as columns.

The categories are JSON in the file's metadata, under the key ``categories``. Rows are read in
groups, whenever one is asked for; pyarrow (extra ``parquet``) reads and writes them.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from point2mask.data.errors import DataError
from point2mask.data.filed import any_of
from point2mask.data.files import one_line, open_local, open_replacing
from point2mask.data.json_files import convert, decode_json
from point2mask.data.kept_file import KeptFile
from point2mask.data.marks import Marks
from point2mask.data.parquet_footer import Column, Group, groups_of, read_footer
from point2mask.data.parquet_groups import OwnPlace, check_groups, check_texts
from point2mask.data.png import SizeLimit
from point2mask.data.point_columns import UnusualError, plain_rows, rows_of
from point2mask.data.point_lines import (
    ImageKey,
    PointLine,
    check_line,
    check_repeated,
    labelled_image,
    lines_of,
)
from point2mask.data.records import (
    Category,
    CategoryFile,
    ImageId,
    ImageRecord,
    categories_by_id,
    categories_to_json,
    normal_record,
)
from point2mask.data.targets import LabelledImage, LabelledImages, PointLabels
from point2mask.messages import shown

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

SUFFIX = ".parquet"
LAYOUT = "a Parquet table of point labels"
CATEGORIES = b"categories"
GROUP = 1000  # rows that are written together, and read together
_COLUMNS = ("image", "segments_info", "rest", "strokes", "status")


class PointTable:
    """The images of a table, read in groups of rows when they are asked for; an ``ImageFile``."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        """
        Args:
            path: for errors.
            file: the table, or a copy of it; its descriptor is duplicated.
        """
        self._path, self._file = path, KeptFile(file.fileno())
        _, parquet = _pyarrow(path)
        with _reading(path):
            footer = read_footer(self._file, path)
            self._metadata = parquet.read_metadata(OwnPlace(self._file))
            groups = groups_of(footer, self._metadata.schema, path)
            self._texts = check_groups(map(_wanted, groups), self._file.read_at, path)
        self._ends = list(accumulate(group.rows for group in groups))
        # The groups that were read last, by their columns, and the images of a part of one.
        self._groups: dict[tuple[str, ...], tuple[int, Any]] = {}
        self._records: tuple[int, list[ImageRecord]] = (0, [])

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def image(self, number: int) -> LabelledImage:
        """An image and its targets."""
        group, row = self._group_of(number, _COLUMNS)
        (value,) = self._values(group.slice(row, 1))
        place = self._place(number)
        return labelled_image(_line(value, place), place)

    def record(self, number: int) -> ImageRecord:
        """An image without its targets."""
        first, records = self._records  # of another thread perhaps
        if not 0 <= number - first < len(records):
            group, row = self._group_of(number, ("image",))
            first = number - row % GROUP
            rows = self._values(group.slice(row - row % GROUP, GROUP))
            records = [_record(row, self._place(first + n)) for n, row in enumerate(rows)]
            self._records = first, records
        return records[number - first]

    def have_any(self, categories: Collection[int]) -> NDArray[np.bool_]:
        """Of all images, whether a target is of these categories, and no crowd."""
        found = [np.zeros(0, np.bool_)]
        for first, rows in self._batches(("segments_info",)):
            try:
                with _reading(self._path):
                    found.append(rows_of(rows, categories))
            except UnusualError:
                numbers = range(first, first + rows.num_rows)
                has = [any_of(self.image(number)[1], categories) for number in numbers]
                found.append(np.array(has, np.bool_))
        return np.concatenate(found)

    def checked_keys(
        self, categories: Mapping[int, Category], limit: SizeLimit, marks: dict[ImageId, Marks]
    ) -> Iterator[ImageKey]:
        """The keys of all images, every row checked; adds the marks of those that have any."""
        for first, rows in self._batches(_COLUMNS):
            with _reading(self._path):
                plain = plain_rows(rows, categories, limit)
                others = iter(rows.filter(_pyarrow(self._path)[0].array(~plain)).to_pylist())
                keys: Iterable[Any] = plain  # of which none is asked for where no row is plain
                if plain.any():
                    images = rows.column("image")
                    fields = (images.field(name).to_pylist() for name in ("id", "file_name"))
                    keys = zip(*fields, strict=True)
            for number, (right, key) in enumerate(zip(plain, keys, strict=True), start=first):
                if right:
                    yield key
                else:
                    place = self._place(number)
                    yield check_line(_line(next(others), place), place, categories, limit, marks)

    def _batches(self, columns: tuple[str, ...]) -> Iterator[tuple[int, Any]]:
        """All rows, a thousand or fewer at a time, after the number of the first of them."""
        first = 0
        for number in range(len(self._ends)):
            for rows in self._read(number, columns).to_batches(max_chunksize=GROUP):
                yield first, rows
                first += rows.num_rows

    def _group_of(self, number: int, columns: tuple[str, ...]) -> tuple[Any, int]:
        """The group that a row is in, and its place there."""
        wanted = bisect_right(self._ends, number)
        known, group = self._groups.get(columns, (-1, None))  # of another thread perhaps
        if wanted != known:
            group = self._read(wanted, columns)
            self._groups[columns] = wanted, group
        return group, number - (self._ends[wanted - 1] if wanted else 0)

    def _read(self, number: int, columns: tuple[str, ...]) -> Any:
        """Some columns of a group of rows."""
        with _reading(self._path):
            table = self._opened()
            known = [name for name in columns if name in table.schema_arrow.names]
            group = table.read_row_group(number, columns=known, use_threads=False)
            check_texts(group, self._path)
        expected = self._ends[number] - (self._ends[number - 1] if number else 0)
        if group.num_rows != expected:
            raise DataError(
                f"{self._path}: expected a group of {expected} rows, as the footer says, got "
                f"{group.num_rows}"
            )
        return group

    def _place(self, number: int) -> str:
        """What errors call a row."""
        return f"{self._path}: row {number + 1}"

    def categories(self) -> dict[int, Category]:
        """Those in the metadata."""
        with _reading(self._path):
            content = (self._opened().schema_arrow.metadata or {}).get(CATEGORIES)
        if content is None:
            raise DataError(
                f"{self._path}: expected categories as JSON in the metadata, under the key "
                "'categories', got none"
            )
        file = decode_json(b'{"categories":' + content + b"}", self._path, CategoryFile, LAYOUT)
        return categories_by_id(file.categories, f"{self._path}: categories")

    def _opened(self) -> "ParquetFile":
        """The table for one reading: no thread or process may share that with another."""
        _, parquet = _pyarrow(self._path)
        return parquet.ParquetFile(
            OwnPlace(self._file),
            metadata=self._metadata,
            read_dictionary=self._texts,  # of those that are repeated one is kept, as in the file
            page_checksum_verification=True,
        )

    def _values(self, rows: Any) -> list[dict[str, Any]]:
        with _reading(self._path):
            values: list[dict[str, Any]] = rows.to_pylist()
            return values


def read_table_categories(path: Path) -> dict[int, Category]:
    """The categories alone: no image is looked at."""
    with open_local(path, LAYOUT) as file:
        return PointTable(path, file).categories()


def read_point_table(path: Path, limit: SizeLimit) -> PointLabels:
    """Reads the table once and checks every row; see :func:`point2mask.data.read_points`."""
    marks: dict[ImageId, Marks] = {}
    with open_local(path, LAYOUT) as file:
        table = PointTable(path, file)
    categories = table.categories()
    keys = table.checked_keys(categories, limit, marks)
    check_repeated(keys, lambda: table, f"{path}: row", 1)
    return PointLabels(categories, LabelledImages(table), marks)


def write_point_table(path: Path, labels: PointLabels) -> None:
    """Writes point labels a group of rows at a time, atomically.

    Raises:
        DataError: images of whose ids some are numbers and some text, which no column can hold.
    """
    pa, parquet = _pyarrow(path)
    numbers = isinstance(labels.images[0][0].id, int) if len(labels.images) else True
    schema = _schema(pa, pa.int64() if numbers else pa.string())
    content = msgspec.json.encode(categories_to_json(labels.categories))
    schema = schema.with_metadata({CATEGORIES: content})
    rows: list[Mapping[str, Any]] = []
    with open_replacing(path) as file, parquet.ParquetWriter(file, schema) as writer:
        for line in lines_of(labels, path):
            identity = line["image"]["id"]
            if isinstance(identity, int) != numbers:
                raise DataError(
                    f"{path}: expected image ids all of one type, got {shown(identity)} too"
                )
            rows.append(line)
            if len(rows) == GROUP:
                writer.write_table(pa.Table.from_pylist(rows, schema), GROUP)
                rows.clear()
        if rows:
            writer.write_table(pa.Table.from_pylist(rows, schema), GROUP)


def _schema(pa: Any, identity: Any) -> Any:
    points = pa.list_(pa.list_(pa.float64()))
    image = {
        "id": identity,
        "file_name": pa.string(),
        "height": pa.int32(),
        "width": pa.int32(),
        "exif_frame": pa.string(),
    }
    target = {
        "id": pa.int32(),
        "category_id": pa.int32(),
        "iscrowd": pa.int8(),
        "points": points,
        "area": pa.float64(),
    }
    stroke = {
        "segment_id": pa.int32(),
        "shape": pa.string(),
        "points": points,
        "radius": pa.float64(),
    }
    types = (
        pa.struct(image),
        pa.list_(pa.struct(target)),
        points,
        pa.list_(pa.struct(stroke)),
        pa.string(),
    )
    return pa.schema(list(zip(_COLUMNS, types, strict=True)))


def _pyarrow(path: Path) -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise DataError(
            f"{path}: Parquet needs pyarrow; pip install 'point2mask[parquet]'"
        ) from error
    return pyarrow, pyarrow.parquet


def _wanted(group: Group) -> list[Column]:
    """The columns of a group that are read."""
    return [column for column in group.columns if column.path.partition(".")[0] in _COLUMNS]


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """What goes wrong in pyarrow, a dozen types of errors, is a broken file."""
    try:
        yield
    except (DataError, UnusualError):
        raise
    except Exception as error:
        reason = one_line(" ".join(str(error).split()))
        raise DataError(f"{path}: expected {LAYOUT}, but it cannot be read ({reason})") from error


def _line(row: Mapping[str, Any], place: str) -> PointLine:
    return convert(_present(row), PointLine, place)


def _record(row: Mapping[str, Any], place: str) -> ImageRecord:
    """The image of a row."""
    image = {key: value for key, value in row["image"].items() if value is not None}
    place = f"{place}: image"
    return normal_record(convert(image, ImageRecord, place), place)


def _present(value: Any) -> Any:
    """A value without the empty fields of tables, for what JSON leaves out."""
    if isinstance(value, dict):
        return {key: _present(part) for key, part in value.items() if part is not None}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [_present(part) for part in value]
    return value
