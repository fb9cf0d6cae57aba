"""Exports that are drawn: YOLO polygons, and pictures tinted by their masks with names on them."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from point2mask.app.formats import Item, copy_upright, flat_name
from point2mask.data.files import resolve_inside, write_bytes
from point2mask.data.frames import SHOWN
from point2mask.data.png import WRITTEN_SUFFIXES, read_rgb, write_rgb
from point2mask.data.records import Category, Segment
from point2mask.visualize import overlay


def write_yolo(
    folder: Path, images_dir: Path, categories: Mapping[int, Category], items: Iterator[Item]
) -> None:
    """``images``, ``labels`` with a line a thing, and ``data.yaml``, as YOLO segmentation reads.

    A line is the number of the class, then x and y of the corners in shares of the picture. It has
    one polygon: further pieces and holes hang on it by a way there and back, so that what it
    encloses by the even-odd rule is the mask to the pixel. Things alone, numbered from 0.
    """
    things = [category for category in categories.values() if category.isthing]
    number = {category.id: index for index, category in enumerate(things)}
    taken: set[str] = set()
    for record, ids, targets in items:
        name = flat_name(record, taken)
        lines = []
        for target in targets:
            if target.category_id in number and (mask := ids == target.id).any():
                corners = outline(mask) / (record.width, record.height)
                shares = " ".join(f"{value:.7g}" for value in corners.ravel())
                lines.append(f"{number[target.category_id]} {shares}\n")
        write_bytes(folder / "labels" / f"{name}.txt", "".join(lines).encode())
        source = resolve_inside(images_dir, record.file_name)
        suffix = source.suffix.lower()
        kind = suffix if suffix in WRITTEN_SUFFIXES else ".jpg"
        copy_upright(source, folder / "images" / f"{name}{kind}")
    names = "".join(f"  {index}: {_quoted(c.name)}\n" for index, c in enumerate(things))
    content = f"path: .\ntrain: images\nval: images\nnames:\n{names}"
    write_bytes(folder / "data.yaml", content.encode())


def _quoted(text: str) -> str:
    """Text as YAML, whatever is in it."""
    escaped = text.replace("'", "''")
    return f"'{escaped}'"


def outline(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """One polygon ``[N, 2]`` of (x, y) that encloses the centres of just the mask's pixels.

    By the even-odd rule, a pixel's centre at (x + 0.5, y + 0.5). Several pieces, and holes, are
    one after the other; the way back through all their first corners closes it.
    """
    from skimage.measure import find_contours

    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    top, left = rows[0], columns[0]
    cut = np.pad(mask[top : rows[-1] + 1, left : columns[-1] + 1], 1)
    loops = [
        _corners(loop[:, ::-1] + (left - 0.5, top - 0.5))
        for loop in find_contours(cut.astype(np.float64), 0.5)  # type: ignore[no-untyped-call]
    ]
    back = [loop[:1] for loop in reversed(loops[:-1])]
    return np.concatenate([*loops, *back])


def _corners(loop: NDArray[np.float64]) -> NDArray[np.float64]:
    """A closed loop without the points in the middle of straight lines."""
    steps = np.diff(loop, axis=0)
    before = np.roll(steps, 1, axis=0)
    turns = np.abs(steps[:, 0] * before[:, 1] - steps[:, 1] * before[:, 0]) > 1e-9
    turns[0] = True  # where the loop begins it ends
    return np.concatenate([loop[:-1][turns], loop[:1]])


def write_overlays(
    folder: Path, images_dir: Path, categories: Mapping[int, Category], items: Iterator[Item]
) -> None:
    """``NAME.jpg``: the pictures tinted by their masks, with the names of the targets on them."""
    taken: set[str] = set()
    for record, ids, targets in items:
        name = flat_name(record, taken)
        source = resolve_inside(images_dir, record.file_name)
        image = read_rgb(source, (record.height, record.width), frame=SHOWN)
        segments = [Segment(t.id, t.category_id, t.iscrowd) for t in targets]
        tinted = overlay(image, ids, segments, categories)
        places = {f"{categories[t.category_id].name} {t.id}": t.points[0] for t in targets}
        write_rgb(folder / f"{name}.jpg", _named(tinted, places))


def _named(
    image: NDArray[np.uint8], places: Mapping[str, tuple[float, float]]
) -> NDArray[np.uint8]:
    """A picture with words at places, white on black, inside the picture."""
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    size = max(11, max(image.shape) // 50)
    font = ImageFont.load_default(size)
    for text, (x, y) in places.items():
        left, _, right, bottom = draw.textbbox((0, 0), text, font=font)
        at = (
            max(0, min(x - (right - left) / 2, picture.width - (right - left) - 4)),
            max(0, min(y - size / 2, picture.height - bottom - 4)),
        )
        box = draw.textbbox(at, text, font=font)
        draw.rectangle((box[0] - 2, box[1] - 1, box[2] + 2, box[3] + 1), fill=(0, 0, 0))
        draw.text(at, text, font=font, fill=(255, 255, 255))
    return np.asarray(picture)
