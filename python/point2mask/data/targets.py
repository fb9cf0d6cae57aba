"""Clicks on targets in memory: what they are, what must hold for them, and their form in JSON."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta, Struct, structs
from numpy.typing import NDArray

from point2mask.data.errors import DataError
from point2mask.data.filed import FiledImages, any_of
from point2mask.data.frames import Frame, inside
from point2mask.data.json_files import MAX_ID, CategoryId, Flag, Point, SegmentId
from point2mask.data.marks import NO_MARKS, Marks, check_marks
from point2mask.data.records import Category, ImageId, ImageRecord, check_segment_ids
from point2mask.data.sequences import Mapped


class PointTarget(Struct, frozen=True, gc=False):
    """One target of an image, an instance of a thing or a stuff class, and the clicks on it."""

    id: SegmentId  # unique in its image
    category_id: CategoryId
    points: tuple[Point, ...]  # (x, y); the point lies in pixel (floor x, floor y)
    # Pixels, where somebody knows or guessed it.
    area: Annotated[float, Meta(gt=0, le=float(MAX_ID) ** 2)] | None = None
    iscrowd: Flag = False

    @property
    def pixels(self) -> tuple[tuple[int, int], ...]:
        """The (x, y) pixels that the points lie in."""
        return tuple((int(x), int(y)) for x, y in self.points)


def stated_areas(targets: Sequence[PointTarget], scale: float = 1.0) -> list[float] | None:
    """Areas that come with the targets, times ``scale``, NaN for one without; None if none does."""
    if all(target.area is None for target in targets):
        return None
    return [math.nan if target.area is None else target.area * scale for target in targets]


LabelledImage = tuple[ImageRecord, list[PointTarget]]


class LabelledImages(FiledImages[LabelledImage]):
    """Images of a file with their targets."""

    @staticmethod
    def _with(image: LabelledImage, frame: Frame) -> LabelledImage:
        record, targets = image
        return structs.replace(record, frame=frame), targets


@dataclass(frozen=True, slots=True)
class PointLabels:
    categories: dict[int, Category]
    images: Sequence[LabelledImage]
    marks: Mapping[ImageId, Marks] = field(default_factory=dict)  # of images that have any

    @property
    def records(self) -> Sequence[ImageRecord]:
        """The images without their targets."""
        if isinstance(self.images, LabelledImages):
            return Mapped(self.images.record, range(len(self.images)))
        return Mapped(itemgetter(0), self.images)

    def with_things(self) -> NDArray[np.bool_]:
        """Of every image ``[N]``, whether a thing that is no crowd is among its targets."""
        things = {category.id for category in self.categories.values() if category.isthing}
        if isinstance(self.images, LabelledImages):
            return self.images.have_any(things)
        has = (any_of(targets, things) for _, targets in self.images)
        return np.fromiter(has, np.bool_, len(self.images))


def labels_in_frame(labels: PointLabels, frame: Frame | None) -> PointLabels:
    """The labels with their clicks taken for those on pictures as ``frame``; None leaves them."""
    if frame is None:
        return labels
    if isinstance(labels.images, LabelledImages):
        return replace(labels, images=labels.images.in_frame(frame))

    def in_frame(image: LabelledImage) -> LabelledImage:
        record, targets = image
        return structs.replace(record, frame=frame), targets

    return replace(labels, images=Mapped(in_frame, labels.images))


def annotation_to_json(
    record: ImageRecord, targets: Sequence[PointTarget], marks: Marks
) -> dict[str, object]:
    """An entry of ``annotations``."""
    segments = [target_to_json(target) for target in targets]
    return {"image_id": record.id, "segments_info": segments, **msgspec.to_builtins(marks)}


def target_to_json(target: PointTarget) -> dict[str, object]:
    """An entry of ``segments_info``."""
    entry: dict[str, object] = {
        "id": target.id,
        "category_id": target.category_id,
        "iscrowd": int(target.iscrowd),
        "points": [list(point) for point in target.points],
    }
    if target.area is not None:
        entry["area"] = target.area
    return entry


def moved_inside(target: PointTarget, record: ImageRecord, place: object) -> PointTarget:
    """A target whose points on the rim, or by rounding beside it, are in the last pixel."""
    height, width = record.height, record.width
    for x, y in target.points:
        if not (0 <= x < width and 0 <= y < height):
            break
    else:
        return target
    place = f"{place}: target {target.id}"
    points = tuple(inside(x, y, (height, width), place) for x, y in target.points)
    return msgspec.structs.replace(target, points=points)


def check_targets(
    record: ImageRecord,
    targets: list[PointTarget],
    categories: Mapping[int, Category],
    place: object,
) -> None:
    """Ids, categories, and points: at least one a target, inside the image, one a pixel."""
    check_segment_ids(((t.id, t.category_id) for t in targets), categories, place)
    check_clicks(record, targets, place)


def check_clicks(record: ImageRecord, targets: list[PointTarget], place: object) -> None:
    """At least one point a target, inside the image, one a pixel."""
    owner: dict[tuple[int, int], int] = {}
    for target in targets:
        if not target.points:
            raise DataError(f"{place}: expected points for every target, got none of {target.id}")
        for x, y in target.points:
            if not (0 <= x < record.width and 0 <= y < record.height):
                raise DataError(
                    f"{place}: expected points of target {target.id} inside "
                    f"{record.width} x {record.height} pixels, got ({x}, {y})"
                )
            if (pixel := (int(x), int(y))) in owner:
                raise DataError(
                    f"{place}: expected at most one point in a pixel, got two in {pixel}, "
                    f"of targets {owner[pixel]} and {target.id}"
                )
            owner[pixel] = target.id


def check_image_marks(
    record: ImageRecord, marks: Marks, targets: Sequence[PointTarget], place: object
) -> None:
    """That marks fit an image and its targets; see :func:`check_marks`."""
    if marks is not NO_MARKS:
        pixels = {pixel for target in targets for pixel in target.pixels}
        size = record.height, record.width
        check_marks(marks, size, {target.id for target in targets}, pixels, place)


def keep_marks(
    entry: Marks,
    record: ImageRecord,
    targets: Sequence[PointTarget],
    place: object,
    marks: dict[ImageId, Marks],
) -> None:
    """Checks the marks of an entry of a file, if it has any, and adds them to ``marks``."""
    given = Marks(entry.rest, entry.strokes, entry.status)
    if given != NO_MARKS:
        check_image_marks(record, given, targets, place)
        marks[record.id] = given
