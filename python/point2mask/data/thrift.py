"""Structures in Thrift's compact protocol, as the footer and the pages of a Parquet file have them.

What other readers would understand otherwise is an error, as what is checked here is read there.
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from collections.abc import Mapping
from typing import Any

BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, STRUCTURE = 3, 4, 5, 6, 7, 8, 9, 10, 12  # kinds
MAX_DEPTH = 16  # of structures and lists in each other; the footer of a Parquet file has eight
BROKEN = (IndexError, ValueError)  # what reading bytes raises that are no structure

# What is wanted of a structure, by the numbers of its fields: an integer of a kind, or of a
# structure, or of each of a list of structures, what is wanted of that.
Wanted = Mapping[int, "int | Wanted | list[Wanted]"]


def structure(
    content: bytes, place: int, wanted: Wanted, depth: int = MAX_DEPTH
) -> tuple[dict[int, Any], int]:
    """The wanted fields of a structure, and where it ends.

    Raises:
        IndexError, ValueError: it is none, or not whole; see :data:`BROKEN`.
    """
    fields: dict[int, Any] = {}
    number = 0
    while head := content[place]:
        place += 1
        if head >> 4:
            number += head >> 4
        else:
            number, place = _integer(content, place)
        if number in fields or not 0 < number < 2**15:
            raise ValueError(f"field {number}")
        kind = head & 15
        inside = wanted.get(number)
        if inside is None:
            place = _skipped(content, place, kind, depth)
        elif isinstance(inside, int) and kind == inside:
            fields[number], place = _integer(content, place)
        elif isinstance(inside, Mapping) and kind == STRUCTURE:
            fields[number], place = structure(content, place, inside, depth - 1)
        elif isinstance(inside, list) and kind == LIST:
            count, kind, place = _head(content, place)
            if kind != STRUCTURE:
                raise ValueError(f"a list of kind {kind}")
            fields[number] = values = []
            for _ in range(count):
                value, place = structure(content, place, inside[0], depth - 2)
                values.append(value)
        else:
            raise ValueError(f"field {number} of kind {kind}")
    return fields, place + 1


def _skipped(content: bytes, place: int, kind: int, depth: int) -> int:
    """Where a value of a field ends."""
    if kind in (1, 2):  # a truth value is in its kind
        return place
    if kind == BYTE:
        return place + 1
    if kind in (I16, I32, I64):
        return _integer(content, place)[1]
    if kind == DOUBLE:
        return place + 8
    if kind == BINARY:
        length, place = _natural(content, place)
        return place + length
    if depth <= 0:
        raise ValueError("nested too deep")
    if kind == STRUCTURE:
        return structure(content, place, {}, depth - 1)[1]
    if kind not in (LIST, SET):
        raise ValueError(f"kind {kind}")
    count, kind, place = _head(content, place)
    for _ in range(count):
        place = _skipped(content, place, BYTE if kind in (1, 2) else kind, depth - 1)
        if place > len(content):
            raise ValueError("a list of more than there is")
    return place


def _head(content: bytes, place: int) -> tuple[int, int, int]:
    """Of a list, how many elements it has, their kind, and where they begin."""
    head = content[place]
    count, place = (head >> 4, place + 1) if head >> 4 < 15 else _natural(content, place + 1)
    return count, head & 15, place


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
