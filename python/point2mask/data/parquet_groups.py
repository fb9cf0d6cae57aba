"""What is read of a Parquet file at once, a group of rows, is bounded before it is read.

Few bytes of a file can stand for many in memory: values that are repeated, and pages of which the
footer says other things than they do themselves.
"""

import io
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from point2mask.data.errors import DataError
from point2mask.data.files import one_line
from point2mask.data.kept_file import KeptFile
from point2mask.data.parquet_footer import Column
from point2mask.data.parquet_pages import (
    DELTA_BYTE_ARRAY,
    DELTA_LENGTH_BYTE_ARRAY,
    DICTIONARY,
    pages,
)

MAX_GROUP = 2**28  # bytes of those that are read together, in memory, and of the texts in them
MAX_VALUES = 2**23  # numbers and texts of those; repeated ones take no room in a file
ADVICE = "write it with fewer rows in a group"
# Texts in pages of those can be more than their pages, or are counted before they are there.
UNBOUNDED = {
    DELTA_LENGTH_BYTE_ARRAY: "DELTA_LENGTH_BYTE_ARRAY",
    DELTA_BYTE_ARRAY: "DELTA_BYTE_ARRAY",
}


class OwnPlace(io.RawIOBase):
    """A file to read and seek in, that leaves the place of its descriptor as it is.

    Processes share that place once they are forked, as those are that load data for training.
    """

    def __init__(self, file: KeptFile) -> None:
        self._file, self._place = file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {
            os.SEEK_SET: 0,
            os.SEEK_CUR: self._place,
            os.SEEK_END: self._file.size,
        }[whence]
        self._place = start + offset
        return self._place

    def readinto(self, buffer: Any) -> int:
        count = os.preadv(self._file.descriptor, [buffer], self._place)
        self._place += count
        return count


def check_groups(
    groups: Iterable[list[Column]], read: Callable[[int, int], bytes], path: Path
) -> list[str]:
    """That each can be read at once; gives the paths of the columns of text.

    Args:
        groups: the columns that are wanted.
        read: see :func:`point2mask.data.parquet_pages.pages`.
        path: for errors.
    """
    texts = set()
    for columns in groups:
        values = sum(column.values for column in columns)
        if values > MAX_VALUES:
            raise DataError(
                f"{path}: expected groups of rows of at most {MAX_VALUES} values, got one of "
                f"{values}; {ADVICE}"
            )
        size = sum(_checked_size(column, read, path) for column in columns)
        if size > MAX_GROUP:
            raise DataError(
                f"{path}: expected groups of rows of at most {MAX_GROUP} bytes, got one of {size}; "
                f"{ADVICE}"
            )
        texts |= {column.path for column in columns if column.kind == "BYTE_ARRAY"}
    return sorted(texts)


def check_texts(group: Any, path: Path) -> None:
    """That those of a group, the repeated ones too, are no more than can be held."""
    size = sum(_text_size(part) for column in group.columns for part in column.chunks)
    if size > MAX_GROUP:
        raise DataError(
            f"{path}: expected groups of rows with at most {MAX_GROUP} bytes of text, got one of "
            f"{size}; {ADVICE}"
        )


def _checked_size(column: Column, read: Callable[[int, int], bytes], path: Path) -> int:
    """The bytes that the pages of a column take in memory, of a footer that speaks the truth."""
    place = f"{path}: {one_line(column.path)}"
    expected = "expected numbers or texts of any length, in a dictionary or one by one, got"
    if column.kind == "FIXED_LEN_BYTE_ARRAY":
        raise DataError(f"{place}: {expected} {column.kind}")
    values = size = 0
    for page in pages(read, column.start, column.end, place):
        size += page.size
        if page.kind == DICTIONARY:
            if 4 * page.values > page.size:  # of numbers as of lengths of texts
                raise DataError(
                    f"{place}: expected a dictionary of at most {page.size // 4} values in "
                    f"{page.size} bytes, got one of {page.values}"
                )
            continue
        if page.encoding in UNBOUNDED:
            raise DataError(f"{place}: {expected} {column.kind} in {UNBOUNDED[page.encoding]}")
        values += page.values
    if values != column.values:
        raise DataError(
            f"{place}: expected pages of {column.values} values, as the footer says, got {values}"
        )
    return size


def _text_size(array: Any) -> int:
    """Bytes of all texts in an array, the repeated ones too."""
    import pyarrow as pa
    from pyarrow import compute

    if pa.types.is_dictionary(array.type):
        lengths = compute.binary_length(array.dictionary).take(array.indices)
        return compute.sum(lengths).as_py() or 0
    if pa.types.is_struct(array.type):
        return sum(_text_size(array.field(n)) for n in range(array.type.num_fields))
    return _text_size(array.values) if pa.types.is_nested(array.type) else 0
