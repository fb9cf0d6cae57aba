"""The generated data set ``shapes``: textured things that touch and occlude over textured stuff.

Real enough for masks from points to be no matter of course: colours vary within a class and
resemble each other across classes, light falls unevenly, instances of a class lie in clusters.
Edges are antialiased in the pictures; masks are hard, a pixel belongs to what covers its centre.
"""

import colorsys
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from point2mask.data.drawing import (
    OUTLINES,
    SURFACES,
    Color,
    Plane,
    grain,
    smooth_noise,
    uniform,
)
from point2mask.data.errors import DataError
from point2mask.data.panoptic import PanopticDataset, write_panoptic
from point2mask.data.png import DEFAULT_LIMIT, write_rgb
from point2mask.data.records import Category, ImageRecord, Segment
from point2mask.progress import Progress, ignore

# Hue, lightness and saturation about which the instances of a class vary.
PALETTE = {
    "disc": (0.02, 0.50, 0.65),
    "square": (0.60, 0.48, 0.50),
    "triangle": (0.13, 0.52, 0.70),
    "star": (0.90, 0.52, 0.55),
    "ring": (0.48, 0.42, 0.50),
    "cross": (0.75, 0.48, 0.42),
}
STUFF_COLORS = {
    "sky": (120, 170, 225),
    "meadow": (80, 140, 60),
    "water": (30, 95, 130),
    "gravel": (140, 125, 110),
}


def _bytes(color: tuple[float, float, float]) -> tuple[int, int, int]:
    red, green, blue = (round(255 * part) for part in color)
    return red, green, blue


_COLORS = {name: _bytes(colorsys.hls_to_rgb(*hls)) for name, hls in PALETTE.items()} | STUFF_COLORS
CATEGORIES = {
    identity: Category(identity, name, name in PALETTE, _COLORS[name])
    for identity, name in enumerate((*PALETTE, *STUFF_COLORS), start=1)
}
_CATEGORY_ID = {category.name: category.id for category in CATEGORIES.values()}

MIN_PIXELS = 24  # of a visible segment; less of stuff becomes void
FEWEST_THINGS, MOST_THINGS = 3, 11  # placed in an image, if not told otherwise
MAX_SCALE = 4.0
NAME = r"[0-9]{6,}\.png"  # of the pictures and masks
MIN_VISIBLE = 0.25  # share of a thing that others must leave visible


class DrawnShapes(NamedTuple):
    image: NDArray[np.uint8]  # [H, W, 3]
    ids: NDArray[np.int32]  # [H, W], 0 = void
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class _Thing:
    name: str
    x: float  # centre, pixels
    y: float
    radius: float  # pixels
    angle: float
    aspect: float  # width over height
    palette: str  # the class whose colours it has, mostly its own

    def window(self, height: int, width: int) -> tuple[slice, slice]:
        """Rows and columns of the picture that hold the thing and its shadow."""
        reach = 1.9 * self.radius + 2  # a square's corner, stretched: 1.33; shadow: 0.29
        rows, columns = (
            slice(max(0, int(centre - reach)), max(0, min(size, int(centre + reach) + 1)))
            for centre, size in ((self.y, height), (self.x, width))
        )
        return rows, columns

    def distance(self, xs: Plane, ys: Plane) -> Plane:
        """Signed distance to the outline in pixels, negative inside."""
        u, v = self.local(xs, ys)
        stretch = self.aspect**0.5
        return np.asarray(
            OUTLINES[self.name](u / stretch, v * stretch) * self.radius / max(stretch, 1 / stretch)
        )

    def local(self, xs: Plane, ys: Plane) -> tuple[Plane, Plane]:
        """Coordinates about the centre, turned, in units of the radius."""
        dx, dy = (xs - self.x) / self.radius, (ys - self.y) / self.radius
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return dx * cos + dy * sin, dy * cos - dx * sin


def draw_shapes(
    index: int,
    size: tuple[int, int] = (128, 160),
    seed: int = 0,
    split: str = "train",
    things: int = MOST_THINGS,
    scale: float = 1.0,
) -> DrawnShapes:
    """Image ``index`` of a split: the same bits for the same arguments, whatever else is made.

    Args:
        index: number of the image.
        size: height and width in pixels, at least 16.
        seed: another seed, other images.
        split: another split, other images.
        things: as many are placed at most, at least 1; some may be covered by others.
        scale: of their size; at 1 their radius is 7 to 20 % of the image's shorter side.
    """
    height, width = size
    if min(size) < 16:
        raise DataError(f"shapes are at least 16 pixels high and wide, got {width} x {height}")
    DEFAULT_LIMIT.check(height, width, "shapes")
    if things < 1 or not 0 < scale <= MAX_SCALE:
        raise DataError(
            f"shapes have at least 1 thing and a scale in (0, {MAX_SCALE}], "
            f"got {things} and {scale}"
        )
    key = hashlib.sha256(f"shapes/{seed}/{split}/{index}".encode()).digest()
    rng = np.random.Generator(np.random.PCG64(int.from_bytes(key, "big")))
    image, stuff, names = _background(rng, height, width)
    ys, xs = np.mgrid[:height, :width].astype(np.float64)
    placed = _place_things(rng, height, width, things, scale)
    visible = _visible(placed, xs, ys)
    light = uniform(rng, 0, 2 * np.pi)
    ids = stuff
    for identity, thing in enumerate(visible, start=len(names) + 1):
        window = thing.window(height, width)
        part, x, y = image[window], xs[window], ys[window]
        distance = thing.distance(x, y)
        _cast_shadow(part, thing, x, y, light)
        _paint(rng, part, thing, distance, x, y, light)
        ids[window][distance < 0] = identity
    names = [*names, *(thing.name for thing in visible)]
    image *= _illumination(rng, height, width)
    image += uniform(rng, 0.006, 0.02) * grain(rng, height, width)[:, :, None]
    areas = np.bincount(ids.ravel(), minlength=len(names) + 1)[1:].tolist()
    segments = []
    for identity, (name, area) in enumerate(zip(names, areas, strict=True), start=1):
        if area < MIN_PIXELS:
            ids[ids == identity] = 0
        else:
            segments.append(Segment(identity, _CATEGORY_ID[name], area=area))
    pixels = np.round(255 * np.clip(image, 0, 1)).astype(np.uint8)
    return DrawnShapes(pixels, ids, tuple(segments))


def write_shapes(
    folder: str | Path,
    split: str,
    count: int,
    size: tuple[int, int] = (128, 160),
    seed: int = 0,
    things: int = MOST_THINGS,
    scale: float = 1.0,
    progress: Progress = ignore,
) -> PanopticDataset:
    """Writes a split: ``images/SPLIT/*.png`` and ``annotations/panoptic_SPLIT.json`` with PNGs.

    Pictures and masks of an earlier, larger split of that name are removed, as commands that take
    whole folders would find them.

    Other arguments as for :func:`draw_shapes`.
    """
    if count < 1:
        raise DataError(f"split {split} of shapes needs at least 1 image, got {count}")
    folder = Path(folder)

    def items() -> Iterator[tuple[ImageRecord, NDArray[np.int32], tuple[Segment, ...]]]:
        for index in range(count):
            scene = draw_shapes(index, size, seed, split, things, scale)
            record = ImageRecord(index + 1, f"{index + 1:06}.png", *size)
            write_rgb(folder / "images" / split / record.file_name, scene.image)
            yield record, scene.ids, scene.segments
            progress(index + 1, count)

    annotations = folder / "annotations" / f"panoptic_{split}.json"
    written = write_panoptic(annotations, None, CATEGORIES, items())
    names = {image.record.file_name for image in written.images}
    for place in (folder / "images" / split, written.masks_dir):
        for path in place.glob("[0-9]*.png"):
            if re.fullmatch(NAME, path.name) and path.name not in names:
                path.unlink()
    return written


def _background(
    rng: np.random.Generator, height: int, width: int
) -> tuple[Color, NDArray[np.int32], list[str]]:
    """Picture, ids and names of one to three kinds of stuff with wavy borders between them."""
    others = [name for name in SURFACES if name != "sky"]
    order = np.argsort(rng.random(len(others)))
    outdoors = rng.random() < 0.75
    count = 2 + int(rng.random() * 2) if outdoors else 1 + int(rng.random() * 3)
    names = [others[k] for k in order]
    names = (["sky", *names] if outdoors else names)[:count]
    # Along a direction, down if there is sky, the picture is cut at `count - 1` places.
    angle = uniform(rng, -0.25, 0.25) if outdoors else uniform(rng, 0, 2 * np.pi)
    ys, xs = np.mgrid[:height, :width].astype(np.float64)
    along = (ys - height / 2) * np.cos(angle) + (xs - width / 2) * np.sin(angle)
    waves = smooth_noise(rng, height, width, uniform(rng, 0.15, 0.4) * width)
    along = along + uniform(rng, 0.01, 0.06) * height * waves
    reach = abs(np.cos(angle)) * height + abs(np.sin(angle)) * width
    image = SURFACES[names[0]](rng, height, width)
    ids = np.ones((height, width), np.int32)
    for k, name in enumerate(names[1:], start=1):
        cut = (k / count - 0.5 + uniform(rng, -0.12, 0.12)) * reach
        inside = np.clip(along - cut + 0.5, 0, 1)[:, :, None]
        image = image * (1 - inside) + SURFACES[name](rng, height, width) * inside
        ids[along > cut] = k + 1
    return image, ids, names


def _place_things(
    rng: np.random.Generator, height: int, width: int, most: int, scale: float
) -> list[_Thing]:
    """Things from back to front; many lie against an earlier one, often of the same class."""
    side = min(height, width)
    names = list(OUTLINES)
    things: list[_Thing] = []
    least = min(FEWEST_THINGS, most)
    for _ in range(least + int(rng.random() * (most - least + 1))):
        radius = side * scale * (0.07 + 0.13 * rng.random() ** 1.5)
        name = names[int(rng.random() * len(names))]
        x, y = uniform(rng, 0.04, 0.96) * width, uniform(rng, 0.04, 0.96) * height
        if things and rng.random() < 0.55:
            beside = things[int(rng.random() * len(things))]
            direction = uniform(rng, 0, 2 * np.pi)
            reach = uniform(rng, 0.65, 1.0) * (beside.radius + radius)
            x, y = beside.x + reach * np.cos(direction), beside.y + reach * np.sin(direction)
            if rng.random() < 0.6:
                name, radius = beside.name, beside.radius * uniform(rng, 0.85, 1.15)
        angle, aspect = uniform(rng, 0, 2 * np.pi), uniform(rng, 0.8, 1.25)
        palette = names[int(rng.random() * len(names))] if rng.random() < 0.15 else name
        things.append(_Thing(name, x, y, radius, angle, aspect, palette))
    return things


def _visible(things: list[_Thing], xs: Plane, ys: Plane) -> list[_Thing]:
    """Those of the things that stay visible enough when the ones before them are drawn."""
    covered = np.zeros(xs.shape, np.bool_)
    kept = []
    for thing in reversed(things):
        window = thing.window(*xs.shape)
        mask = thing.distance(xs[window], ys[window]) < 0
        left = np.count_nonzero(mask & ~covered[window])
        if left >= MIN_PIXELS and left >= MIN_VISIBLE * np.count_nonzero(mask):
            kept.append(thing)
            covered[window] |= mask
    return kept[::-1]


def _cast_shadow(image: Color, thing: _Thing, xs: Plane, ys: Plane, light: float) -> None:
    shift = 0.16 * thing.radius
    distance = thing.distance(xs + shift * np.cos(light), ys + shift * np.sin(light))
    softness = 0.25 * thing.radius
    image *= 1 - 0.4 * np.clip(0.5 - distance / softness, 0, 1)[:, :, None] ** 2


def _paint(
    rng: np.random.Generator,
    image: Color,
    thing: _Thing,
    distance: Plane,
    xs: Plane,
    ys: Plane,
    light: float,
) -> None:
    """Draws a thing onto the picture: its colour, a pattern, shading, and a darker rim."""
    hue, lightness, saturation = PALETTE[thing.palette]
    color = colorsys.hls_to_rgb(
        (hue + uniform(rng, -0.06, 0.06)) % 1,
        lightness + uniform(rng, -0.13, 0.13),
        saturation + uniform(rng, -0.2, 0.2),
    )
    height, width = distance.shape
    u, v = thing.local(xs, ys)
    value = 1 + 0.10 * smooth_noise(rng, height, width, max(2.0, 0.6 * thing.radius))
    value += 0.03 * grain(rng, height, width)
    pattern = rng.random()
    if pattern < 0.25:
        value += uniform(rng, 0.04, 0.10) * np.sin(uniform(rng, 7, 14) * u)
    elif pattern < 0.4:
        value += uniform(rng, 0.04, 0.10) * np.sin(9 * u) * np.sin(9 * v)
    towards_light = (xs - thing.x) * np.cos(light) + (ys - thing.y) * np.sin(light)
    value += 0.22 * np.clip(towards_light / thing.radius, -1, 1)
    value -= 0.3 * np.exp(np.minimum(distance, 0) / (0.06 * thing.radius + 0.6))
    cover = np.clip(0.5 - distance, 0, 1)[:, :, None]
    image += cover * (np.array(color) * value[:, :, None] - image)


def _illumination(rng: np.random.Generator, height: int, width: int) -> Color:
    """Light that falls off across the picture, and its tint."""
    ys, xs = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    angle, strength = uniform(rng, 0, 2 * np.pi), uniform(rng, 0.0, 0.25)
    plane = 1 + strength * (xs * np.cos(angle) + ys * np.sin(angle))
    corners = 1 - uniform(rng, 0.0, 0.12) * (xs * xs + ys * ys)
    warmth = uniform(rng, -0.06, 0.06)
    tint = np.array([1 + warmth, 1.0, 1 - warmth])
    return np.asarray((plane * corners)[:, :, None] * tint)
