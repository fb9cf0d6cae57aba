"""The annotation page in tests: pictures of a red disc, drags over them, and what is saved."""

from pathlib import Path

import numpy as np
from annotate_page import place
from PIL import Image

from point2mask.data import read_points

WIDTH, HEIGHT = 128, 96


def disc() -> Image.Image:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    picture = np.full((HEIGHT, WIDTH, 3), (40, 60, 200), np.uint8)
    picture[(y - 48) ** 2 + (x - 50) ** 2 < 24**2] = (200, 50, 40)
    return Image.fromarray(picture)


def save_discs(folder: Path, *names: str) -> Path:
    """A new folder of such pictures."""
    folder.mkdir()
    for name in names:
        disc().save(folder / name)
    return folder


def save_turned(path: Path) -> None:
    """Such a picture as a JPEG, which viewers turn by a quarter."""
    tag = Image.Exif()
    tag[0x0112] = 6
    disc().save(path, exif=tag, quality=95)


def at(page, x, y):
    """Where a pixel of the picture is in the window."""
    return place(page, (WIDTH, HEIGHT), (x, y))


def drag(page, *points):
    """From one point of the picture to the next, with the button held."""
    page.mouse.move(*at(page, *points[0]))
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*at(page, *point), steps=6)
    page.mouse.up()


def saved(folder, name="a.png"):
    """The targets and the marks of a picture in the folder's file."""
    labels = read_points(folder / "points.json")
    ((record, targets),) = [item for item in labels.images if item[0].file_name == name]
    return targets, labels.marks.get(record.id)
