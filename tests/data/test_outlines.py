"""Polygons and run lengths: against the definition, an independent library, and broken text."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_lengths import counts_of, text_of

from point2mask.data import DataError
from point2mask.data.outlines import fill_polygons, fill_runs, read_counts

SIZE = (7, 9)


def inside(x, y, corners):
    """The even-odd rule for one point, by counting the crossings of a ray to the left."""
    crossings = 0
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        if (y0 <= y) != (y1 <= y):
            crossings += x0 + (y - y0) * (x1 - x0) / (y1 - y0) <= x
    return crossings % 2 == 1


corner = st.tuples(st.integers(-12, 60), st.integers(-12, 60))  # in quarters of a pixel


@given(quarters=st.lists(corner, min_size=3, max_size=8))
def test_pixels_whose_centre_is_inside(quarters):
    corners = [(x / 4, y / 4) for x, y in quarters]
    got = fill_polygons([[part for xy in corners for part in xy]], SIZE)
    expected = [[inside(x + 0.5, y + 0.5, corners) for x in range(9)] for y in range(7)]
    np.testing.assert_array_equal(got, expected)


def test_polygons_that_share_an_edge_share_no_pixel():
    left, right = [0, 0, 4.5, 0, 2.5, 7, 0, 7], [4.5, 0, 9, 0, 9, 7, 2.5, 7]
    assert fill_polygons([left, right], SIZE).all()
    assert not (fill_polygons([left], SIZE) & fill_polygons([right], SIZE)).any()


def test_many_corners_and_far_ones():
    angle = np.linspace(0, 2 * np.pi, 1000, endpoint=False)
    circle = np.stack((50 + 40 * np.cos(angle), 50 + 40 * np.sin(angle)), 1)
    area = fill_polygons([circle.ravel().tolist()], (100, 100)).sum()
    assert area == pytest.approx(np.pi * 40**2, rel=0.005)
    assert fill_polygons([[-1e17, -1e17, 1e17, -1e17, 1e17, 1e17, -1e17, 1e17]], SIZE).all()
    assert not fill_polygons([[20, 20, 30, 20, 30, 30]], SIZE).any()
    assert not fill_polygons([], SIZE).any()


masks = st.integers(1, 40).flatmap(
    lambda width: st.lists(
        st.lists(st.booleans(), min_size=width, max_size=width), min_size=1, max_size=40
    ).map(np.array)
)


@given(mask=masks)
def test_runs_and_their_text_round_trip(mask):
    counts = counts_of(mask)
    np.testing.assert_array_equal(fill_runs(counts, mask.shape, "here"), mask)
    assert read_counts(text_of(counts), mask.size, "here") == counts


def test_runs_of_long_lengths():
    mask = np.zeros((300, 400), bool)
    mask[10:200, 30:350] = True
    assert read_counts(text_of(counts_of(mask)), mask.size, "here") == counts_of(mask)


@given(mask=masks)
def test_text_of_an_independent_library(mask):
    coco = pytest.importorskip("pycocotools.mask")
    encoded = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    counts = read_counts(encoded["counts"].decode(), mask.size, "here")
    np.testing.assert_array_equal(fill_runs(counts, mask.shape, "here"), mask)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("~", "expected compressed runs, got '~'"),
        ("0 1", "expected compressed runs"),
        ("o" * 30, "expected compressed runs"),
        ("0o", ".*the last one is cut off"),
        ("oo9", r"expected runs of \[0, 63\] pixels"),
        ("@", r"expected runs of \[0, 63\] pixels, got -16"),
        ("1é", "expected compressed runs"),
    ],
)
def test_broken_text(text, message):
    with pytest.raises(DataError, match=f"here: {message}"):
        read_counts(text, 63, "here")


def test_runs_of_another_size():
    with pytest.raises(DataError, match="expected runs of 9 x 7 = 63 pixels together, got 62"):
        fill_runs([30, 32], SIZE, "here")
