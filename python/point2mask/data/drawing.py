"""Drawing for generated pictures: outlines as signed distances, smooth noise, surfaces of stuff.

Only ``Generator.random`` is drawn from, whose stream NumPy keeps from version to version.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float64]  # [H, W]
Color = NDArray[np.float64]  # [3] or [H, W, 3], in [0, 1]


def uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return low + (high - low) * rng.random()


def smooth_noise(rng: np.random.Generator, height: int, width: int, cell: float) -> Plane:
    """Random values in [-1, 1] on a grid of ``cell`` pixels, smoothly in between: ``[H, W]``."""
    rows, row_weight = _smooth_steps(height, cell, rng.random())
    columns, column_weight = _smooth_steps(width, cell, rng.random())
    grid = 2 * rng.random((rows[-1] + 2, columns[-1] + 2)) - 1
    along = grid[rows] + row_weight[:, None] * (grid[rows + 1] - grid[rows])
    left, right = along[:, columns], along[:, columns + 1]
    return np.asarray(left + column_weight * (right - left))


def _smooth_steps(
    size: int, cell: float, offset: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    position = np.arange(size) / cell + offset
    index = np.floor(position).astype(np.int64)
    part = position - index
    return index, part * part * (3 - 2 * part)


def grain(rng: np.random.Generator, height: int, width: int) -> Plane:
    """White noise of standard deviation 1, close to normal: the sum of three uniforms."""
    return np.asarray(2 * rng.random((3, height, width)).sum(0) - 3)


# Outlines: signed distance in units of the radius, negative inside, of points (u, v) in those
# units. Distances outside corners may fall short, which no one sees within a pixel of the outline.


def disc(u: Plane, v: Plane) -> Plane:
    return np.sqrt(u * u + v * v) - 1


def _box(u: Plane, v: Plane, half_width: float, half_height: float, corner: float) -> Plane:
    x, y = abs(u) - half_width + corner, abs(v) - half_height + corner
    outside = np.sqrt(np.maximum(x, 0) ** 2 + np.maximum(y, 0) ** 2)
    return np.asarray(outside + np.minimum(np.maximum(x, y), 0) - corner)


def square(u: Plane, v: Plane) -> Plane:
    return _box(u, v, 0.84, 0.84, 0.14)


def triangle(u: Plane, v: Plane) -> Plane:
    slanted = abs(u) * (3**0.5 / 2) - v / 2
    return np.maximum(slanted, v) - 0.55


def star(u: Plane, v: Plane) -> Plane:
    """Five points: the plane is folded to half a point, which one line bounds."""
    sector = 2 * np.pi / 5
    angle = np.arctan2(u, -v)
    angle = abs(angle - sector * np.round(angle / sector))
    radius = np.sqrt(u * u + v * v)
    x, y = radius * np.cos(angle), radius * np.sin(angle)
    inner_x, inner_y = 0.5 * np.cos(sector / 2), 0.5 * np.sin(sector / 2)
    length = np.hypot(1.05 - inner_x, inner_y)
    return np.asarray(((x - 1.05) * inner_y + y * (1.05 - inner_x)) / length)


def ring(u: Plane, v: Plane) -> Plane:
    return abs(np.sqrt(u * u + v * v) - 0.72) - 0.28


def cross(u: Plane, v: Plane) -> Plane:
    return np.minimum(_box(u, v, 1.0, 0.32, 0.1), _box(u, v, 0.32, 1.0, 0.1))


OUTLINES: dict[str, Callable[[Plane, Plane], Plane]] = {
    "disc": disc,
    "square": square,
    "triangle": triangle,
    "star": star,
    "ring": ring,
    "cross": cross,
}


# Surfaces: [H, W, 3] in [0, 1] for a whole picture.


def sky(rng: np.random.Generator, height: int, width: int) -> Color:
    """A gradient from blue down to haze, with soft clouds."""
    down = np.linspace(0, 1, height)[:, None, None] ** uniform(rng, 0.6, 1.4)
    top = np.array([0.25, 0.47, 0.80]) + uniform(rng, -0.08, 0.08)
    haze = np.array([0.78, 0.85, 0.92]) + np.array([1, 0.3, -0.6]) * uniform(rng, -0.05, 0.12)
    scale = min(height, width)
    clouds = smooth_noise(rng, height, width, 0.45 * scale)
    clouds = clouds + 0.5 * smooth_noise(rng, height, width, 0.18 * scale)
    cover = np.clip(clouds - uniform(rng, 0.0, 0.7), 0, 1)[:, :, None] * 0.8
    return (top + (haze - top) * down) * (1 - cover) + 0.96 * cover


def meadow(rng: np.random.Generator, height: int, width: int) -> Color:
    """Green or dry grass: patches, tufts and blades."""
    green, dry = np.array([0.24, 0.47, 0.17]), np.array([0.55, 0.53, 0.26])
    patches = smooth_noise(rng, height, width, 0.3 * min(height, width))
    mix = np.clip(uniform(rng, 0.0, 0.6) + 0.35 * patches, 0, 1)[:, :, None]
    tufts = 0.10 * smooth_noise(rng, height, width, 5.0)
    blades = 0.05 * grain(rng, height, width)
    blades[1:] = 0.55 * blades[1:] + 0.45 * blades[:-1]  # blades stand upright
    return np.asarray((green + (dry - green) * mix) * (1 + (tufts + blades)[:, :, None]))


def water(rng: np.random.Generator, height: int, width: int) -> Color:
    """Waves: bent stripes that become narrower towards the top."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    bend = smooth_noise(rng, height, width, 0.4 * min(height, width))
    length = uniform(rng, 7, 11) * (0.6 + 0.6 * y / max(height, 1))
    phase = 2 * np.pi * ((y + uniform(rng, -0.15, 0.15) * x + 6 * bend) / length)
    waves = np.sin(phase) + 0.4 * np.sin(2.3 * phase + x / 9)
    base = np.array([0.12, 0.36, 0.48]) + uniform(rng, -0.05, 0.08)
    light = np.array([0.16, 0.20, 0.20]) * waves[:, :, None] * 0.45
    return np.asarray(base + light + 0.02 * grain(rng, height, width)[:, :, None])


def gravel(rng: np.random.Generator, height: int, width: int) -> Color:
    """Grey to brown pebbles: noise of two sizes with steep edges."""
    base = np.array([0.52, 0.47, 0.42]) + uniform(rng, -0.10, 0.08)
    size = uniform(rng, 3, 5)
    pebbles = smooth_noise(rng, height, width, size) + smooth_noise(rng, height, width, 1.7 * size)
    pebbles = np.tanh(1.6 * pebbles)
    tint = smooth_noise(rng, height, width, 6.0)[:, :, None] * np.array([0.05, 0.0, -0.05])
    slow = smooth_noise(rng, height, width, 0.4 * min(height, width))
    value = 1 + 0.16 * pebbles + 0.08 * slow + 0.04 * grain(rng, height, width)
    return np.asarray((base + tint) * value[:, :, None])


SURFACES: dict[str, Callable[[np.random.Generator, int, int], Color]] = {
    "sky": sky,
    "meadow": meadow,
    "water": water,
    "gravel": gravel,
}
