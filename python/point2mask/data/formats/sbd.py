"""The Semantic Boundaries Dataset: instances of more VOC pictures, in MATLAB files.

Only ``inst/*.mat`` is read: it numbers the instances and gives the class of each, so that
``cls/*.mat`` is not needed. SciPy reads them, but trusts what a file says of sizes: nested cells of
a megabyte end the process, 184 bytes can ask for 16 GB. So elements are inflated here, within
bounds, and walked through before SciPy gets them.

Source: MathWorks, MAT-File Format, chapter 1, "Level 5 MAT-File Format".
"""

import io
import math
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from point2mask.data.errors import DataError
from point2mask.data.files import read_bounded, resolve_inside

MAX_INSTANCES = 255  # their numbers are bytes
MAX_BYTES = 2**26  # of a file, and of all that it inflates to
_STRUCT = "GTinst"
_EXPECTED = f"a MATLAB 5 file with a struct {_STRUCT} of Segmentation and Categories"
_HEADER = 128  # bytes
_MATRIX, _COMPRESSED = 14, 15  # types of elements
_DATA = (1, 2, 3, 4, 5, 6, 7, 9, 12, 13, 16, 17, 18)  # those with numbers or characters
_CELL, _STRUCTURE, _CHARACTERS, _SPARSE, _NUMBERS = 1, 2, 4, 5, range(6, 16)  # classes of matrices
_COMPLEX = 0x0800  # a bit beside the class
_DEPTH = 8  # of matrices in matrices; SBD has 3
_SIDE = 2**16  # of a sparse matrix, whose size its bytes do not bound

Numbers = NDArray[np.integer] | NDArray[np.floating]


class _BrokenError(Exception):
    """What is wrong with the content."""


def read_instances(
    folder: Path, name: str, size: tuple[int, int], num_classes: int
) -> tuple[NDArray[np.int32], dict[int, int]]:
    """Numbers of the instances, ``int32 [H, W]``, 0 = background, and the class of each number.

    Args:
        folder: ``benchmark_RELEASE/dataset``.
        name: of the picture, without suffix.
        size: its height and width.
        num_classes: classes are in [1, num_classes].

    Raises:
        DataError: no such file, another size, or numbers that mean nothing.
    """
    path = resolve_inside(folder / "inst", f"{name}.mat")
    try:
        numbers, categories = _read(read_bounded(path, _EXPECTED, MAX_BYTES))
    except _BrokenError as error:
        raise DataError(f"{path}: expected {_EXPECTED}, but {error}") from error
    if numbers.shape != size:
        raise DataError(
            f"{path}: expected {size[1]} x {size[0]} pixels as the picture has, "
            f"got {numbers.shape[1]} x {numbers.shape[0]}"
        )
    categories = categories.ravel()
    if len(categories) > MAX_INSTANCES:
        raise DataError(f"{path}: expected at most {MAX_INSTANCES} instances, got more")
    _check_integers(categories, 1, num_classes, f"{path}: Categories")
    _check_integers(numbers, 0, len(categories), f"{path}: Segmentation")
    classes = {number: int(c) for number, c in enumerate(categories, start=1)}
    return np.array(numbers, dtype=np.int32, order="C"), classes


def _check_integers(values: Numbers, low: int, high: int, place: str) -> None:
    # Written as not (all good), so that NaN is an error.
    good = (values >= low) & (values <= high) & (values == np.floor(values))
    if not good.all():
        raise DataError(f"{place}: expected integers in [{low}, {high}], got {values[~good][0]}")


def _read(content: bytes) -> tuple[Numbers, Numbers]:
    """The matrices of numbers ``[rows, columns]``: segmentation and categories."""
    from scipy.io import loadmat

    order = {b"IM": "<", b"MI": ">"}.get(content[_HEADER - 2 : _HEADER])
    if order is None or struct.unpack(f"{order}H", content[_HEADER - 4 : _HEADER - 2]) != (0x100,):
        raise _BrokenError("it is of another kind")
    safe = content[:_HEADER] + _inflated(memoryview(content)[_HEADER:], order)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found: Any = loadmat(io.BytesIO(safe), variable_names=(_STRUCT,)).get(_STRUCT)
    except Exception as error:  # SciPy raises many types for broken files
        raise _BrokenError(f"SciPy cannot read it ({error})") from error
    if found is None or found.dtype.names is None or not found.size:
        raise _BrokenError("there is none")
    return _numbers(found, "Segmentation"), _numbers(found, "Categories")


def _numbers(found: Any, name: str) -> Numbers:
    values = found.flat[0][name] if name in found.dtype.names else None
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "iuf" or values.ndim != 2:
        raise _BrokenError(f"{name} is no real matrix of numbers")
    return values


def _inflated(view: memoryview, order: str) -> bytes:
    """The matrices of a file, inflated and found to be what they say."""
    parts: list[bytes] = []
    left = MAX_BYTES
    for kind, whole, data in _elements(view, order, padded=False):
        if kind == _COMPRESSED:
            inflated = _inflate(data, left)
            left -= len(inflated)
            kind, whole, data = next(_elements(memoryview(inflated), order), (0, data, data))
        if kind == _MATRIX:
            _check_matrix(data, order, 1)
            parts.append(bytes(whole))
    return b"".join(parts)


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


def _check_matrix(data: memoryview, order: str, depth: int) -> None:
    """That a matrix has the parts that it should, no more entries than bytes, and few levels."""
    if depth > _DEPTH:
        raise _BrokenError(f"it has more than {_DEPTH} levels")
    if not data:  # an empty one
        return
    parts = _elements(data, order)
    flags, sizes, _ = (next(parts, (0, data, data[:0]))[2] for _ in range(3))
    if len(flags) != 8 or len(sizes) % 4 or not 8 <= len(sizes) <= 128:
        raise _BrokenError("a matrix has no class and size")
    word = struct.unpack(f"{order}II", flags)[0]
    kind = word & 0xFF
    shape = struct.unpack(f"{order}{len(sizes) // 4}i", sizes)
    if kind not in (_CELL, _STRUCTURE, _CHARACTERS, _SPARSE, *_NUMBERS) or word & _COMPLEX:
        raise _BrokenError(f"it has a matrix of class {kind} that is none of real numbers")
    entries = math.prod(shape)
    large = max(shape) > _SIDE if kind == _SPARSE else entries > len(data)
    if min(shape) < 0 or large:
        raise _BrokenError(f"a matrix of {' x '.join(map(str, shape))} has {len(data)} bytes")
    wanted = {_CELL: (0, entries), _SPARSE: (3, 0)}.get(kind, (1, 0))
    if kind == _STRUCTURE:
        length, names = (next(parts, (0, data, data[:0]))[2] for _ in range(2))
        size = struct.unpack(f"{order}i", length)[0] if len(length) == 4 else 0
        if size < 1:
            raise _BrokenError("the names of its fields have no length")
        wanted = (0, entries * (len(names) // size))
    found = [0, 0]
    for part, _, inner in parts:
        found[part == _MATRIX] += 1
        if part == _MATRIX:
            _check_matrix(inner, order, depth + 1)
        elif part not in _DATA:  # an index into a table of SciPy's, which does not look
            raise _BrokenError(f"it has data of type {part}")
    if tuple(found) != wanted:  # SciPy reads on, be it behind the end
        raise _BrokenError(f"a matrix has {found} parts, expected {list(wanted)}")


def _elements(
    view: memoryview, order: str, padded: bool = True
) -> Iterator[tuple[int, memoryview, memoryview]]:
    """Type, all bytes and data of elements one after another, each from a multiple of 8 on."""
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
        end = max(8, start + size)
        end += -end % 8 if padded else 0
        yield kind, view[:end], view[start : start + size]
        view = view[end:]
