"""One picture and its clicks at working resolution: what every assigner works on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from point2mask.data import PointTarget
from point2mask.label.edges import built_in_edges, lab_picture, normalized

MARKER_RADIUS = 3  # pixels: a click also labels the square about it


@dataclass(frozen=True)
class Scene:
    """K targets on h x w pixels; every target has a click, and every click a pixel of its own."""

    lab: NDArray[np.float32]  # [h, w, 3]
    edge: NDArray[np.float32]  # [h, w], not negative, about 1 on strong edges
    seeds: NDArray[np.int32]  # [K, P] pixel indices y w + x, -1 = padding
    is_thing: NDArray[np.bool_]  # [K]
    area: NDArray[np.float64]  # [K] share of the image, NaN where nobody knows

    @property
    def shape(self) -> tuple[int, int]:
        height, width = self.edge.shape
        return height, width

    def positions(self, target: int) -> NDArray[np.int64]:
        """The clicks of a target ``[P, 2]`` as (y, x)."""
        seeds = self.seeds[target]
        return np.stack(np.divmod(seeds[seeds >= 0].astype(np.int64), self.shape[1]), axis=1)

    def markers(self, radius: int = MARKER_RADIUS) -> NDArray[np.int32]:
        """``int32 [h, w]``: the target whose click is nearest, up to a square's reach, else -1."""
        height, width = self.shape
        markers = np.full(self.shape, -1, np.int32)
        nearest = np.full(self.shape, np.iinfo(np.int64).max)
        for target in range(len(self.seeds)):
            for y, x in self.positions(target):
                rows = np.arange(max(0, y - radius), min(height, y + radius + 1))
                columns = np.arange(max(0, x - radius), min(width, x + radius + 1))
                square = np.ix_(rows, columns)
                distance = (rows[:, None] - y) ** 2 + (columns - x) ** 2
                closer = distance < nearest[square]
                nearest[square] = np.where(closer, distance, nearest[square])
                markers[square] = np.where(closer, target, markers[square])
        return markers

    def spacing(self) -> NDArray[np.float64]:
        """``[K]`` pixels from a target's clicks to the nearest click of another.

        At most the side of a square as large as the picture, which is also the spacing of a target
        that is alone.
        """
        height, width = self.shape
        owner, rank = np.nonzero(self.seeds >= 0)
        y, x = np.divmod(self.seeds[owner, rank].astype(np.int64), width)
        result = np.full(len(self.seeds), np.sqrt(height * width))
        for click, target in enumerate(owner):
            others = owner != target
            if others.any():
                squares = (y[others] - y[click]) ** 2 + (x[others] - x[click]) ** 2
                result[target] = min(result[target], np.sqrt(squares.min()))
        return result


def make_scene(
    image: NDArray[np.uint8],
    targets: Sequence[PointTarget],
    is_thing: Sequence[bool],
    edges: NDArray[np.floating] | None,
    max_side: int,
) -> Scene:
    """A scene whose longer side is at most ``max_side``; ``edges`` replace the built-in ones."""
    height, width = image.shape[:2]
    scale = min(1.0, max_side / max(height, width))
    shape = max(1, round(height * scale)), max(1, round(width * scale))
    lab = lab_picture(_resized(image, shape))
    edge = built_in_edges(lab) if edges is None else normalized(_resized_edges(edges, shape))
    area = [np.nan if t.area is None else t.area / (height * width) for t in targets]
    return Scene(
        lab=lab,
        edge=edge,
        seeds=place_clicks(targets, (height, width), shape),
        is_thing=np.array(is_thing, np.bool_),
        area=np.array(area, np.float64),
    )


def place_clicks(
    targets: Sequence[PointTarget], shape: tuple[int, int], work_shape: tuple[int, int]
) -> NDArray[np.int32]:
    """``int32 [K, P]``: pixels of the clicks at working resolution, -1 for padding.

    A click whose pixel belongs to another target already moves to the nearest free pixel; if there
    is none, which takes more targets than pixels, it is dropped.
    """
    height, width = work_shape
    owner: dict[tuple[int, int], int] = {}
    seeds = np.full((len(targets), max((len(t.points) for t in targets), default=0)), -1, np.int32)
    for k, target in enumerate(targets):
        for p, (x, y) in enumerate(target.points):
            row = min(int(y * height / shape[0]), height - 1)
            column = min(int(x * width / shape[1]), width - 1)
            free = _nearest_free(owner, k, row, column, work_shape)
            if free is not None:
                owner[free] = k
                seeds[k, p] = free[0] * width + free[1]
    return seeds


def _nearest_free(
    owner: dict[tuple[int, int], int], target: int, row: int, column: int, shape: tuple[int, int]
) -> tuple[int, int] | None:
    for radius in range(max(shape)):
        ring = [
            (y, x)
            for y in range(max(0, row - radius), min(shape[0], row + radius + 1))
            for x in range(max(0, column - radius), min(shape[1], column + radius + 1))
            if owner.get((y, x), target) == target
        ]
        if ring:
            return min(ring, key=lambda p: ((p[0] - row) ** 2 + (p[1] - column) ** 2, p))
    return None


def _resized(image: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    from PIL import Image

    if image.shape[:2] == shape:
        return image
    picture = Image.fromarray(image).resize((shape[1], shape[0]), Image.Resampling.BOX)
    return np.asarray(picture)


def _resized_edges(edges: NDArray[np.floating], shape: tuple[int, int]) -> NDArray[np.float32]:
    from PIL import Image

    picture = Image.fromarray(np.asarray(edges, dtype=np.float32))
    resized = picture.resize((shape[1], shape[0]), Image.Resampling.BILINEAR)
    return np.maximum(np.asarray(resized, dtype=np.float32), np.float32(0))
