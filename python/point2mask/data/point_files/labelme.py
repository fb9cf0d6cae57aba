"""Clicks as labelme stores them: a JSON for every picture, shapes of the type "point"."""

from pathlib import Path, PurePosixPath

from point2mask.data.errors import DataError
from point2mask.data.files import Fields, read_json, resolve_inside, write_json
from point2mask.data.point_files.clicks import MAX_FILE, Click, ClickedImage, Pictures
from point2mask.data.points import PointLabels

VERSION = "5.0.0"  # of labelme, whose files look like ours


def read_labelme(path: Path, pictures: Pictures) -> list[ClickedImage]:
    """Clicks of a JSON, or of all in a folder and its folders.

    A picture is looked for by the last part of ``imagePath``, where its JSON lies in ``path``;
    shapes with the same ``group_id`` and label are one target.

    Raises:
        DataError: no labelme file, or shapes other than points; the message names the shape.
    """
    files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
    if not files:
        raise DataError(f"{path}: expected JSON files of labelme, got none")
    folder = path if path.is_dir() else path.parent
    return [_read(folder, file.relative_to(folder).as_posix(), pictures) for file in files]


def _read(folder: Path, name: str, pictures: Pictures) -> ClickedImage:
    root = read_json(resolve_inside(folder, name), "a JSON of labelme", MAX_FILE)
    # From the folder of the JSON, and by backslashes where labelme ran on Windows.
    last = PurePosixPath(root.text("imagePath").replace("\\", "/")).name
    height, width = (
        root.integer(key, 1, pictures.limit.side) if root.has(key, int) else None
        for key in ("imageHeight", "imageWidth")
    )
    image_name = (PurePosixPath(name).parent / last).as_posix()
    image = pictures.find(image_name, f"{root.place}: imagePath", height, width)
    for number, shape in enumerate(root.objects("shapes")):
        image.clicks.append(_click(shape, number))
    return image


def _click(shape: Fields, number: int) -> Click:
    kind = shape.text("shape_type")
    if kind != "point":
        raise shape.error("shape_type", "'point', as other shapes are no clicks")
    points = shape.pairs("points")
    if len(points) != 1:
        raise shape.error("points", "one [x, y]")
    group = str(shape.integer("group_id", 0, 2**63)) if shape.has("group_id", int) else None
    ((x, y),) = points
    return Click(str(shape.place), x, y, shape.text("label"), number, group)


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
    if len(set(names)) != len(names):
        raise DataError(f"{folder}: expected names of images that differ before the suffix")
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
