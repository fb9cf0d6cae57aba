"""Clicks on five tiny pictures, for the tests of the files that clicks come in."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from msgspec import structs

from point2mask.data import Category, ImageRecord, PointLabels, PointTarget, write_rgb

HEIGHT, WIDTH = 5, 8
CATEGORIES = {
    3: Category(3, "cat", True, (1, 2, 3)),
    9: Category(9, 'a "dog", wet', True, (1, 2, 4)),
    4: Category(4, "grass", False, (9, 9, 9)),
}
HEAD = "image,x,y,category\n"


def write_photos(folder):
    for name in ("a.png", "sub/b.png", "0.png", "1.png", "2.png"):
        write_rgb(folder / name, np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    return folder


def table(folder: Path, text: str) -> Path:
    path = folder / "clicks.csv"
    path.write_text(text, encoding="utf-8")
    return path


def shown(labels):
    """The same labels, of pictures as viewers show them."""
    images = [(structs.replace(r, frame="shown"), targets) for r, targets in labels.images]
    return replace(labels, images=images)


@st.composite
def point_labels(draw):
    """At least a click an image; at most one target of each class of stuff."""
    images = []
    for index in sorted(draw(st.sets(st.integers(0, 2), min_size=1))):
        pixels = draw(st.permutations([(x, y) for y in range(HEIGHT) for x in range(WIDTH)]))
        kinds = draw(st.lists(st.sampled_from([3, 9]), max_size=4)) + [4] * draw(st.booleans())
        kinds = kinds or [3]
        ids = draw(
            st.lists(
                st.integers(1, 2**24 - 1), min_size=len(kinds), max_size=len(kinds), unique=True
            )
        )
        targets = []
        for identity, kind in zip(ids, kinds, strict=True):
            count = draw(st.integers(1, 3))
            chosen, pixels = pixels[:count], pixels[count:]
            part = st.floats(0, 0.99)
            points = tuple((x + draw(part), y + draw(part)) for x, y in chosen)
            targets.append(PointTarget(identity, kind, points))
        name = f"{index}.png"
        images.append((ImageRecord(name, name, HEIGHT, WIDTH), targets))
    return PointLabels(CATEGORIES, images)
