"""Inputs for the deformable attention kernels at sizes around warps and runs of samples. NumPy
only."""

from collections.abc import Iterator
from typing import Any

import numpy as np

Case = tuple[str, tuple[Any, ...]]  # operator, arguments

# Maps, queries, heads, channels, points: one of all; odd sizes with an empty map; several samples
# a cell in several runs of a warp and more; maps with more cells than threads.
SIZES = (
    (((1, 1),), 1, 1, 1, 1),
    (((3, 2), (0, 4), (1, 5)), 7, 3, 5, 3),
    (((2, 2),), 130, 1, 2, 4),
    (((17, 19), (9, 10)), 3, 2, 33, 2),
)


def cases(rng: np.random.Generator, dtype: type[np.floating]) -> Iterator[Case]:
    for maps, queries, heads, channels, points in SIZES:
        shapes = np.array(maps, np.int64)
        cells = int(shapes.prod(1).sum())
        value = rng.normal(size=(2, cells, heads, channels)).astype(dtype)
        where = rng.uniform(-0.3, 1.3, (2, queries, heads, len(maps), points, 2)).astype(dtype)
        where[0, 0] = np.nan
        where[1, queries // 2 :] = 0.4  # many samples between the same cells
        weight = rng.normal(size=where.shape[:-1]).astype(dtype)
        yield "deformable_attention", (value, where, weight, shapes)
        grad = rng.normal(size=(2, queries, heads, channels)).astype(dtype)
        yield "deformable_attention_backward", (grad, value, where, weight, shapes)
