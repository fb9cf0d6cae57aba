"""Edge costs [8, H, W] on which shortest paths behave differently."""

import numpy as np

from point2mask.grid import OFFSETS


def pairs(height, width):
    """For every direction, the slices of the pixels that have a neighbour there and of those."""
    for dy, dx in OFFSETS:
        here = slice(max(0, -dy), height - max(0, dy)), slice(max(0, -dx), width - max(0, dx))
        there = slice(max(0, dy), height - max(0, -dy)), slice(max(0, dx), width - max(0, -dx))
        yield here, there


def from_open(is_open, step, wall):
    """``step`` between horizontal and vertical neighbours that are open, else ``wall``."""
    cost = np.full((8, *is_open.shape), wall, np.result_type(step, np.float32))
    for d, (here, there) in enumerate(pairs(*is_open.shape)):
        if 0 in OFFSETS[d]:
            cost[d][here] = np.where(is_open[here] & is_open[there], step[d][here], wall)
    return cost


def white_noise(height, width, rng):
    return rng.random((8, height, width))


def heavy_tailed(height, width, rng):
    return np.exp(5 * rng.standard_normal((8, height, width)))


def smooth(height, width, rng):
    """Differences of a smooth image plus the length of the step, as on photographs."""
    y, x = np.mgrid[:height, :width] / 7
    phase = rng.uniform(0, 6, 4)
    image = np.sin(y + phase[0]) * np.cos(x + phase[1]) + np.sin(2 * x - y + phase[2])
    cost = np.zeros((8, height, width))
    for d, (here, there) in enumerate(pairs(height, width)):
        cost[d][here] = 0.1 * np.hypot(*OFFSETS[d]) + np.abs(image[here] - image[there])
    return cost


def constant(height, width, rng):
    return np.full((8, height, width), 0.3)


def integers(height, width, rng):
    """Many paths of equal cost."""
    return rng.integers(1, 4, (8, height, width)).astype(np.float64)


def mostly_zero(height, width, rng):
    """Whole regions, and cycles, that cost nothing."""
    return np.where(rng.random((8, height, width)) < 0.7, 0, rng.random((8, height, width)))


def walls(height, width, rng):
    """A third of the steps do not exist."""
    return np.where(rng.random((8, height, width)) < 0.35, np.inf, rng.random((8, height, width)))


def serpentine(height, width, rng):
    """One corridor, up and down through all columns: a sweep in raster order finishes little."""
    is_open = np.ones((height, width), bool)
    is_open[:, 1::2] = False
    is_open[-1, 1::4] = is_open[0, 3::4] = True
    return from_open(is_open, rng.random((8, height, width)), np.inf)


def comb(height, width, rng):
    """Bands of three rows with teeth, joined at alternate ends, behind walls that can be crossed.

    The cheap path turns at every tooth, and each turn lowers every pixel below: the sweeps give up
    and leave the rest to the queue.
    """
    is_open = np.ones((height, width), bool)
    is_open[3::4] = False
    for band, top in enumerate(range(0, height, 4)):
        is_open[top : top + 3, 1::2] = False
        is_open[top + 2 : top + 3, 1::4] = is_open[top, 3::4] = True
        is_open[top + 3 : top + 4, 0 if band % 2 else width - 1] = True
    return from_open(is_open, rng.uniform(1e-3, 2e-3, (8, height, width)), 10.0)


ALL = (white_noise, heavy_tailed, smooth, constant, integers, mostly_zero, walls, serpentine)
