"""Rows of a table of point labels, thousands at a time: what their columns say by themselves.

A row at a time takes Python a hundred microseconds, a column a thousandth of it.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from point2mask.data.files import is_plain
from point2mask.data.frames import Frame
from point2mask.data.json_files import MAX_ID, MAX_SEGMENT_ID
from point2mask.data.png import SizeLimit
from point2mask.data.records import Category

FRAMES = (None, *get_args(Frame))


class UnusualError(Exception):
    """Columns of other types than are written here, or with values that are missing."""


def plain_rows(
    rows: Any, categories: Mapping[int, Category], limit: SizeLimit
) -> NDArray[np.bool_]:
    """The rows of which their columns show that nothing is wrong with them, and that have no marks.

    Another row need not be wrong: it has to be looked at on its own.

    Args:
        rows: a ``pyarrow.RecordBatch``.
        categories: that targets may be of.
        limit: the largest image accepted.
    """
    try:
        return _plain_rows(rows, categories, limit)
    except UnusualError:
        return np.zeros(rows.num_rows, np.bool_)


def rows_of(rows: Any, categories: Collection[int]) -> NDArray[np.bool_]:
    """The rows with a target of these categories that is no crowd.

    Raises:
        UnusualError: the columns cannot tell.
    """
    targets, owner = _inside(_column(rows, "segments_info"))
    wanted = np.isin(_integers(targets, "category_id"), list(categories))
    wanted &= _crowds(targets) == 0
    return np.bincount(owner[wanted], minlength=rows.num_rows) > 0


def _plain_rows(
    rows: Any, categories: Mapping[int, Category], limit: SizeLimit
) -> NDArray[np.bool_]:
    image = _column(rows, "image")
    plain = _plain_texts(_field(image, "file_name"))
    identity = _field(image, "id")
    if not _is("signed_integer", identity):
        plain &= _plain_texts(identity)
    frames = _optional(image, "exif_frame")
    if frames is not None:
        plain &= _all_of(frame in FRAMES for frame in frames.to_pylist())
    height, width = _integers(image, "height"), _integers(image, "width")
    plain &= _fitting(height, width, limit)
    for name in ("rest", "strokes", "status"):
        if name in rows.schema.names:
            plain &= _all_of(not value for value in _column(rows, name).to_pylist())

    targets, owner = _inside(_column(rows, "segments_info"))
    ids, kinds = _integers(targets, "id"), _integers(targets, "category_id")
    right = (ids >= 1) & (ids <= MAX_SEGMENT_ID) & np.isin(kinds, list(categories))
    right &= np.isin(_crowds(targets), (0, 1))
    areas = _optional(targets, "area")
    if areas is not None:
        if not (_is("floating", areas) or _is("integer", areas)):
            raise UnusualError
        area = areas.fill_null(1).to_numpy(zero_copy_only=False)
        right &= (area > 0) & (area <= float(MAX_ID) ** 2)
    plain[owner[_repeated(owner * (MAX_SEGMENT_ID + 1) + ids)]] = False

    points, target = _inside(_field(targets, "points"))
    right &= np.bincount(target, minlength=len(targets)) > 0
    values, point = _inside(points)
    if not _is("floating", values) or values.null_count or _uneven(point, len(points)):
        raise UnusualError
    x, y = values.to_numpy(zero_copy_only=False).astype(np.float64).reshape(-1, 2).T
    row = owner[target]
    inside = (x >= 0) & (x < width[row]) & (y >= 0) & (y < height[row])
    right[target[~inside]] = False
    pixel = np.where(inside, y, 0).astype(np.int64) * width[row] + np.where(inside, x, 0).astype(
        np.int64
    )
    plain[row[_repeated(row * (limit.pixels + 1) + pixel)]] = False
    plain[owner[~right]] = False
    return plain


def _column(rows: Any, name: str) -> Any:
    if name not in rows.schema.names:
        raise UnusualError
    return rows.column(name)


def _optional(array: Any, name: str) -> Any:
    """A field of an array of objects, None where they have none of that name."""
    from pyarrow import compute

    if not _is("struct", array) or array.null_count:
        raise UnusualError
    if array.type.get_field_index(name) < 0:
        return None
    return compute.struct_field(array, name)


def _field(array: Any, name: str) -> Any:
    """The same of a field that every object must have."""
    field = _optional(array, name)
    if field is None or field.null_count:
        raise UnusualError
    return field


def _integers(array: Any, name: str) -> NDArray[np.int64]:
    field = _field(array, name)
    if not _is("signed_integer", field):
        raise UnusualError
    return np.asarray(field.to_numpy(zero_copy_only=False), np.int64)


def _crowds(targets: Any) -> NDArray[np.int64]:
    crowds = _optional(targets, "iscrowd")
    if crowds is None:
        return np.zeros(len(targets), np.int64)
    if not _is("signed_integer", crowds):
        raise UnusualError
    return np.asarray(crowds.fill_null(0).to_numpy(zero_copy_only=False), np.int64)


def _inside(lists: Any) -> tuple[Any, NDArray[np.int64]]:
    """What all lists of an array hold, and the position of the list that each of it is in."""
    from pyarrow import compute

    if not (_is("list", lists) or _is("large_list", lists)) or lists.null_count:
        raise UnusualError
    lengths = np.asarray(compute.list_value_length(lists).to_numpy(), np.int64)
    return compute.list_flatten(lists), np.repeat(np.arange(len(lists)), lengths)


def _is(kind: str, array: Any) -> bool:
    import pyarrow as pa

    return bool(getattr(pa.types, f"is_{kind}")(array.type))


def _plain_texts(array: Any) -> NDArray[np.bool_]:
    return _all_of(isinstance(text, str) and is_plain(text) for text in array.to_pylist())


def _all_of(values: Iterable[bool]) -> NDArray[np.bool_]:
    return np.fromiter(values, np.bool_)


def _fitting(
    height: NDArray[np.int64], width: NDArray[np.int64], limit: SizeLimit
) -> NDArray[np.bool_]:
    """The rows whose images have a size that is accepted."""
    sizes = list(zip(height.tolist(), width.tolist(), strict=True))
    fitting = {size for size in set(sizes) if min(size) >= 1 and limit.accepts(*size)}
    return _all_of(size in fitting for size in sizes)


def _repeated(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """The positions of values that have come before."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    repeated: NDArray[np.int64] = order[1:][ordered[1:] == ordered[:-1]]
    return repeated


def _uneven(point: NDArray[np.int64], points: int) -> bool:
    """Whether a point has other than two coordinates."""
    return bool((np.bincount(point, minlength=points) != 2).any())
