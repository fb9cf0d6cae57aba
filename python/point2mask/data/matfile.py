"""Number arrays of a struct in a MATLAB 5 file, from files that nobody vouches for.

``scipy.io.loadmat`` is not for those: nested cells of a megabyte end the process, 184 bytes can ask
for 16 GB. Here nothing is allocated beyond the bytes at hand, which are limited, nothing recurses,
and what is not asked for is stepped over.

Source: MathWorks, MAT-File Format, chapter 1, "Level 5 MAT-File Format".
"""

import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from point2mask.data.errors import DataError
from point2mask.data.files import open_regular

MAX_BYTES = 2**26  # of a file, and of all that it inflates to
_HEADER = 128  # bytes
_MAX_DIMENSIONS = 32
_INT8, _INT32, _UINT32, _MATRIX, _COMPRESSED = 1, 5, 6, 14, 15
_STRUCT, _NUMBERS, _COMPLEX = 2, range(6, 16), 0x0800
# How numbers are stored, which may be a smaller type than that of their array.
_DTYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8"}
_DTYPES |= {12: "i8", 13: "u8"}

Numbers = NDArray[np.integer] | NDArray[np.floating]
_Element = tuple[int, memoryview]


class _BrokenError(Exception):
    """What is wrong with the content."""


def read_struct(path: Path, variable: str, fields: Sequence[str]) -> dict[str, Numbers]:
    """Some fields, real matrices of numbers ``[rows, columns]``, of a struct in a file.

    Raises:
        DataError: the file is broken, too large, or lacks the struct or one of the fields.
    """
    expected = f"a MATLAB 5 file with a struct {variable} of {', '.join(fields)}"
    with open_regular(path, expected) as file:
        content = file.read(MAX_BYTES + 1)
    try:
        return _read_struct(content, variable, fields)
    except _BrokenError as error:
        raise DataError(f"{path}: expected {expected}, but {error}") from error


def _read_struct(content: bytes, variable: str, fields: Sequence[str]) -> dict[str, Numbers]:
    if len(content) > MAX_BYTES:
        raise _BrokenError(f"it is larger than {MAX_BYTES} bytes")
    order = {b"IM": "<", b"MI": ">"}.get(content[_HEADER - 2 : _HEADER])
    if order is None or struct.unpack(f"{order}H", content[_HEADER - 4 : _HEADER - 2]) != (0x100,):
        raise _BrokenError("it is of another kind")
    for view in _variables(memoryview(content)[_HEADER:], order):
        parts = _elements(view, order)
        kind, name = _head(parts, order)[::2]
        if name == variable:
            if kind != _STRUCT:
                raise _BrokenError(f"{variable} is no struct")
            return _read_fields(parts, order, fields)
    raise _BrokenError("there is none")


def _variables(view: memoryview, order: str) -> Iterator[memoryview]:
    """The contents of the matrices of a file, inflated where they are compressed."""
    left = MAX_BYTES
    for kind, data in _elements(view, order, padded=False):
        if kind == _COMPRESSED:
            inflated = _inflate(data, left)
            left -= len(inflated)
            kind, data = _next(_elements(memoryview(inflated), order))
        if kind == _MATRIX:
            yield data


def _inflate(data: memoryview, limit: int) -> bytes:
    inflater = zlib.decompressobj()
    try:
        inflated = inflater.decompress(data, limit + 1)
    except zlib.error as error:
        raise _BrokenError(f"it cannot be decompressed ({error})") from error
    if len(inflated) > limit:
        raise _BrokenError(f"it inflates to more than {MAX_BYTES} bytes")
    if not inflater.eof:
        raise _BrokenError("it ends early")
    return inflated


def _elements(view: memoryview, order: str, padded: bool = True) -> Iterator[_Element]:
    """Types and data of the elements that lie one after another, each from a multiple of 8 on."""
    while view:
        if len(view) < 8:
            raise _BrokenError("it ends early")
        kind, size = struct.unpack(f"{order}II", view[:8])
        start = 8
        if kind >> 16:  # up to 4 bytes of data lie within the tag
            kind, size, start = kind & 0xFFFF, kind >> 16, 4
            if size > 4:
                raise _BrokenError("it has an element that does not end")
        if start + size > len(view):
            raise _BrokenError("it ends early")
        yield kind, view[start : start + size]
        end = max(8, start + size)
        view = view[end + (-end % 8 if padded else 0) :]


def _next(elements: Iterator[_Element], wanted: int | None = None) -> _Element:
    element = next(elements, None)
    if element is None:
        raise _BrokenError("it ends early")
    if wanted is not None and element[0] != wanted:
        raise _BrokenError(f"an element of type {wanted} is one of type {element[0]}")
    return element


def _head(parts: Iterator[_Element], order: str) -> tuple[int, tuple[int, ...], str]:
    """Class (with a bit for complex numbers), dimensions and name of a matrix."""
    flags = _next(parts, _UINT32)[1]
    sizes = _next(parts, _INT32)[1]
    name = _next(parts, _INT8)[1]
    if len(flags) != 8 or len(sizes) % 4 or len(sizes) > 4 * _MAX_DIMENSIONS:
        raise _BrokenError("a matrix has no class and size")
    kind = struct.unpack(f"{order}II", flags)[0] & (0xFF | _COMPLEX)
    return kind, struct.unpack(f"{order}{len(sizes) // 4}i", sizes), bytes(name).decode("latin-1")


def _read_fields(
    parts: Iterator[_Element], order: str, wanted: Sequence[str]
) -> dict[str, Numbers]:
    length_bytes = _next(parts, _INT32)[1]
    names = bytes(_next(parts, _INT8)[1])
    length = struct.unpack(f"{order}i", length_bytes)[0] if len(length_bytes) == 4 else 0
    if length < 1:
        raise _BrokenError("the names of its fields have no length")
    found = {}
    # An array of structs would go on behind these: the first one is read.
    for start in range(0, len(names), length):
        name = names[start : start + length].partition(b"\0")[0].decode("latin-1")
        data = _next(parts, _MATRIX)[1]
        if name in wanted:
            found[name] = _numbers(data, order, name)
    for name in wanted:
        if name not in found:
            raise _BrokenError(f"{name} is missing")
    return found


def _numbers(view: memoryview, order: str, name: str) -> Numbers:
    parts = _elements(view, order)
    kind, shape, _ = _head(parts, order)
    if kind not in _NUMBERS or len(shape) != 2:
        raise _BrokenError(f"{name} is no real matrix of numbers")
    stored, data = _next(parts)
    dtype = _DTYPES.get(stored)
    if dtype is None:
        raise _BrokenError(f"{name} holds no numbers")
    item = np.dtype(f"{order}{dtype}")
    if min(shape) < 0 or math.prod(shape) * item.itemsize != len(data):
        raise _BrokenError(f"{name} has {len(data)} bytes for {shape[0]} x {shape[1]} numbers")
    return np.frombuffer(data, item).reshape(shape, order="F")
