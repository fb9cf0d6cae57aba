"""Overlays by hand, pixel by pixel."""

import numpy as np
import pytest

from point2mask.data import Category, DataError, PointTarget, Segment
from point2mask.visualize import (
    LEGEND_ROW,
    contours,
    legend,
    overlay,
    segment_colors,
    side_by_side,
    stack,
)

CATEGORIES = {
    1: Category(1, "cat", True, (200, 40, 60)),
    2: Category(2, "sky", False, (0, 100, 250)),
}
IDS = np.zeros((40, 60), np.int32)
IDS[:, 20:40], IDS[:, 40:] = 9, 70000
SEGMENTS = [Segment(9, 1), Segment(70000, 2)]
IMAGE = np.full((40, 60, 3), 100, np.uint8)


def test_tints_segments_leaves_void_and_draws_contours():
    got = overlay(IMAGE, IDS, SEGMENTS, CATEGORIES, opacity=0.25)
    assert got.dtype == np.uint8
    assert got[5, 5].tolist() == [100, 100, 100]
    assert got[5, 30].tolist() == [125, 85, 90]  # a quarter of the way to (200, 40, 60)
    assert got[5, 50].tolist() == [75, 100, 138]  # 137.5, rounded to even
    assert (got[:, [19, 39]] == 255).all()
    assert ((got == 255).all(-1)).sum() == 80
    assert (IMAGE == 100).all()


def test_contours_of_one_pixel():
    labels = np.zeros((4, 4), int)
    labels[2, 2] = 1
    assert np.argwhere(contours(labels)).tolist() == [[1, 2], [2, 1], [2, 2]]


def test_points_are_crosses_in_the_picture():
    targets = [PointTarget(9, 1, ((30.9, 20.2), (0.0, 0.0))), PointTarget(5, 2, ((59.0, 39.0),))]
    got = overlay(IMAGE, IDS, SEGMENTS, CATEGORIES, targets)
    assert got[20, 30].tolist() == [200, 40, 60]
    assert got[20, 33].tolist() == got[17, 30].tolist() == [255, 255, 255]
    assert got[20, 34].tolist() == got[21, 31].tolist() == [0, 0, 0]
    assert got[39, 59].tolist() == [0, 100, 250]  # a target without segment: its category's


def test_instances_get_different_colours_and_stuff_its_own():
    segments = [Segment(i, 1) for i in range(1, 31)] + [Segment(99, 2)]
    colors = segment_colors(segments, CATEGORIES)
    assert colors[1] == (200, 40, 60)
    assert colors[99] == (0, 100, 250)
    assert len(set(colors.values())) == 31
    assert all(0 <= part <= 255 for color in colors.values() for part in color)


def test_a_legend_has_every_category_and_its_colour():
    narrow, wide = legend(CATEGORIES.values(), 50), legend(CATEGORIES.values(), 200)
    assert narrow.shape == (2 * LEGEND_ROW, 50, 3)
    assert wide.shape == (LEGEND_ROW, 200, 3)
    for category in CATEGORIES.values():
        assert (wide == category.color).all(-1).any()
    assert stack([IMAGE, narrow], gap=2).shape == (40 + 2 + 2 * LEGEND_ROW, 60, 3)


def test_side_by_side():
    got = side_by_side([IMAGE, IMAGE[:10, :5]], gap=3)
    assert got.shape == (40, 68, 3)
    assert (got[:, :60] == 100).all()
    assert (got[:10, 63:] == 100).all()
    assert (got[10:, 60:] == 255).all()
    titled = side_by_side([IMAGE, IMAGE], ["one", "two"])
    assert titled.shape == (58, 128, 3)
    assert (titled[18:, :60] == 100).all()
    assert (titled[:18] < 255).any()


def test_rejects_what_does_not_fit():
    with pytest.raises(DataError, match=r"uint8 \[40, 60, 3\] .* got uint8 \[40, 59, 3\]"):
        overlay(IMAGE[:, 1:], IDS, SEGMENTS, CATEGORIES)
    with pytest.raises(DataError, match=r"got float32 \[40, 60, 3\]"):
        overlay(IMAGE.astype(np.float32), IDS, SEGMENTS, CATEGORIES)
    with pytest.raises(DataError, match="every id to have a segment, got 70000"):
        overlay(IMAGE, IDS, SEGMENTS[:1], CATEGORIES)
    with pytest.raises(DataError, match="at least one picture"):
        side_by_side([])
    with pytest.raises(DataError, match="a title a picture, got 1 for 2"):
        side_by_side([IMAGE, IMAGE], ["one"])
