"""Strokes as pixels: those of scikit-image and of the definition, in bounded memory and work."""

import numpy as np
import pytest
from fuzz.limits import bounded
from hypothesis import given
from hypothesis import strategies as st
from skimage.draw import polygon

from point2mask.data import DataError, ImageRecord
from point2mask.data.frames import SHOWN, to_shown, turned_size
from point2mask.data.marks import Marks, Stroke
from point2mask.data.strokes import draw_strokes
from point2mask.data.turning import Turn

SHAPE = 13, 17
ANY = st.tuples(st.floats(-20, 40), st.floats(-20, 40))
CENTRES = st.tuples(st.integers(-3, 20), st.integers(-3, 20)).map(lambda p: (p[0] / 2, p[1] / 2))


def drawn(shape, points, radius=0.0, size=SHAPE):
    labels = np.zeros(size, np.int32)
    draw_strokes(labels, [Stroke(7, shape, tuple(points), radius)], {7: 1})
    return labels == 1


@given(st.lists(ANY, min_size=3, max_size=9) | st.lists(CENTRES, min_size=3, max_size=9))
def test_polygons_have_the_pixels_of_scikit_image(points):
    x, y = np.asarray(points, float).T - 0.5
    expected = np.zeros(SHAPE, bool)
    expected[polygon(y, x, SHAPE)] = True
    found = drawn("polygon", points)
    # What lies within rounding of a side may be on it or not.
    for row, column in np.argwhere(found != expected):
        assert _distance(points, column + 0.5, row + 0.5) < 1e-9


@pytest.mark.parametrize("tag", range(1, 9))
@given(st.lists(CENTRES | ANY, min_size=3, max_size=6))
def test_turned_with_the_picture_they_have_the_same_pixels(tag, points):
    """Also where a corner lies between two pixels, or on the rim."""
    record = ImageRecord(1, "a.jpg", *SHAPE)
    points = tuple((float(x), float(y)) for x, y in points)
    # Centres of pixels that lie on an outline belong to one of its sides, which turning exchanges.
    points = tuple((x + 1 / 64, y + 1 / 128) for x, y in points)
    turn = Turn(record, SHOWN, tag)
    (stroke,) = turn.marks(Marks(strokes=(Stroke(7, "polygon", points),))).strokes
    here = drawn("polygon", points)
    there = drawn("polygon", stroke.points, size=turned_size(SHAPE, tag))
    np.testing.assert_array_equal(there, to_shown(here, tag))


def test_corners_between_pixels_stay_where_they_are():
    outline = Stroke(7, "polygon", ((0.0, 0.0), (10.0, 0.0), (10.0, 5.0), (0.0, 5.0)))
    record = ImageRecord(1, "a.jpg", 20, 30)
    (turned,) = Turn(record, SHOWN, 2).marks(Marks(strokes=(outline,))).strokes
    assert turned.points == ((30.0, 0.0), (20.0, 0.0), (20.0, 5.0), (30.0, 5.0))


def _distance(points, x, y):
    corners = np.asarray(points, float)
    way = np.roll(corners, -1, 0) - corners
    along = (np.array([x, y]) - corners) * way
    part = np.clip(along.sum(1) / np.maximum((way**2).sum(1), 1e-300), 0, 1)
    return np.linalg.norm(corners + part[:, None] * way - (x, y), axis=1).min()


@given(st.lists(ANY, min_size=1, max_size=5), st.floats(0, 25))
def test_lines_are_what_is_near_them(points, radius):
    points = np.asarray(points, float)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] + 0.5
    expected, radius = np.zeros(SHAPE, bool), max(radius, 0.71)
    for start, end in zip(points, points[1:] if len(points) > 1 else points, strict=False):
        dx, dy = end - start
        u, v = x - start[0], y - start[1]
        along = np.clip((u * dx + v * dy) / max(dx * dx + dy * dy, 1e-12), 0, 1)
        expected |= (u - along * dx) ** 2 + (v - along * dy) ** 2 <= radius * radius
    found = drawn("line", map(tuple, points.tolist()), radius)
    np.testing.assert_array_equal(found, expected)


def test_large_strokes_take_little_memory_and_time():
    """A line from side to side, and an outline of ten thousand corners about the picture."""
    size = 6000, 6000
    with bounded():
        line = drawn("line", [(0.0, 0.0), (6000.0, 4321.0)], 5.0, size)
        turn = np.linspace(0, 2 * np.pi, 10_000)
        corners = np.stack([3000 + 2900 * np.cos(turn), 3000 + 2900 * np.sin(turn)], 1)
        disc = drawn("polygon", map(tuple, corners.tolist()), size=size)
    assert abs(line.sum() / (10 * np.hypot(6000, 4321)) - 1) < 0.01
    assert abs(disc.sum() / (np.pi * 2900**2) - 1) < 0.001


@pytest.mark.parametrize(
    "stroke",
    [
        Stroke(7, "line", ((0.0, 0.0), (300.0, 300.0)) * 10, 300.0),
        Stroke(7, "polygon", ((0.0, 0.0), (1.0, 300.0)) * 20),
        Stroke(7, "polygon", ((0.0, 0.0), (300.0, 0.0), (300.0, 300.0), (0.0, 300.0))),
    ],
)
def test_work_is_bounded(stroke, monkeypatch):
    labels = np.zeros((300, 300), np.int32)
    draw_strokes(labels, [stroke], {7: 1})
    monkeypatch.setattr("point2mask.data.strokes.MAX_WORK", 200_000)
    with pytest.raises(DataError, match="expected strokes of at most 200000 pixels together"):
        draw_strokes(labels, [stroke] * 3, {7: 1})
