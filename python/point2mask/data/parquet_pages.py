"""What the pages of a Parquet file say of themselves, as its footer need not be right about them.

A page says how many values and bytes it becomes in memory, and pyarrow makes room for them unasked.
Pages begin with a ``PageHeader`` in Thrift's compact protocol; pyarrow shows none of it.
https://parquet.apache.org/docs/file-format/data-pages/,
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from point2mask.data.errors import DataError

MAX_HEADER = 2**16  # bytes
MAX_DEPTH = 8  # of structures in a header, which has three
DATA, INDEX, DICTIONARY, DATA_2 = range(4)  # kinds of pages
DELTA_BYTE_ARRAY = 7  # an encoding
# The field of a header that has more of such a page, and of that, the one of its encoding.
_DETAILS = {DATA: (5, 2), DICTIONARY: (7, 2), DATA_2: (8, 4)}


@dataclass(frozen=True)
class Page:
    """What a page says of itself: bytes without its header, in memory and in the file."""

    kind: int
    values: int
    encoding: int
    size: int
    stored: int


def pages(read: Callable[[int, int], bytes], start: int, end: int, place: object) -> Iterator[Page]:
    """The pages of a column of a group of rows.

    Args:
        read: gives so many bytes, or fewer at the end, from a place of the file.
        start: where the first one begins.
        end: where the last one ends.
        place: what errors speak of.

    Raises:
        DataError: a page is not whole, or says what no page does.
    """
    while start < end:
        content = read(min(MAX_HEADER, end - start), start)
        try:
            header, length = _structure(content, 0, MAX_DEPTH)
            kind = header[1]
            field, encoding = _DETAILS.get(kind, (None, 0))
            more = {} if field is None else header[field]
            page = Page(kind, more.get(1, 0), more.get(encoding, 0), header[2], header[3])
        except (IndexError, KeyError, AttributeError, ValueError, struct.error) as error:
            raise DataError(f"{place}: expected the header of a page at byte {start}") from error
        start += length
        if min(page.values, page.size, page.stored) < 0 or page.stored > end - start:
            raise DataError(
                f"{place}: expected a page of at most {end - start} bytes at byte {start}, got one "
                f"of {page.stored} for {page.values} values"
            )
        start += page.stored
        yield page


def _structure(content: bytes, place: int, depth: int) -> tuple[dict[int, Any], int]:
    """The fields of a structure by their numbers, and where it ends."""
    fields: dict[int, Any] = {}
    number = 0
    while head := content[place]:
        place += 1
        if head >> 4:
            number += head >> 4
        else:
            number, place = _integer(content, place)
        kind = head & 15
        if kind in (1, 2):  # a truth value is in its kind
            fields[number] = kind == 1
        else:
            fields[number], place = _value(content, place, kind, depth)
    return fields, place + 1


def _value(content: bytes, place: int, kind: int, depth: int) -> tuple[Any, int]:
    """A value, and where it ends; lists are stepped over."""
    if kind in (1, 2, 3):
        return content[place], place + 1
    if kind in (4, 5, 6):
        return _integer(content, place)
    if kind == 7:
        return struct.unpack_from("<d", content, place)[0], place + 8
    if kind == 8:
        length, place = _natural(content, place)
        return content[place : place + length], place + length
    if depth == 0:
        raise ValueError("nested too deep")
    if kind == 12:
        return _structure(content, place, depth - 1)
    if kind not in (9, 10):
        raise ValueError(f"unknown kind {kind}")
    head = content[place]
    count, place = (head >> 4, place + 1) if head >> 4 < 15 else _natural(content, place + 1)
    for _ in range(count):
        _, place = _value(content, place, head & 15, depth - 1)
    return None, place


def _integer(content: bytes, place: int) -> tuple[int, int]:
    value, place = _natural(content, place)
    return (value >> 1) ^ -(value & 1), place


def _natural(content: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[place]
        place += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, place
        if shift > 63:
            raise ValueError("an integer of more than 64 bits")
