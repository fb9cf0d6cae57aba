"""Segment maps are a few thousand runs of equal ids: what is needed of them comes from the runs."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from point2mask.data.errors import DataError


def runs(values: NDArray[np.integer]) -> tuple[NDArray[np.integer], NDArray[np.int64]]:
    """Values and lengths of the runs of equal values of an array in row-major order.

    >>> runs(np.array([[4, 4, 0], [0, 7, 7]]))
    (array([4, 0, 7]), array([2, 2, 2]))
    """
    flat = values.ravel()
    if not flat.size:
        return flat, np.zeros(0, np.int64)
    starts = np.concatenate(([0], np.flatnonzero(flat[1:] != flat[:-1]) + 1))
    return flat[starts], np.diff(starts, append=flat.size)


def segment_areas(ids: NDArray[np.integer]) -> dict[int, int]:
    """Pixels of every id of a segment map, in ascending order of ids; 0 is void.

    >>> segment_areas(np.array([[4, 4, 0], [0, 7, 7]]))
    {0: 2, 4: 2, 7: 2}
    """
    values, lengths = runs(ids)
    unique, inverse = np.unique(values, return_inverse=True)
    areas = np.bincount(inverse, weights=lengths, minlength=len(unique))  # exact below 2^53
    return dict(zip(unique.tolist(), areas.astype(np.int64).tolist(), strict=True))


def check_segments(
    ids: NDArray[np.integer], segment_ids: Sequence[int], place: object = "segment map"
) -> dict[int, int]:
    """Areas of the segments of a map; ids without segment or segments without pixels are errors.

    Raises:
        DataError: the two do not agree; ``place`` says where.
    """
    areas = segment_areas(ids)
    areas.pop(0, None)
    for identity in areas.keys() - set(segment_ids):
        raise DataError(f"{place}: expected every id to have a segment, got {identity} without")
    for identity in segment_ids:
        if identity not in areas:
            raise DataError(f"{place}: expected pixels for every segment, got none of {identity}")
    return areas


def segment_labels(
    ids: NDArray[np.integer], segment_ids: Iterable[int], place: object = "segment map"
) -> NDArray[np.int32]:
    """Compact labels of a segment map: 0 for void, 1 + k for the k-th of ``segment_ids``.

    Raises:
        DataError: an id in the map is neither 0 nor among ``segment_ids``; ``place`` says where.
    """
    known = np.array([0, *segment_ids], np.int64)
    order = np.argsort(known, kind="stable")
    values, lengths = runs(ids)
    position = np.minimum(np.searchsorted(known, values, sorter=order), len(known) - 1)
    run_labels = order[position]
    unknown = known[run_labels] != values
    if unknown.any():
        got = values[unknown][0]
        raise DataError(f"{place}: expected every id to have a segment, got {got} without")
    return np.repeat(run_labels.astype(np.int32), lengths).reshape(ids.shape)


def segment_boxes(labels: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    """Tight boxes ``[count, 4]`` (x, y, width, height) of the labels 1 to ``count`` of a map.

    A label without pixels has the box 0, 0, 0, 0.

    >>> segment_boxes(np.array([[0, 1, 1], [0, 0, 1]], np.int32), 1)
    array([[1, 0, 2, 2]])
    """
    boxes = np.zeros((count, 4), np.int64)
    for axis in (0, 1):  # along rows: extent in y; along columns: extent in x
        size = labels.shape[axis]
        present = np.zeros((count + 1, size), np.bool_)
        present[labels, np.arange(size)[:, None] if axis == 0 else np.arange(size)] = True
        if size:
            first = present[1:].argmax(1)
            last = size - present[1:, ::-1].argmax(1)
            boxes[:, 1 - axis] = first
            boxes[:, 3 - axis] = np.where(present[1:].any(1), last - first, 0)
    return boxes
