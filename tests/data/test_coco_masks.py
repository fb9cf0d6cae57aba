"""Polygons and run lengths: against the definition, an independent library, and broken text."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_lengths import counts_of, text_of

from point2mask.data import DataError
from point2mask.data.formats.coco_masks import draw_polygons, draw_runs, read_counts

SIZE = (7, 9)


def whole(mask, size):
    """A mask in its picture."""
    picture = np.zeros(size, bool)
    picture[mask.box] = mask.inside
    return picture


def outlines(*polygons):
    return [np.array(p, float).reshape(-1, 2) for p in polygons]


def drawn(*polygons, size=SIZE):
    return whole(draw_polygons(outlines(*polygons), size, "here"), size)


def decoded(coco, encoded):
    with warnings.catch_warnings():
        # Of its own way to make arrays; NumPy will ask for another.
        warnings.simplefilter("ignore", DeprecationWarning)
        return coco.decode(encoded)


corner = st.tuples(st.integers(-9, 18), st.integers(-7, 14))  # a picture around the picture


@given(polygons=st.lists(st.lists(corner, min_size=3, max_size=8), min_size=1, max_size=3))
def test_polygons_as_coco_draws_them(polygons):
    coco = pytest.importorskip("pycocotools.mask")
    flat = [[float(part) for xy in corners for part in xy] for corners in polygons]
    encoded = coco.merge(coco.frPyObjects(flat, *SIZE))
    np.testing.assert_array_equal(drawn(*flat), decoded(coco, encoded))


def test_many_corners_and_none_inside():
    angle = np.linspace(0, 2 * np.pi, 1000, endpoint=False)
    circle = np.stack((50 + 40 * np.cos(angle), 50 + 40 * np.sin(angle)), 1)
    assert drawn(circle, size=(100, 100)).sum() == pytest.approx(np.pi * 40**2, rel=0.03)
    assert not drawn([20, 20, 30, 20, 30, 30]).any()


def test_work_is_bounded():
    zigzag = [(9 * (k % 2), k % 7) for k in range(1000)]
    with pytest.raises(
        DataError, match="here: expected outlines that fit the picture, got 9000 pi"
    ):
        drawn(zigzag)
    with pytest.raises(DataError, match="here: expected at most 50000 corners, got more"):
        drawn([(0, 0)] * 50_001)


def test_a_small_mask_in_a_large_picture_is_small():
    size = (16_000, 6_000)
    mask = draw_polygons(outlines([5000, 9000, 5010, 9000, 5010, 9020, 5000, 9020]), size, "here")
    assert mask.box == (slice(9000, 9020), slice(5000, 5010))
    counts = [5000 * 16_000 + 9000, 20, 15_980, 20]
    counts.append(16_000 * 6_000 - sum(counts))
    mask = draw_runs(counts, size, "here")
    assert mask.box == (slice(9000, 9020), slice(5000, 5002))
    assert mask.inside.shape == (20, 2)
    assert mask.inside.all()


def test_a_run_into_the_next_column_and_runs_of_no_pixel():
    mask = draw_runs([0, 0, 12, 3, 4, 0, 44], SIZE, "here")
    assert mask.box == (slice(0, 7), slice(1, 3))
    expected = np.zeros(SIZE, bool)
    expected[5:, 1] = expected[0, 2] = True
    np.testing.assert_array_equal(whole(mask, SIZE), expected)
    nothing = draw_runs([63], SIZE, "here")
    assert nothing.inside.size == 0
    assert not whole(nothing, SIZE).any()


masks = st.integers(1, 40).flatmap(
    lambda width: st.lists(
        st.lists(st.booleans(), min_size=width, max_size=width), min_size=1, max_size=40
    ).map(np.array)
)


@given(mask=masks)
def test_runs_and_their_text_round_trip(mask):
    counts = counts_of(mask)
    np.testing.assert_array_equal(whole(draw_runs(counts, mask.shape, "here"), mask.shape), mask)
    assert read_counts(text_of(counts), mask.size, "here").tolist() == counts


def test_runs_of_long_lengths():
    mask = np.zeros((300, 400), bool)
    mask[10:200, 30:350] = True
    assert read_counts(text_of(counts_of(mask)), mask.size, "here").tolist() == counts_of(mask)


@given(mask=masks)
def test_text_of_an_independent_library(mask):
    coco = pytest.importorskip("pycocotools.mask")
    encoded = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    counts = read_counts(encoded["counts"].decode(), mask.size, "here")
    np.testing.assert_array_equal(whole(draw_runs(counts, mask.shape, "here"), mask.shape), mask)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("~", "expected compressed runs, got '~'"),
        ("0 1", "expected compressed runs"),
        ("o" * 30, "expected compressed runs"),
        ("0o", "expected compressed runs, got"),
        ("oo9", r"expected runs of \[0, 63\] pixels"),
        ("@", r"expected runs of \[0, 63\] pixels, got -16"),
        ("o" * 11 + "O" + "0" * 9, r"expected runs of \[0, 63\] pixels, got -1$"),
        # The sums of these overflow, after the first.
        (
            "0" + ("o" * 11 + "?") * 40,
            r"expected runs of \[0, 63\] pixels, got 576460752303423487$",
        ),
        ("1é", "expected compressed runs"),
    ],
)
def test_broken_text(text, message):
    with pytest.raises(DataError, match=f"here: {message}"):
        read_counts(text, 63, "here")


def test_runs_of_another_size():
    with pytest.raises(DataError, match="expected runs of 9 x 7 = 63 pixels together, got 62"):
        draw_runs([30, 32], SIZE, "here")
