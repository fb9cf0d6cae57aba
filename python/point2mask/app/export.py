"""Labels of a folder as files of other programs: one folder a format, replaced as a whole."""

import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from point2mask.app.formats import (
    Item,
    upright,
    write_coco_instances,
    write_labelme,
    write_voc,
)
from point2mask.app.polygons import write_overlays, write_yolo
from point2mask.data.errors import DataError
from point2mask.data.files import open_replacing, resolve_inside, temporary_name, write_json
from point2mask.data.formats.labelme import EXPORTED
from point2mask.data.json_files import read_json
from point2mask.data.marks import NO_MARKS, Marks
from point2mask.data.panoptic import write_panoptic
from point2mask.data.points import write_points
from point2mask.data.records import Category, ImageRecord, Segment
from point2mask.data.targets import PointLabels, PointTarget
from point2mask.progress import Progress, counted, ignore

STORED = (".jpg", ".jpeg", ".png", ".webp")  # packed already
SegmentMap = Callable[[ImageRecord, list[PointTarget], Marks], NDArray[np.int32]]
Writer = Callable[[Path, Path, dict[int, Category], Iterator[Item]], None]


@dataclass(frozen=True)
class How:
    """What masks are made from, as it is noted in the export."""

    cue: str
    assigner: str


def export(
    format_name: str,
    labels: PointLabels,
    images_dir: Path,
    out: Path,
    segment_map: SegmentMap,
    how: How,
    progress: Progress = ignore,
) -> Path:
    """Writes the labels in one of :data:`FORMATS` to ``out/FORMAT``.

    An earlier export there is replaced when the new one is complete; an interrupted one leaves
    it as it was. ``export.json`` in it says how it was made.

    Args:
        format_name: one of :data:`FORMATS`.
        labels: the clicks.
        images_dir: the folder of the pictures.
        out: made if need be.
        segment_map: an image's ids ``[H, W]`` from its clicks.
        how: noted.
        progress: called after every image.

    Raises:
        DataError: an unknown format, no clicks at all, pictures whose results would have one name,
            something at ``out/FORMAT`` that was not written here, or an image that cannot be
            labelled or written.
    """
    if format_name not in FORMATS:
        raise DataError(f"expected a format of {', '.join(FORMATS)}, got {format_name!r}")
    if not labels.images:
        raise DataError("there is nothing to export: no picture has a click yet")
    if format_name in BY_STEM:
        _check_stems([record for record, _ in labels.images], format_name)
    names = [Path(record.file_name).with_suffix(".json").as_posix() for record, _ in labels.images]
    if format_name == "labelme" and EXPORTED in names:
        raise DataError(
            f"labelme needs pictures whose JSON is not {EXPORTED}, which says how they were "
            f"exported; rename {labels.images[names.index(EXPORTED)][0].file_name}"
        )
    folder = out / format_name
    if folder.exists() and not _is_export(folder):
        raise DataError(f"{folder}: expected a new folder or an earlier export, got another one")
    beside = temporary_name(folder)
    beside.mkdir(parents=True)
    try:
        if format_name == "points":
            write_points(beside / "points.json", labels)
        else:
            items = (
                _item(record, targets, labels.marks.get(record.id, NO_MARKS), segment_map)
                for record, targets in counted(labels.images, progress)
            )
            if format_name not in AS_STORED:
                items = (upright(i, resolve_inside(images_dir, i[0].file_name)) for i in items)
            WRITERS[format_name](beside, images_dir, labels.categories, items)
        made = {"format": format_name, "images": len(labels.images)}
        write_json(beside / EXPORTED, made if format_name == "points" else {**made, **asdict(how)})
        old = temporary_name(folder)
        if folder.exists():
            os.replace(folder, old)
        os.replace(beside, folder)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


def _item(
    record: ImageRecord, targets: list[PointTarget], marks: Marks, segment_map: SegmentMap
) -> Item:
    """An image with the targets that have a pixel: a correction may have taken all of them."""
    ids = segment_map(record, targets, marks)
    present = set(np.unique(ids).tolist())
    return record, ids, [target for target in targets if target.id in present]


def zipped(folder: Path) -> Path:
    """A folder as ``FOLDER.zip`` beside it, below the folder's own name; the folder is removed."""
    path = folder.with_name(f"{folder.name}.zip")
    with open_replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        for one in sorted(folder.rglob("*")):
            if one.is_file():
                packed = one.suffix.lower() in STORED
                method = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
                archive.write(one, one.relative_to(folder.parent), method)
    shutil.rmtree(folder)
    return path


def _check_stems(records: list[ImageRecord], format_name: str) -> None:
    """Before any work: names that differ by more than the suffix."""
    seen: dict[str, str] = {}
    for record in records:
        stem = Path(record.file_name).with_suffix("").as_posix()
        if stem in seen:
            raise DataError(
                f"{format_name.replace('_', ' ')} needs pictures that differ by more than the "
                f"suffix, got {seen[stem]} and {record.file_name}"
            )
        seen[stem] = record.file_name


def _is_export(folder: Path) -> bool:
    try:
        return "format" in read_json(folder / EXPORTED, dict[str, object], "what was exported")
    except DataError:
        return False


def _write_panoptic(
    folder: Path, images_dir: Path, categories: dict[int, Category], items: Iterator[Item]
) -> None:
    """``panoptic.json`` and ``panoptic/*.png``, as ``point2mask evaluate`` reads them."""
    segmented = (
        (record, ids, [Segment(t.id, t.category_id, t.iscrowd) for t in targets])
        for record, ids, targets in items
    )
    write_panoptic(folder / "panoptic.json", folder / "panoptic", categories, segmented)


WRITERS: dict[str, Writer] = {
    "coco_panoptic": _write_panoptic,
    "coco_instances": write_coco_instances,
    "voc": write_voc,
    "labelme": write_labelme,
    "yolo": write_yolo,
    "overlays": write_overlays,
}
AS_STORED = ("coco_panoptic",)  # read by our own commands, which take pictures as they are stored
BY_STEM = ("coco_panoptic", "labelme")  # these name results by the picture without its suffix
FORMATS = (*WRITERS, "points")
