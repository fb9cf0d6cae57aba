"""Labels of a folder as files of other programs: one folder a format, replaced as a whole."""

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from point2mask.app.formats import Item, write_coco_instances, write_labelme, write_voc
from point2mask.data.errors import DataError
from point2mask.data.files import read_json, write_json
from point2mask.data.panoptic import write_panoptic
from point2mask.data.points import PointLabels, PointTarget, write_points
from point2mask.data.records import Category, ImageRecord, Segment
from point2mask.progress import Progress, counted, ignore

MARK = "export.json"  # in every folder written here, which only then may be replaced
SegmentMap = Callable[[ImageRecord, list[PointTarget]], NDArray[np.int32]]
Writer = Callable[[Path, Path, dict[int, Category], Iterator[Item]], None]


def export(
    format_name: str,
    labels: PointLabels,
    images_dir: Path,
    out: Path,
    segment_map: SegmentMap,
    progress: Progress = ignore,
) -> Path:
    """Writes the labels in one of :data:`FORMATS` to ``out/FORMAT``.

    An earlier export there is replaced when the new one is complete; an interrupted one leaves
    it as it was.

    Args:
        format_name: one of :data:`FORMATS`.
        labels: the clicks.
        images_dir: the folder of the pictures.
        out: made if need be.
        segment_map: an image's ids ``[H, W]`` from its clicks.
        progress: called after every image.

    Raises:
        DataError: an unknown format, no clicks at all, something at ``out/FORMAT`` that was not
            written here, or an image that cannot be labelled or written.
    """
    if format_name not in FORMATS:
        raise DataError(f"expected a format of {', '.join(FORMATS)}, got {format_name!r}")
    if not labels.images:
        raise DataError("there is nothing to export: no picture has a click yet")
    folder = out / format_name
    if folder.exists() and not _is_export(folder):
        raise DataError(f"{folder}: expected a new folder or an earlier export, got another one")
    beside = out / f".{secrets.token_hex(8)}.tmp"
    beside.mkdir(parents=True)
    try:
        if format_name == "points":
            write_points(beside / "points.json", labels)
        else:
            items = (
                (record, segment_map(record, targets), targets)
                for record, targets in counted(labels.images, progress)
            )
            WRITERS[format_name](beside, images_dir, labels.categories, items)
        write_json(beside / MARK, {"format": format_name, "images": len(labels.images)})
        old = out / f".{secrets.token_hex(8)}.tmp"
        if folder.exists():
            os.replace(folder, old)
        os.replace(beside, folder)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


def _is_export(folder: Path) -> bool:
    try:
        return "format" in read_json(folder / MARK, "what was exported")
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
}
FORMATS = (*WRITERS, "points")
