"""Point labels: clicks on targets, as JSON or as the published PNGs, and a sampler of clicks."""

import hashlib
import math
import random
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from point2mask.data import point_lines, point_table
from point2mask.data.errors import DataError
from point2mask.data.files import resolve_inside, write_bytes
from point2mask.data.json_files import (
    Point,
)
from point2mask.data.marks import NO_MARKS
from point2mask.data.panoptic import (
    PanopticDataset,
    PanopticImage,
    Segment,
    check_mask_names,
    mask_name,
    read_panoptic,
    write_panoptic,
)
from point2mask.data.places import path_of
from point2mask.data.png import DEFAULT_LIMIT, SizeLimit, read_ids, write_ids
from point2mask.data.point_json import read_point_json
from point2mask.data.records import (
    Category,
    ImageId,
    ImageRecord,
    categories_to_json,
    image_to_json,
    images_by_id,
)
from point2mask.data.report import Report
from point2mask.data.segments import segment_labels
from point2mask.data.targets import (
    PointLabels,
    PointTarget,
    annotation_to_json,
    check_image_marks,
    check_targets,
)
from point2mask.messages import shown
from point2mask.progress import Progress, counted, ignore

OF_OTHERS = (".csv", ".tsv", ".xml")  # suffixes of clicks that are imported
# Formats that are read an image at a time: reader and writer by suffix.
LONG_LISTS = {
    point_lines.SUFFIX: (point_lines.read_point_lines, point_lines.write_point_lines),
    point_table.SUFFIX: (point_table.read_point_table, point_table.write_point_table),
}
CATEGORIES = {
    point_lines.SUFFIX: point_lines.read_line_categories,
    point_table.SUFFIX: point_table.read_table_categories,
}


def read_point_categories(path: str | Path) -> dict[int, Category]:
    """The categories of point labels by id; of long lists no image is looked at.

    Raises:
        DataError: see :func:`read_points`.
    """
    path = path_of(path)
    if path.suffix in CATEGORIES:
        return CATEGORIES[path.suffix](path)
    return read_points(path).categories


def read_points(path: str | Path, limit: SizeLimit = DEFAULT_LIMIT) -> PointLabels:
    """Reads point labels from JSON, from JSON Lines (``.jsonl``) or from Parquet (``.parquet``).

    An image without annotation has no targets.

    The layout mirrors COCO panoptic: ``categories``, ``images`` and ``annotations`` with
    ``image_id`` and ``segments_info``, whose entries have ``id``, ``category_id``, ``points``
    (``[[x, y], ...]``, in pixel (floor x, floor y)) and may have ``area`` and ``iscrowd``.

    Of lines, the first has ``categories``; every other one has an ``image`` and its
    ``segments_info``. They are checked now and read again whenever an image is asked for, so that a
    list of millions takes little memory. A table has a row for such a line, see
    :mod:`point2mask.data.point_table`.

    Raises:
        DataError: the file is not of the layout, a point lies outside its image, or two points of
            an image lie in one pixel.
    """
    path = path_of(path)
    if path.suffix in LONG_LISTS:
        return LONG_LISTS[path.suffix][0](path, limit)
    if path.suffix.lower() in OF_OTHERS:
        raise DataError(
            f"{path}: expected point labels as JSON, JSON Lines or Parquet; clicks in the files of "
            "other tools are made such by 'point2mask points import'"
        )
    return read_point_json(path, limit)


def write_points(path: str | Path, labels: PointLabels) -> None:
    """Writes point labels in the format of the suffix, atomically; see :func:`read_points`."""
    path = path_of(path)
    if path.suffix.lower() in OF_OTHERS:
        raise ValueError(f"path: expected a JSON, JSON Lines or Parquet file, got {path}")
    if path.suffix in LONG_LISTS:
        LONG_LISTS[path.suffix][1](path, labels)
    else:
        write_bytes(path, encode_points(labels, path))


def encode_points(labels: PointLabels, place: object) -> bytes:
    """The content of a JSON of point labels; ``place`` is what errors speak of."""
    annotations = []
    images_by_id([record for record, _ in labels.images], place, DEFAULT_LIMIT)
    for record, targets in labels.images:
        check_targets(record, targets, labels.categories, f"{place}: image {shown(record.id)}")
        marks = labels.marks.get(record.id, NO_MARKS)
        check_image_marks(record, marks, targets, f"{place}: image {shown(record.id)}")
        annotations.append(annotation_to_json(record, targets, marks))
    content = {
        "images": [image_to_json(record) for record, _ in labels.images],
        "annotations": annotations,
        "categories": categories_to_json(labels.categories),
    }
    return msgspec.json.encode(content, enc_hook=float) + b"\n"  # the numbers may be NumPy's


def read_point_pngs(
    json_path: str | Path,
    points_dir: str | Path,
    limit: SizeLimit = DEFAULT_LIMIT,
    report: Report | None = None,
) -> PointLabels:
    """Reads the published format: an ordinary panoptic JSON and PNGs of ids at the points only.

    A segment of the JSON without labelled pixel becomes no target. Points of a target are in
    row-major order; areas in the JSON are those of full masks and are not passed on.

    Args:
        json_path: the panoptic JSON.
        points_dir: the folder of PNGs.
        limit: the largest image accepted.
        report: gets the segments that become no target, and PNGs that cannot be used.

    Raises:
        DataError: as for a panoptic data set, except that segments may lack pixels.
    """
    report = report or Report()
    dataset = read_panoptic(json_path, points_dir, limit=limit)
    images = []
    for image in dataset.images:
        try:
            targets = _read_point_png(dataset, image, report)
        except DataError as error:
            report.broken(error, "images")
            continue
        images.append((image.record, targets))
        report.read["images"] += 1
        report.read["clicks"] += sum(len(target.points) for target in targets)
    return PointLabels(dataset.categories, images)


def _read_point_png(
    dataset: PanopticDataset, image: PanopticImage, report: Report
) -> list[PointTarget]:
    path = dataset.mask_path(image)
    ids = read_ids(path, image.record.height, image.record.width, dataset.limit)
    rows, columns = np.nonzero(ids)
    segment_labels(ids[rows, columns], [segment.id for segment in image.segments], path)
    points: dict[int, list[Point]] = {}
    for identity, y, x in zip(ids[rows, columns].tolist(), rows, columns, strict=True):
        points.setdefault(identity, []).append((float(x), float(y)))
    for segment in image.segments:
        if segment.id not in points:
            report.leave_out("segments without a labelled pixel", f"{path}: segment {segment.id}")
    return [
        PointTarget(s.id, s.category_id, tuple(points[s.id]), iscrowd=s.iscrowd)
        for s in image.segments
        if s.id in points
    ]


def write_point_pngs(
    points_dir: str | Path,
    labels: PointLabels,
    json_path: str | Path | None = None,
    mask_names: Mapping[ImageId, str] | None = None,
    progress: Progress = ignore,
) -> None:
    """Writes the published format: PNGs with ids on the pixels of the points, 0 elsewhere.

    Args:
        points_dir: the folder of PNGs.
        labels: points are moved to their pixels.
        json_path: where to write a panoptic JSON that fits, with the labelled pixels as areas;
            None if the data set's own JSON is to be used.
        mask_names: only without ``json_path``: names of the PNGs by image id, as the data set's
            JSON has them; by default the image's name with the suffix ``.png``.
    """
    points_dir = path_of(points_dir)
    if mask_names is None:
        check_mask_names([record for record, _ in labels.images], points_dir)
    if json_path is not None:
        items = (
            (record, _point_map(record, targets, labels.categories), map(_segment, targets))
            for record, targets in counted(labels.images, progress)
        )
        write_panoptic(json_path, points_dir, labels.categories, items)
        return
    for record, targets in counted(labels.images, progress):
        name = mask_names[record.id] if mask_names else mask_name(record)
        write_ids(resolve_inside(points_dir, name), _point_map(record, targets, labels.categories))


def sample_points(
    dataset: PanopticDataset,
    per_segment: int = 1,
    seed: int = 0,
    progress: Progress = ignore,
    area_error: float | None = None,
    left_out: dict[str, str] | None = None,
) -> PointLabels:
    """Clicks for a data set with masks; see :func:`sample_image_points`.

    An image's points depend on the seed and the image alone, not on the other images.
    ``progress`` is called with the numbers of images done and of all. Images whose masks cannot be
    read are left out and get into ``left_out``, by file name, with the reason; without it the first
    is an error.
    """
    if per_segment < 1:
        raise DataError(f"per_segment must be at least 1, got {per_segment}")
    images = []
    for image in counted(dataset.images, progress):
        try:
            targets = sample_image_points(dataset, image, per_segment, seed, area_error=area_error)
        except DataError as error:
            if left_out is None:
                raise
            left_out[image.record.file_name] = str(error)
        else:
            images.append((image.record, targets))
    return PointLabels(dict(dataset.categories), images)


def sample_image_points(
    dataset: PanopticDataset,
    image: PanopticImage,
    per_segment: int = 1,
    seed: int = 0,
    ids: NDArray[np.int32] | None = None,
    area_error: float | None = None,
) -> list[PointTarget]:
    """Points uniform inside each segment of an image, without replacement, crowds included.

    ``ids`` is the image's segment map where the caller has read it already. With ``area_error``
    targets get an area too, as somebody might estimate it: the true one times the exponential of a
    normal error of that standard deviation, at least a pixel; 0 gives true areas.

    A segment of fewer than ``per_segment`` pixels gives all of them. The first point is the same
    for any ``per_segment``, and so on: sets for fewer points are part of sets for more.
    """
    ids = dataset.segment_map(image) if ids is None else ids
    labels = segment_labels(ids, [segment.id for segment in image.segments])
    order = np.argsort(labels.ravel(), kind="stable")
    ends = np.cumsum(np.bincount(labels.ravel(), minlength=len(image.segments) + 1))
    errors = random.Random(f"{seed}/{image.record.id}")  # the same whatever the deviation is
    targets = []
    for label, segment in enumerate(image.segments, start=1):
        inside = order[ends[label - 1] : ends[label]]
        key = f"{seed}/{image.record.id!r}/{segment.id}"
        chosen = inside[_draw(len(inside), per_segment, key)]
        points = tuple((float(i % ids.shape[1]), float(i // ids.shape[1])) for i in chosen)
        area = None
        if area_error is not None:
            area = max(1.0, len(inside) * math.exp(errors.gauss(0, area_error)))
        targets.append(
            PointTarget(segment.id, segment.category_id, points, area, iscrowd=segment.iscrowd)
        )
    return targets


def _draw(population: int, count: int, key: str) -> list[int]:
    """The first ``count`` entries of a random permutation of range(population), given by a key.

    A hash is the generator: the same points on any machine and with any version of NumPy.
    """
    moved: dict[int, int] = {}  # the entries of the permutation that are not in place
    drawn = []
    for i in range(min(count, population)):
        # 256 bits modulo at most 2^27 pixels: uniform but for 2^-229.
        bits = int.from_bytes(hashlib.sha256(f"{key}/{i}".encode()).digest(), "big")
        j = i + bits % (population - i)
        drawn.append(moved.get(j, j))
        moved[j] = moved.get(i, i)
    return drawn


def _point_map(
    record: ImageRecord, targets: list[PointTarget], categories: Mapping[int, Category]
) -> NDArray[np.int32]:
    check_targets(record, targets, categories, f"image {shown(record.id)}")
    ids = np.zeros((record.height, record.width), np.int32)
    for target in targets:
        for x, y in target.pixels:
            ids[y, x] = target.id
    return ids


def _segment(target: PointTarget) -> Segment:
    return Segment(target.id, target.category_id, target.iscrowd)
