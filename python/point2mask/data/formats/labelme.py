"""Clicks as labelme stores them: a JSON for every picture, shapes of the type "point"."""

import posixpath
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated

from msgspec import Meta, Struct

from point2mask.data.errors import DataError
from point2mask.data.files import resolve_inside, write_json
from point2mask.data.formats.pictures import MAX_FILE, Click, ClickedImage, Pictures
from point2mask.data.json_files import Pixels, Point, Text, read_json
from point2mask.data.point_json import POINTS_NAME
from point2mask.data.targets import PointLabels

EXPORTED = "export.json"  # in every folder that the annotation page exported
VERSION = "5.0.0"  # of labelme, whose files look like ours


def read_labelme(path: Path, pictures: Pictures) -> list[ClickedImage]:
    """Clicks of a JSON, or of all in a folder and its folders; other shapes are left out.

    A picture is looked for by ``imagePath``, from the folder of its JSON, and by the last part of
    that; shapes with the same ``group_id`` and label are one target. Clicks are on the picture as
    viewers show it.

    Raises:
        DataError: no labelme file; the message names the shape.
    """
    files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
    own = (path / EXPORTED, path / POINTS_NAME)
    files = [file for file in files if file not in own or not _is_own(file)]
    if not files:
        raise DataError(f"{path}: expected JSON files of labelme, got none")
    folder = path if path.is_dir() else path.parent
    images = []
    for file in files:
        try:
            images.append(_read(folder, file.relative_to(folder).as_posix(), pictures))
        except DataError as error:
            pictures.report.broken(error, "files")
    return images


def _is_own(path: Path) -> bool:
    """Whether a file is the page's clicks, or what it notes of an export, and no picture's."""
    try:
        content = read_json(path, dict[str, object], "a JSON of labelme", MAX_FILE)
    except DataError:
        return False  # it is named when it is read
    return not content.keys().isdisjoint({"format", "images"}) and "imagePath" not in content


class _Shape(Struct):
    label: Text
    points: list[Point]
    shape_type: Text = "polygon"  # as all were until version 3.2
    group_id: Annotated[int, Meta(ge=0)] | None = None


class _File(Struct):
    imagePath: Text
    shapes: list[_Shape]
    imageHeight: Pixels | None = None
    imageWidth: Pixels | None = None


def _read(folder: Path, name: str, pictures: Pictures) -> ClickedImage:
    path = resolve_inside(folder, name)
    root = read_json(path, _File, "a JSON of labelme", MAX_FILE)
    names = _names(PurePosixPath(name).parent, root.imagePath)
    size = (root.imageHeight, root.imageWidth)
    image = pictures.find(names, f"{path}: imagePath", "labelme", size)
    for number, shape in enumerate(root.shapes):
        place = f"{path}: shapes[{number}]"
        if shape.shape_type == "point":
            image.clicks.append(_click(shape, number, place))
        else:
            pictures.report.leave_out(
                f"shapes of the kind {shape.shape_type}, which are no clicks", place
            )
    return image


def _names(folder: PurePosixPath, given: str) -> list[str]:
    """What the picture of a JSON in ``folder`` may be called.

    Labelme has its path from there, by backslashes on Windows, or an absolute one. Where it leads
    out of the folder, as much of its end counts as fits, and it may lie beside the JSON.
    """
    path = PureWindowsPath(given)  # takes either separator
    beside = (folder / path.name).as_posix()
    if path.anchor:
        return [path.relative_to(path.anchor).as_posix(), beside]
    whole = posixpath.normpath((folder / path.as_posix()).as_posix())
    end = "/".join(part for part in whole.split("/") if part != "..")
    return [end or given, beside]


def _click(shape: _Shape, number: int, place: str) -> Click:
    if len(shape.points) != 1:
        raise DataError(f"{place}.points: expected one [x, y], got {len(shape.points)}")
    ((x, y),) = shape.points
    group = None if shape.group_id is None else str(shape.group_id)
    return Click(place, x, y, shape.label, number, group)


def write_labelme(folder: Path, labels: PointLabels) -> None:
    """Writes a JSON for every image, with the ids of targets as ``group_id``.

    They belong beside the pictures. Areas, crowds and what is stuff are not in them.

    Raises:
        DataError: there is a file of that name already, or two images would have the same.
    """
    names = [PurePosixPath(r.file_name).with_suffix(".json").as_posix() for r, _ in labels.images]
    paths = [resolve_inside(folder, name) for name in names]
    for path in paths:
        if path.exists():
            raise DataError(f"{path}: expected a new name to write, but there is such a file")
    owner: dict[str, str] = {}
    for name, (record, _) in zip(names, labels.images, strict=True):
        other = owner.setdefault(name, record.file_name)
        if other != record.file_name:
            raise DataError(
                f"{folder}: expected names of images that differ before the suffix, got {other} "
                f"and {record.file_name}"
            )
    for path, (record, targets) in zip(paths, labels.images, strict=True):
        shapes = [
            {
                "label": labels.categories[target.category_id].name,
                "points": [list(point)],
                "group_id": target.id,
                "shape_type": "point",
                "flags": {},
            }
            for target in targets
            for point in target.points
        ]
        write_json(
            path,
            {
                "version": VERSION,
                "flags": {},
                "shapes": shapes,
                "imagePath": PurePosixPath(record.file_name).name,
                "imageData": None,
                "imageHeight": record.height,
                "imageWidth": record.width,
            },
        )
