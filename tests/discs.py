"""Pictures for the tests of the annotation page: a red disc on blue."""

from pathlib import Path

import numpy as np
from annotate_page import place
from PIL import Image

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
