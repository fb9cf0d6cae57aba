"""Labels brought from the one frame of their pictures to the other."""

from dataclasses import replace
from pathlib import Path

from msgspec import structs

from point2mask.data.files import resolve_inside
from point2mask.data.frames import (
    STORED,
    UPRIGHT,
    Frame,
    Mirror,
    Size,
    mirrored_click,
    mirrored_place,
    orientation,
    point_to_shown,
    point_to_stored,
    turned_size,
)
from point2mask.data.marks import Marks
from point2mask.data.records import ImageRecord
from point2mask.data.report import Report
from point2mask.data.targets import PointLabels, PointTarget

Points = tuple[tuple[float, float], ...]


def turn_labels(
    labels: PointLabels, frame: Frame, images_dir: Path | None, report: Report
) -> PointLabels:
    """The labels with all clicks and strokes on pictures as they are ``frame``.

    Args:
        labels: of pictures in any frame.
        frame: that is wanted.
        images_dir: the folder of the pictures, whose EXIF tags say how they are turned, if known.
        report: gets a note of images whose picture is not there; they stay as they are.
    """
    images, marks = [], dict(labels.marks)
    for record, targets in labels.images:
        if record.frame == frame:
            images.append((record, targets))
            continue
        path = None if images_dir is None else resolve_inside(images_dir, record.file_name)
        if path is None or not path.is_file():
            report.note(
                f"images whose clicks stay on the picture as it is {record.frame}, as there is "
                f"no picture in {images_dir or 'a folder (--images)'} that tells how it is turned",
                record.file_name,
            )
            images.append((record, targets))
            continue
        turn = Turn(record, frame, orientation(path))
        images.append((turn.record, [turn.target(target) for target in targets]))
        if record.id in marks:
            marks[record.id] = turn.marks(marks[record.id])
    return replace(labels, images=images, marks=marks)


class Turn:
    """From the frame of a record to the other one."""

    def __init__(self, record: ImageRecord, frame: Frame, tag: int) -> None:
        size = record.height, record.width
        turned = turned_size(size, tag)
        self._stored: Size = size if record.frame == STORED else turned
        self._way, self._tag = point_to_shown if record.frame == STORED else point_to_stored, tag
        height, width = turned
        self.record = structs.replace(record, height=height, width=width, frame=frame)

    def _points(self, points: Points, mirror: Mirror = mirrored_click) -> Points:
        if self._tag == UPRIGHT:
            return points
        return tuple(self._way(x, y, self._stored, self._tag, mirror) for x, y in points)

    def target(self, target: PointTarget) -> PointTarget:
        return structs.replace(target, points=self._points(target.points))

    def marks(self, marks: Marks) -> Marks:
        strokes = tuple(
            structs.replace(stroke, points=self._points(stroke.points, mirrored_place))
            for stroke in marks.strokes
        )
        return structs.replace(marks, rest=self._points(marks.rest), strokes=strokes)
