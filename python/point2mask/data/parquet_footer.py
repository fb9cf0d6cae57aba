"""Where the columns of a Parquet file lie, by its footer.

pyarrow shows that too, but ends the process where it does not understand a column, as one that is
encrypted, or whose statistics have a wrong size.
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from point2mask.data import thrift
from point2mask.data.errors import DataError
from point2mask.data.files import one_line
from point2mask.data.kept_file import KeptFile

MAX_FOOTER = 2**25  # bytes: of 18 million images in groups of a thousand
_TAIL = 8  # bytes after it: its length, and four letters
# Fields of a footer, of a group of rows, of its columns, and of what those say of themselves.
_GROUPS = 4
_COLUMNS, _ROWS = 1, 3
_ITSELF, _ENCRYPTION = 3, 8
_VALUES, _BYTES, _PAGES, _DICTIONARY = 5, 7, 9, 11
_COLUMN: thrift.Wanted = dict.fromkeys((_VALUES, _BYTES, _PAGES, _DICTIONARY), thrift.I64)
_GROUP: thrift.Wanted = {_COLUMNS: [{_ITSELF: _COLUMN, _ENCRYPTION: {}}], _ROWS: thrift.I64}


@dataclass(frozen=True)
class Column:
    """A column of a group of rows.

    Attributes:
        path: its names from the outermost on, with points between them.
        kind: of its values in the file, as pyarrow's ``physical_type``.
        values: how many, those of nothing and of lists without any too.
        start: byte of the file where its pages begin.
        end: likewise.
    """

    path: str
    kind: str
    values: int
    start: int
    end: int


@dataclass(frozen=True)
class Group:
    """Rows that are stored together."""

    rows: int
    columns: list[Column]


def read_footer(file: KeptFile, path: Path) -> bytes:
    """It, and what follows; ``path`` is for errors."""
    size = int.from_bytes(file.read_at(4, max(0, file.size - _TAIL)), "little") + _TAIL
    if MAX_FOOTER < size <= file.size:
        raise DataError(f"{path}: expected a footer of at most {MAX_FOOTER} bytes, got {size}")
    return file.read_at(size, max(0, file.size - size))


def groups_of(footer: bytes, schema: Any, path: Path) -> list[Group]:
    """The groups of rows.

    Args:
        footer: see :func:`read_footer`.
        schema: the ``pyarrow.parquet.ParquetSchema`` of the table.
        path: for errors.

    Raises:
        DataError: a group has not the columns of the table, or one of them cannot be read.
    """
    leaves = [(leaf.path, leaf.physical_type) for leaf in map(schema.column, range(len(schema)))]
    try:
        fields, _ = thrift.structure(footer, 0, {_GROUPS: [_GROUP]})
        return [_group(group, leaves, path) for group in fields[_GROUPS]]
    except DataError:
        raise
    except (*thrift.BROKEN, KeyError) as error:
        raise DataError(f"{path}: expected a footer that says where all columns lie") from error


def _group(fields: dict[int, Any], leaves: list[tuple[str, str]], path: Path) -> Group:
    chunks, rows = fields[_COLUMNS], fields[_ROWS]
    if len(chunks) != len(leaves) or rows < 0:
        raise DataError(
            f"{path}: expected groups of rows with {len(leaves)} columns, got one of {rows} rows "
            f"with {len(chunks)}"
        )
    columns = []
    for (name, kind), chunk in zip(leaves, chunks, strict=True):
        if _ENCRYPTION in chunk:
            raise DataError(f"{path}: {one_line(name)}: expected a column that is not encrypted")
        says = chunk[_ITSELF]
        start, dictionary = says[_PAGES], says.get(_DICTIONARY, 0)
        if 0 < dictionary < start:  # some write 0 for none
            start = dictionary
        columns.append(Column(name, kind, says[_VALUES], start, start + says[_BYTES]))
    return Group(rows, columns)
