"""What people say of an image beside its targets: clicks on nothing, corrections, a status."""

from collections.abc import Collection
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta, Struct

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
