"""Clicks where a network finds something: inside, and only where nobody has clicked."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from point2mask.data import Category, PointTarget
from point2mask.data.records import Segment

pytest.importorskip("scipy", reason="needs point2mask[label]")

from point2mask.label.proposals import innermost, propose_targets

COLOR = 1, 2, 3
KNOWN = {
    1: Category(1, "cat", True, COLOR),
    2: Category(2, "sky", False, COLOR),
    3: Category(3, "dog", True, COLOR),
}
# Two of them in another order, and the third of another kind.
OWN = {
    7: Category(7, "sky", False, COLOR),
    8: Category(8, "cat", True, COLOR),
    9: Category(9, "dog", False, COLOR),
}
IDS = np.array([[1, 1, 1, 2, 2], [1, 1, 1, 2, 2], [1, 1, 1, 5, 5], [4, 4, 4, 4, 4]])
SEGMENTS = [
    Segment(1, 1, area=9),
    Segment(2, 3, area=4),
    Segment(4, 2, area=5),
    Segment(5, 1, area=2),
]


def proposed(targets=(), rest=()):
    found = propose_targets(IDS, SEGMENTS, KNOWN, OWN, targets, rest)
    return [(target.id, target.category_id, target.points) for target in found]


def test_one_click_a_segment_of_a_category_that_both_know():
    cat, sky, other = proposed()
    assert cat == (1, 8, ((1.5, 1.5),))
    assert sky[:2] == (2, 7)
    assert other[:2] == (3, 8)


def test_what_is_clicked_is_left_out():
    cat = PointTarget(6, 8, ((0.2, 0.9), (4.5, 0.5)))
    assert [entry[:2] for entry in proposed([cat])] == [(7, 7), (8, 8)]
    # Stuff has one target, wherever its clicks are.
    sky = PointTarget(1, 7, ((0.5, 0.5),))
    assert [entry[:2] for entry in proposed([sky])] == [(2, 8)]
    assert [entry[:2] for entry in proposed(rest=[(0.5, 0.5)])] == [(1, 7), (2, 8)]


@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=7)).filter(np.any))
def test_the_innermost_pixel(mask):
    outside = np.argwhere(~np.pad(mask, 1)) - 1

    def depth(y, x):
        return np.hypot(*(outside - (y, x)).T).min()

    x, y = innermost(mask)
    assert x % 1 == y % 1 == 0.5
    assert mask[int(y), int(x)]
    deepest = max(depth(*pixel) for pixel in np.argwhere(mask))
    assert depth(int(y), int(x)) == pytest.approx(deepest)


@given(st.data())
def test_no_proposal_for_what_was_proposed(data):
    ids = data.draw(hnp.arrays(np.int32, (4, 5), elements=st.integers(0, 4)))
    segments = [
        Segment(int(i), data.draw(st.sampled_from([1, 2]))) for i in np.unique(ids) if i > 0
    ]
    first = propose_targets(ids, segments, KNOWN, OWN)
    for target in first:
        ((x, y),) = target.points
        assert ids[int(y), int(x)] > 0
    things = sum(KNOWN[segment.category_id].isthing for segment in segments)
    assert sum(OWN[target.category_id].isthing for target in first) == things
    again = propose_targets(ids, segments, KNOWN, OWN, first)
    left = [OWN[target.category_id].name for target in again]
    assert left == []
