"""Things and what does not hang together with their clicks: by hand, and by filling from pixels."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from point2mask.label.connected import keep_connected
from point2mask.pseudo_masks import PointBatch

THINGS = 2  # classes 0 and 1; 2 and 3 are stuff
IS_THING = torch.arange(4) < THINGS


def connected(grown, clicks, stuff=-1, crowds=()):
    labels = torch.from_numpy(np.asarray(grown, np.int32))[None]
    stuff = torch.from_numpy(np.broadcast_to(stuff, labels.shape[1:]).copy())[None]
    points = PointBatch.from_lists([clicks])
    return keep_connected(labels, stuff, points, [list(crowds)], IS_THING)[0]


def drawn(rows):
    """Targets by their digit, ``.`` for none."""
    return np.array([[-1 if sign == "." else int(sign) for sign in row] for row in rows.split()])


GROWN = drawn("""
    00..1..0
    00.1.110
    ..2.1111
    00222.01
""")
CLICKS = [(0, [(0.5, 3.5)]), (1, [(6.5, 2.5)]), (2, [(3.5, 3.5)])]


def test_the_largest_part_and_the_clicked_ones_stay():
    """The largest of 0 is at the top left, its click below; 1 hangs together at corners."""
    expected = drawn("""
        00..1..2
        00.1.112
        ..2.1111
        00222.21
    """)
    np.testing.assert_array_equal(connected(GROWN, CLICKS, 2), expected)
    expected[expected == 2] = np.where(GROWN == 2, 2, -1)[expected == 2]
    np.testing.assert_array_equal(connected(GROWN, CLICKS), expected)


def test_crowds_stuff_and_what_is_whole_stay():
    np.testing.assert_array_equal(connected(GROWN, CLICKS, 2, crowds=[0]), GROWN)
    apart = np.where(np.arange(8) % 2, 2, -1) + np.zeros((4, 1), int)
    np.testing.assert_array_equal(connected(apart, CLICKS), apart)
    np.testing.assert_array_equal(connected(np.full((4, 8), -1), CLICKS), np.full((4, 8), -1))


def test_a_click_on_another_target_keeps_nothing():
    """The click of 0 lies where 1 has grown."""
    clicks = [(0, [(6.5, 2.5)]), *CLICKS[1:]]
    got = connected(GROWN, clicks)
    np.testing.assert_array_equal(got == 0, (GROWN == 0) & (np.arange(8) < 2) & (np.c_[:4] < 2))


def filled(mask, y, x):
    """The pixels of a mask that hang together with one of them."""
    part, todo = np.zeros_like(mask), [(y, x)]
    while todo:
        y, x = todo.pop()
        if 0 <= y < mask.shape[0] and 0 <= x < mask.shape[1] and mask[y, x] and not part[y, x]:
            part[y, x] = True
            todo += [(y + a, x + b) for a in (-1, 0, 1) for b in (-1, 0, 1)]
    return part


def reference(grown, stuff, clicks, crowds):
    result = grown.copy()
    for target, (channel, points) in enumerate(clicks):
        own = grown == target
        if channel >= THINGS or target in crowds or not points or not own.any():
            continue
        parts = [filled(own, y, x) for y, x in np.argwhere(own)]
        kept = max(parts, key=np.sum).copy()  # the first of the largest
        for x, y in points:
            kept |= filled(own, int(y), int(x))
        result[own & ~kept] = stuff[own & ~kept]
    return result


@st.composite
def pictures(draw):
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (draw(st.integers(1, 9)), draw(st.integers(1, 9)))
    count = draw(st.integers(1, 4))
    place = [(x + 0.5, y + 0.5) for y in range(shape[0]) for x in range(shape[1])]
    clicks = [
        (int(random.integers(4)), [place[i] for i in random.integers(len(place), size=many)])
        for many in random.integers(0, 3, size=count)
    ]
    crowds = [target for target in range(count) if random.random() < 0.15]
    free = [-1, *(target for target, (channel, _) in enumerate(clicks) if channel >= THINGS)]
    return random.integers(-1, count, shape), random.choice(free, shape), clicks, crowds


@given(st.lists(pictures(), min_size=1, max_size=3))
def test_is_the_reference(batch):
    """Alone, and in a batch with others, where padding is nobody's."""
    height, width = (max(own[0].shape[axis] for own in batch) for axis in (0, 1))
    padded = np.full((2, len(batch), height, width), -1)
    for number, (grown, stuff, clicks, crowds) in enumerate(batch):
        padded[:, number, : grown.shape[0], : grown.shape[1]] = grown, stuff
        got = connected(grown, clicks, stuff, crowds)
        np.testing.assert_array_equal(got, reference(grown, stuff, clicks, crowds))
    points = PointBatch.from_lists([clicks for _, _, clicks, _ in batch])
    labels, instead = torch.from_numpy(padded.astype(np.int32))
    together = keep_connected(labels, instead, points, [own[3] for own in batch], IS_THING)
    for got, (grown, stuff, clicks, crowds) in zip(together, batch, strict=True):
        inside = got[: grown.shape[0], : grown.shape[1]]
        np.testing.assert_array_equal(inside, reference(grown, stuff, clicks, crowds))
        assert (got < 0).sum() - (inside < 0).sum() == got.size - inside.size
    assert (labels.numpy() == padded[0]).all()  # what is given is left alone
