"""What people say of an image beside its targets: clicks on nothing, corrections, a status."""

from collections.abc import Collection, Sequence
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from point2mask.data.errors import DataError
from point2mask.data.json_files import Point

NOBODY = 0  # the segment id of what belongs to no target
MAX_RADIUS = 16_384  # pixels

Status = Literal["", "done", "review", "skip"]


class Stroke(Struct, frozen=True):
    """Pixels that somebody gave to a target, or to nobody, by hand.

    Attributes:
        segment_id: of the target; 0 for nobody.
        shape: ``line``: the pixels whose centres are at most ``radius`` from the line through the
            points; ``polygon``: those whose centres it encloses, by the even-odd rule.
        points: (x, y), a pixel's centre at (x + 0.5, y + 0.5).
        radius: pixels; of lines only.
    """

    segment_id: Annotated[int, Meta(ge=0, lt=2**24)]
    shape: Literal["line", "polygon"]
    points: Annotated[tuple[Point, ...], Meta(min_length=1, max_length=10_000)]
    radius: Annotated[float, Meta(ge=0, le=MAX_RADIUS)] = 0


class Marks(Struct, frozen=True, omit_defaults=True):
    """What an image has beside its targets.

    Attributes:
        rest: clicks on pixels that belong to no target.
        strokes: corrections of masks, in their order: the later one has the pixel.
        status: whether somebody looked at the image; "" where nobody said.
    """

    rest: tuple[Point, ...] = ()
    strokes: tuple[Stroke, ...] = ()
    status: Status = ""


NO_MARKS = Marks()


def check_marks(
    marks: Marks,
    size: tuple[int, int],
    segment_ids: Collection[int],
    pixels: Collection[tuple[int, int]],
    place: object,
) -> None:
    """Rest clicks inside the image, one a pixel and none in ``pixels``; strokes of known targets.

    Args:
        marks: of an image.
        size: its height and width.
        segment_ids: of its targets.
        pixels: the (x, y) that its targets' clicks lie in.
        place: what errors speak of.
    """
    height, width = size
    taken = set(pixels)
    for x, y in marks.rest:
        if not (0 <= x < width and 0 <= y < height):
            raise DataError(
                f"{place}: expected rest clicks inside {width} x {height} pixels, got ({x}, {y})"
            )
        if (pixel := (int(x), int(y))) in taken:
            raise DataError(f"{place}: expected at most one point in a pixel, got two in {pixel}")
        taken.add(pixel)
    for stroke in marks.strokes:
        if stroke.segment_id != NOBODY and stroke.segment_id not in segment_ids:
            raise DataError(
                f"{place}: expected strokes of the image's targets, got one of {stroke.segment_id}"
            )
        if stroke.shape == "polygon" and len(stroke.points) < 3:
            raise DataError(f"{place}: expected polygons of at least 3 points")
        if not np.isfinite(stroke.points).all() or np.abs(stroke.points).max() > 2 * MAX_RADIUS:
            raise DataError(f"{place}: expected strokes near the image, got {stroke.points[:3]}")


def draw_strokes(
    labels: NDArray[np.int32],
    strokes: Sequence[Stroke],
    values: dict[int, int],
    size: tuple[int, int] | None = None,
) -> None:
    """Writes strokes into a map ``[h, w]`` of an image, in place.

    Args:
        labels: the map.
        strokes: in their order.
        values: what is written for every segment id.
        size: height and width of the image, where the map has another size.
    """
    height, width = labels.shape
    down, across = (1.0, 1.0) if size is None else (height / size[0], width / size[1])
    for stroke in strokes:
        points = np.asarray(stroke.points) * (across, down)
        if stroke.shape == "polygon":
            _fill_polygon(labels, points, values[stroke.segment_id])
        else:
            # At least the pixel under the line, however small the map.
            radius = max(stroke.radius * np.sqrt(down * across), 0.71)
            for start, end in zip(points, points[1:] if len(points) > 1 else points, strict=False):
                _fill_capsule(labels, start, end, radius, values[stroke.segment_id])


def _fill_polygon(labels: NDArray[np.int32], points: NDArray[np.float64], value: int) -> None:
    from skimage.draw import polygon

    # Only the box about it is looked at.
    rows, columns = polygon(points[:, 1] - 0.5, points[:, 0] - 0.5, labels.shape)  # type: ignore[no-untyped-call]
    labels[rows, columns] = value


def _fill_capsule(
    labels: NDArray[np.int32],
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    radius: float,
    value: int,
) -> None:
    """The pixels whose centres are at most ``radius`` from the line between two points."""
    low, high = np.minimum(start, end) - radius, np.maximum(start, end) + radius
    (left, top), (right, bottom) = np.floor(low).astype(int), np.ceil(high).astype(int)
    window = np.s_[
        max(0, top) : max(0, min(bottom, labels.shape[0])),
        max(0, left) : max(0, min(right, labels.shape[1])),
    ]
    part = labels[window]
    if part.size == 0:
        return
    x = np.arange(part.shape[1]) + window[1].start + 0.5 - start[0]
    y = np.arange(part.shape[0])[:, None] + window[0].start + 0.5 - start[1]
    dx, dy = end - start
    along = np.clip((x * dx + y * dy) / max(dx * dx + dy * dy, 1e-12), 0, 1)
    part[(x - along * dx) ** 2 + (y - along * dy) ** 2 <= radius * radius] = value
