"""COCO panoptic layout: a JSON of categories, images and segments, and a PNG of ids an image."""

from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path

import numpy as np
from msgspec import Struct, structs
from numpy.typing import NDArray

from point2mask.data.compact import Annotated, Records, read_records
from point2mask.data.errors import DataError
from point2mask.data.filed import FiledImages, Kinds, any_of, have_any
from point2mask.data.files import normal_name, resolve_inside, with_suffix, write_json
from point2mask.data.frames import Frame
from point2mask.data.json_files import Identifier, Text
from point2mask.data.json_lists import JsonList, open_lists
from point2mask.data.places import path_of
from point2mask.data.png import DEFAULT_LIMIT, SizeLimit, read_ids, write_ids
from point2mask.data.records import (
    Category,
    CategoryEntry,
    ImageId,
    ImageRecord,
    Segment,
    categories_by_id,
    categories_to_json,
    check_entries,
    check_segment_ids,
    image_to_json,
)
from point2mask.data.segments import check_segments, segment_boxes, segment_labels
from point2mask.data.sequences import Mapped, first_repeated
from point2mask.messages import shown

__all__ = [
    "Category",
    "ImageId",
    "ImageRecord",
    "PanopticDataset",
    "PanopticImage",
    "Segment",
    "read_panoptic",
    "write_panoptic",
]


@dataclass(frozen=True, slots=True)
class PanopticImage:
    record: ImageRecord
    mask_name: str  # relative to the folder of masks
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class PanopticDataset:
    """What a panoptic JSON says. PNGs are read one at a time by :meth:`segment_map`."""

    categories: dict[int, Category]
    images: Sequence[PanopticImage]
    masks_dir: Path
    limit: SizeLimit = DEFAULT_LIMIT

    def mask_path(self, image: PanopticImage) -> Path:
        return resolve_inside(self.masks_dir, image.mask_name)

    def segment_map(self, image: PanopticImage) -> NDArray[np.int32]:
        """Segment ids ``int32 [H, W]``, 0 = void, checked against the image's segments.

        Raises:
            DataError: no such PNG, another size, broken; an id without segment or a segment
                without pixels.
        """
        path = self.mask_path(image)
        ids = read_ids(path, image.record.height, image.record.width, self.limit)
        check_segments(ids, [segment.id for segment in image.segments], path)
        return ids

    @property
    def records(self) -> Sequence[ImageRecord]:
        """The images without their segments."""
        if isinstance(self.images, PanopticImages):
            return Mapped(self.images.record, range(len(self.images)))
        return Mapped(attrgetter("record"), self.images)

    def have_any(self, categories: Collection[int]) -> NDArray[np.bool_]:
        """Of all images ``[N]``, whether a segment is of these categories, and no crowd."""
        if isinstance(self.images, PanopticImages):
            return self.images.have_any(categories)
        has = (any_of(image.segments, categories) for image in self.images)
        return np.fromiter(has, np.bool_, len(self.images))


class PanopticImages(FiledImages[PanopticImage]):
    """Images of a file with their segments."""

    @staticmethod
    def _with(image: PanopticImage, frame: Frame) -> PanopticImage:
        return replace(image, record=structs.replace(image.record, frame=frame))


def in_frame(dataset: PanopticDataset, frame: Frame | None) -> PanopticDataset:
    """The data set with its masks taken for those on pictures as ``frame``; None leaves them."""
    if frame is None:
        return dataset
    if isinstance(dataset.images, PanopticImages):
        return replace(dataset, images=dataset.images.in_frame(frame))
    images = [PanopticImages._with(image, frame) for image in dataset.images]
    return replace(dataset, images=images)


class _Annotation(Struct):
    image_id: Identifier
    file_name: Text
    segments_info: tuple[Segment, ...]


class _PanopticJson:
    """Images whose segments stay in the file; an ``ImageFile``."""

    def __init__(self, records: Records, numbers: Sequence[int], annotations: JsonList) -> None:
        """
        Args:
            records: the images.
            numbers: of the image of every annotation.
            annotations: all of them, whose order is that of this file's images.
        """
        self._records, self._numbers, self._annotations = records, numbers, annotations

    def __len__(self) -> int:
        return len(self._numbers)

    def image(self, number: int) -> PanopticImage:
        """An image and its segments."""
        entry: _Annotation = self._annotations.entry(number, _Annotation)
        name = normal_name(entry.file_name, self._annotations.place(number))
        return PanopticImage(self.record(number), name, entry.segments_info)

    def record(self, number: int) -> ImageRecord:
        """An image without its segments."""
        return self._records[self._numbers[number]]

    def have_any(self, categories: Collection[int]) -> NDArray[np.bool_]:
        """Of all images, whether a segment is of these categories, and no crowd."""
        return have_any(self._annotations.entries(Kinds), categories)


def read_panoptic(
    json_path: str | Path,
    masks_dir: str | Path | None = None,
    *,
    layout_of: PanopticDataset | None = None,
    limit: SizeLimit = DEFAULT_LIMIT,
) -> PanopticDataset:
    """Reads a panoptic JSON; masks lie in ``masks_dir``, by default in the folder of its stem.

    It is checked now, and the segments of an image are read again whenever that is asked for, so
    that a list of millions takes little memory.

    Args:
        json_path: the JSON file.
        masks_dir: the folder of PNGs.
        layout_of: where images and categories come from if the JSON has only annotations, as
            COCO result files do.
        limit: the largest image accepted.

    Raises:
        DataError: the file is not of the layout; the message names the entry.
    """
    json_path = path_of(json_path)
    root = open_lists(json_path, ("images", "annotations"), "a COCO panoptic JSON")
    if root.has("categories"):
        entries = root.value("categories", list[CategoryEntry])
        categories = categories_by_id(entries, json_path)
    elif layout_of is not None:
        categories = layout_of.categories
    else:
        raise DataError(f"{json_path}: categories: expected a list, got none")
    if root.has("images"):
        records = read_records(root.list("images"), limit)
    elif layout_of is not None:
        records = Records.of(layout_of.records)
    else:
        raise DataError(f"{json_path}: images: expected a list, got none")
    annotations, annotated = root.list("annotations"), Annotated(records)
    numbers = array("i")
    for index, entry in enumerate(annotations.entries(_Annotation)):
        place = annotations.place(index)
        numbers.append(annotated.image_of(entry.image_id, place))
        check_entries(entry.segments_info, categories, place)
        normal_name(entry.file_name, f"{place}.file_name")
    if layout_of is None and (missing := annotated.missing()):
        first = min(map(records.id, missing), key=str)
        raise DataError(
            f"{json_path}: expected an annotation for every image, got none for image "
            f"{first!r} ({len(missing)} in all)"
        )
    folder = json_path.with_suffix("") if masks_dir is None else path_of(masks_dir)
    images = PanopticImages(_PanopticJson(records, numbers, annotations))
    return PanopticDataset(categories, images, folder, limit)


def write_panoptic(
    json_path: str | Path,
    masks_dir: str | Path | None,
    categories: Mapping[int, Category],
    items: Iterable[tuple[ImageRecord, NDArray[np.integer], Iterable[Segment]]],
) -> PanopticDataset:
    """Writes PNGs as the items come and the JSON at the end, every file atomically.

    A JSON of that name is removed first: none ever speaks of the masks of another run.

    Args:
        json_path: the JSON file.
        masks_dir: the folder of PNGs, None for the folder of the JSON's stem. A mask is named
            like its image, with the suffix ``.png``.
        categories: by id.
        items: image, segment map ``[H, W]`` of ids (0 = void) and the map's segments. Areas and
            boxes are computed from the map; a given area is not looked at.

    Returns:
        The data set as :func:`read_panoptic` would return it.

    Raises:
        DataError: an item that could not be read back (see there).
    """
    json_path = path_of(json_path)
    folder = json_path.with_suffix("") if masks_dir is None else path_of(masks_dir)
    json_path.unlink(missing_ok=True)
    names: dict[str, ImageId] = {}
    known: set[ImageId] = set()
    images: list[PanopticImage] = []
    annotations: list[dict[str, object]] = []
    for record, ids, segments in items:
        name = mask_name(record)
        if record.id in known or name in names:
            raise DataError(f"{json_path}: expected unique image ids and names, got {record} again")
        known.add(record.id)
        names[name] = record.id
        image, annotation = write_mask(folder, record, ids, tuple(segments), categories)
        images.append(image)
        annotations.append(annotation)
    write_json(
        json_path,
        {
            "images": [image_to_json(image.record) for image in images],
            "annotations": annotations,
            "categories": categories_to_json(categories),
        },
    )
    return PanopticDataset(dict(categories), images, folder)


def write_mask(
    folder: Path,
    record: ImageRecord,
    ids: NDArray[np.integer],
    segments: Sequence[Segment],
    categories: Mapping[int, Category],
) -> tuple[PanopticImage, dict[str, object]]:
    """Writes the PNG of one image; returns the image and its annotation in the JSON.

    Raises:
        DataError: an item that could not be read back (see :func:`read_panoptic`).
    """
    name = mask_name(record)
    path = resolve_inside(folder, name)
    if ids.shape != (record.height, record.width):
        raise DataError(
            f"{path}: expected a segment map of {record.width} x {record.height} pixels, "
            f"got shape {list(ids.shape)}"
        )
    measured, infos = _measure(ids, tuple(segments), categories, path)
    write_ids(path, ids)
    annotation: dict[str, object] = {
        "image_id": record.id,
        "file_name": name,
        "segments_info": infos,
    }
    return PanopticImage(record, name, measured), annotation


def mask_name(record: ImageRecord) -> str:
    """The name of an image's mask in files written here: the image's with the suffix .png."""
    name = normal_name(record.file_name, f"image {shown(record.id)}")
    return with_suffix(name, ".png")


def check_mask_names(
    records: Sequence[ImageRecord], place: object, part: range = range(0)
) -> list[str]:
    """That every picture has a mask of its own; returns the file names at some positions."""
    file_names: list[str] = []

    def mask_names() -> Iterator[str]:
        for index, record in enumerate(records):
            if index in part:
                file_names.append(record.file_name)
            yield mask_name(record)

    if repeated := first_repeated(mask_names(), lambda index: mask_name(records[index])):
        first, second = (records[index] for index in repeated)
        raise DataError(
            f"{place}: expected pictures whose masks have different names, but {first.file_name} "
            f"and {second.file_name} both have {mask_name(first)}; rename one of them"
        )
    return file_names


def _measure(
    ids: NDArray[np.integer],
    segments: tuple[Segment, ...],
    categories: Mapping[int, Category],
    place: object,
) -> tuple[tuple[Segment, ...], list[dict[str, object]]]:
    """Segments with their areas, and their JSON with boxes [x, y, width, height]."""
    check_segment_ids(((s.id, s.category_id) for s in segments), categories, place)
    areas = check_segments(ids, [segment.id for segment in segments], place)
    labels = segment_labels(ids, [segment.id for segment in segments], place)
    boxes = segment_boxes(labels, len(segments))
    measured = tuple(structs.replace(segment, area=areas[segment.id]) for segment in segments)
    infos: list[dict[str, object]] = [
        {
            "id": segment.id,
            "category_id": segment.category_id,
            "iscrowd": int(segment.iscrowd),
            "bbox": box,
            "area": segment.area,
        }
        for segment, box in zip(measured, boxes.tolist(), strict=True)
    ]
    return measured, infos
