"""One picture and its clicks at working resolution: what every assigner works on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from point2mask.data import PointTarget
from point2mask.label.picture import Picture, resized
from point2mask.label.size import MARKER_RADIUS


@dataclass(frozen=True)
class Scene:
    """K targets on h x w pixels; every target has a click, and every click a pixel of its own."""

    picture: Picture
    seeds: NDArray[np.int32]  # [K, P] pixel indices y w + x, -1 = padding
    category: NDArray[np.int64]  # [K]
    is_thing: NDArray[np.bool_]  # [K]
    area: NDArray[np.float64]  # [K] share of the image, NaN where nobody knows
    mask_cost: NDArray[np.float32] | None = (
        None  # [K, h, w], of a promptable network if one is asked
    )

    @property
    def edge(self) -> NDArray[np.float32]:
        return self.picture.edge

    @property
    def shape(self) -> tuple[int, int]:
        return self.picture.shape

    def clicks(self, target: int) -> NDArray[np.int64]:
        """The pixels of a target's clicks ``[P, 2]`` as (y, x)."""
        seeds = self.seeds[target]
        return np.stack(np.divmod(seeds[seeds >= 0].astype(np.int64), self.shape[1]), axis=1)

    def markers(self) -> NDArray[np.int32]:
        """``int32 [h, w]``: the nearest click's target in the squares about the clicks, else -1."""
        markers = np.full(self.shape, -1, np.int32)
        nearest = np.full(self.shape, np.iinfo(np.int64).max)
        for target in range(len(self.seeds)):
            for y, x in self.clicks(target):
                rows, columns = (
                    np.arange(max(0, at - MARKER_RADIUS), min(size, at + MARKER_RADIUS + 1))
                    for at, size in zip((y, x), self.shape, strict=True)
                )
                square = np.ix_(rows, columns)
                distance = (rows[:, None] - y) ** 2 + (columns - x) ** 2
                closer = distance < nearest[square]
                nearest[square] = np.where(closer, distance, nearest[square])
                markers[square] = np.where(closer, target, markers[square])
        return markers

    def spacing(self) -> NDArray[np.float64]:
        """``[K]`` pixels from a target's clicks to the next click of another target.

        Geometric mean over the targets of a category, whose sizes are alike. At most the side of a
        square as large as the picture.
        """
        height, width = self.shape
        own = np.full(len(self.seeds), np.sqrt(height * width))
        owner, rank = np.nonzero(self.seeds >= 0)
        y, x = np.divmod(self.seeds[owner, rank].astype(np.int64), width)
        for click, target in enumerate(owner):
            others = owner != target
            if others.any():
                squares = (y[others] - y[click]) ** 2 + (x[others] - x[click]) ** 2
                own[target] = min(own[target], np.sqrt(squares.min()))
        alike = self.category[:, None] == self.category
        return np.asarray(np.exp((alike * np.log(own)).sum(1) / alike.sum(1)))

    def reduced(self, max_side: int) -> "Scene":
        """The scene with its longer side reduced to ``max_side``; itself if it is small enough."""
        picture = self.picture.reduced(max_side)
        if picture is self.picture:
            return self
        clicks = [[(x + 0.5, y + 0.5) for y, x in self.clicks(k)] for k in range(len(self.seeds))]
        seeds = place_clicks(clicks, self.shape, picture.shape)
        costs = self.mask_cost
        if costs is not None:
            costs = np.stack([resized(cost, picture.shape) for cost in costs])
        return replace(self, picture=picture, seeds=seeds, mask_cost=costs)


def make_scene(
    picture: Picture,
    shape: tuple[int, int],
    targets: Sequence[PointTarget],
    is_thing: Sequence[bool],
) -> Scene:
    """The clicks of an image of ``shape`` (height, width) on its picture."""
    area = [np.nan if t.area is None else t.area / (shape[0] * shape[1]) for t in targets]
    return Scene(
        picture=picture,
        seeds=place_clicks([target.points for target in targets], shape, picture.shape),
        category=np.array([target.category_id for target in targets], np.int64),
        is_thing=np.array(is_thing, np.bool_),
        area=np.array(area, np.float64),
    )


def place_clicks(
    clicks: Sequence[Sequence[tuple[float, float]]],
    shape: tuple[int, int],
    work_shape: tuple[int, int],
) -> NDArray[np.int32]:
    """``int32 [K, P]``: pixels at working resolution of clicks (x, y), -1 for padding.

    A click whose pixel another target has already moves to the nearest free pixel; if there is
    none, which takes more clicks than pixels, it is dropped.
    """
    owner: dict[tuple[int, int], int] = {}
    seeds = np.full((len(clicks), max(map(len, clicks), default=0)), -1, np.int32)
    for k, points in enumerate(clicks):
        for p, (x, y) in enumerate(points):
            row = min(int(y * work_shape[0] / shape[0]), work_shape[0] - 1)
            column = min(int(x * work_shape[1] / shape[1]), work_shape[1] - 1)
            free = _nearest_free(owner, k, row, column, work_shape)
            if free is not None:
                owner[free] = k
                seeds[k, p] = free[0] * work_shape[1] + free[1]
    return seeds


def enlarged(labels: NDArray[np.int32], shape: tuple[int, ...]) -> NDArray[np.int32]:
    """A label map ``[h, w]`` at another size: every pixel takes the label under its centre."""
    rows, columns = (
        ((np.arange(size) + 0.5) * have / size).astype(np.int64)
        for size, have in zip(shape, labels.shape, strict=True)
    )
    return np.asarray(labels[rows[:, None], columns])


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
