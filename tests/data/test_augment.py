"""Clicks under resizes, flips and crops: none is lost, none changes its segment."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from point2mask.data.augment import (
    AugmentConfig,
    Sample,
    augment,
    crop,
    flip,
    resize,
    target_size,
)
from point2mask.data.shapes import draw_shapes


def scene_sample(index, clicks=1, size=(37, 52), truth=True):
    """A generated picture with random clicks in each of its segments."""
    scene = draw_shapes(index, size)
    rng = np.random.default_rng(index)
    labels = np.full(size, -1, np.int32)
    xy, target = [], []
    for k, segment in enumerate(scene.segments):
        rows, columns = np.nonzero(scene.ids == segment.id)
        labels[rows, columns] = k
        for i in rng.permutation(len(rows))[:clicks]:
            xy.append((columns[i], rows[i]))
            target.append(k)
    return Sample(
        torch.from_numpy(scene.image).permute(2, 0, 1).contiguous(),
        torch.tensor(np.array(xy)),
        torch.tensor(target),
        torch.tensor([segment.category_id - 1 for segment in scene.segments]),
        torch.from_numpy(labels) if truth else None,
    )


def check(sample):
    """Clicks lie in the image, and in their segments as far as those have pixels."""
    height, width = sample.size
    assert sample.image.shape == (3, height, width)
    assert (sample.xy >= 0).all()
    assert (sample.xy < torch.tensor([width, height])).all()
    if sample.truth is not None:
        assert sample.truth.shape == (height, width)
        under = sample.truth[sample.xy[:, 1], sample.xy[:, 0]]
        survives = torch.isin(sample.target, sample.truth.unique())
        assert (under == sample.target)[survives].all()


def at_every_size(function):
    return given(
        index=st.integers(0, 30),
        clicks=st.sampled_from([1, 10]),
        height=st.integers(1, 90),
        width=st.integers(1, 90),
    )(function)


@at_every_size
def test_a_click_stays_in_its_segment_when_resized_and_flipped(index, clicks, height, width):
    sample = scene_sample(index, clicks)
    for first, second in (((height, width), None), (None, (height, width))):
        moved = resize(sample, first) if first else flip(sample)
        check(moved)
        moved = flip(moved) if first else resize(moved, second)
        check(moved)
        assert moved.target.tolist() == sample.target.tolist()
        assert moved.category is sample.category


@at_every_size
def test_without_truth_a_click_is_rounded(index, clicks, height, width):
    sample = scene_sample(index, clicks, truth=False)
    moved = resize(sample, (height, width))
    check(moved)
    assert moved.truth is None
    scale = torch.tensor([width / 52, height / 37], dtype=torch.float64)
    exact = (sample.xy + 0.5) * scale - 0.5
    # Half a pixel, and more only where the image ends.
    limit = torch.tensor([width - 1, height - 1])
    assert ((moved.xy - exact.clamp(min=0).minimum(limit)).abs() <= 0.5 + 1e-12).all()


@at_every_size
def test_the_stray_takes_the_nearest_pixel_of_its_segment(index, clicks, height, width):
    sample = scene_sample(index, clicks)
    moved = resize(sample, (height, width))
    exact = (sample.xy + 0.5) * torch.tensor([width / 52, height / 37], dtype=torch.float64) - 0.5
    for xy, place, target in zip(moved.xy, exact, moved.target, strict=True):
        inside = (moved.truth == target).nonzero().flip(1)
        if len(inside):
            least = (inside - place).norm(dim=1).min()
            # Rounding finds the nearest pixel of all, but for ties.
            assert (xy - place).norm() <= least + 1e-9 or (xy == inside).all(1).any()
            under = moved.truth[xy[1], xy[0]]
            assert under == target


def test_resizing_by_literals():
    truth = torch.tensor([[0, 0, 1, 0, 0, 0]] * 2, dtype=torch.int32)
    sample = Sample(
        torch.zeros(3, 2, 6, dtype=torch.uint8),
        torch.tensor([[0, 0], [2, 1], [5, 1]]),
        torch.tensor([0, 1, 0]),
        torch.tensor([4, 7]),
        truth,
    )
    # Pixel 2 of 6 lies at (2 + 1/2) / 2 - 1/2 = 3/4 of 3; the sources of 0, 1, 2 are 1, 3, 5.
    half = resize(sample, (1, 3))
    assert half.truth.tolist() == [[0, 0, 0]]  # segment 1 is gone, its click is not
    assert half.xy.tolist() == [[0, 0], [1, 0], [2, 0]]
    # Of 4 pixels the sources are 0, 2, 3, 5: the click belongs at 1.17, and 1 is its segment.
    assert resize(sample, (2, 4)).xy.tolist() == [[0, 0], [1, 1], [3, 1]]
    assert resize(sample, (4, 12)).xy.tolist() == [[1, 1], [5, 3], [11, 3]]
    assert flip(sample).xy.tolist() == [[5, 0], [3, 1], [0, 1]]
    assert resize(sample, (2, 6)) is sample


def test_a_stray_is_moved():
    # Sources of 3 of 8 pixels are 1, 4, 6; the click in pixel 3 belongs at 0.81, whose source is
    # 4, of another segment; 0 is of its own.
    truth = torch.tensor([[0, 0, 0, 0, 1, 1, 1, 1]], dtype=torch.int32)
    sample = Sample(
        torch.zeros(3, 1, 8, dtype=torch.uint8),
        torch.tensor([[3, 0]]),
        torch.tensor([0]),
        torch.tensor([0]),
        truth,
    )
    assert resize(sample, (1, 3)).xy.tolist() == [[0, 0]]
    assert resize(replace(sample, truth=None), (1, 3)).xy.tolist() == [[1, 0]]


def test_flipping_twice_changes_nothing():
    sample = scene_sample(3, 2)
    twice = flip(flip(sample))
    for name in ("image", "xy", "truth"):
        assert torch.equal(getattr(twice, name), getattr(sample, name))


@given(st.integers(0, 30), st.integers(0, 36), st.integers(0, 51), st.data())
def test_a_crop_keeps_what_is_clicked_in_it(index, top, left, data):
    sample = scene_sample(index, 3)
    height = data.draw(st.integers(1, 37 - top))
    width = data.draw(st.integers(1, 52 - left))
    window = crop(sample, top, left, height, width)
    check(window)
    x, y = sample.xy.unbind(1)
    inside = (x >= left) & (x < left + width) & (y >= top) & (y < top + height)
    assert len(window.xy) == inside.sum()
    kept = sample.target[inside].unique()
    assert torch.equal(window.category, sample.category[kept])
    assert window.target.unique().tolist() == list(range(len(kept)))
    part = sample.truth[top : top + height, left : left + width]
    for k, old in enumerate(kept):
        assert torch.equal(window.truth == k, part == old)
    assert torch.equal(window.truth == -1, ~torch.isin(part, kept.int()))


AREAS = torch.tensor([9.0, 40.0, float("nan")], dtype=torch.float64)


def sized(area=AREAS, xy=((5, 5), (30, 20), (50, 35))):
    """40 x 60 pixels, a click each on three targets."""
    targets = torch.arange(len(xy))
    image = torch.zeros(3, 40, 60, dtype=torch.uint8)
    return Sample(image, torch.tensor(xy), targets, targets, area=area)


def same(area, expected):
    torch.testing.assert_close(
        area, torch.tensor(expected, dtype=torch.float64), equal_nan=True, rtol=1e-12, atol=0
    )


@given(st.integers(1, 90), st.integers(1, 90))
def test_areas_are_scaled_with_the_image(height, width):
    moved = flip(resize(sized(), (height, width)))
    scale = height * width / 2400
    same(moved.area, [9 * scale, 40 * scale, float("nan")])
    assert torch.equal(flip(sized()).area[:2], AREAS[:2])
    assert resize(sized(area=None), (height, width)).area is None


def test_what_a_crop_leaves_of_an_area():
    """A square of 3 x 3 pixels, x and y from 4 to 7, and one of 2 sqrt(10) about (30.5, 20.5)."""
    nobody = float("nan")
    same(crop(sized(), 0, 0, 40, 60).area, [9, 40, nobody])
    same(crop(sized(), 4, 4, 20, 20).area, [9])
    same(crop(sized(), 5, 4, 20, 20).area, [6])  # a row of three is outside
    same(crop(sized(), 4, 5, 20, 20).area, [6])
    # 4 of 9, less than half; and down to 22, where the square begins at 20.5 - sqrt(10).
    same(crop(sized(), 5, 5, 17, 40).area, [nobody, 2 * 10**0.5 * (10**0.5 + 1.5)])
    assert crop(sized(area=None), 5, 5, 20, 20).area is None
    # What lies outside the image was never the target's.
    same(crop(sized(xy=((0, 0), (30, 20), (50, 35))), 0, 0, 10, 10).area, [9])
    same(crop(sized(xy=((0, 0), (30, 20), (50, 35))), 0, 0, 10, 1).area, [4.5])
    # Several clicks: about their middle.
    target, area = torch.tensor([0, 1, 1]), torch.tensor([90.0, 400.0], dtype=torch.float64)
    two = replace(sized(), target=target, category=torch.arange(2), area=area)
    same(crop(two, 0, 30, 40, 30).area, [400])
    same(crop(two, 0, 40, 40, 20).area, [210])  # a square from 30.5 to 50.5


@given(st.integers(0, 30), st.integers(0, 36), st.integers(0, 51), st.data())
def test_an_area_in_a_crop_is_half_of_it_at_least_or_unknown(index, top, left, data):
    sample = scene_sample(index, 3)
    pixels = torch.bincount(sample.truth.long().flatten() + 1, minlength=len(sample.category) + 1)
    sample = replace(sample, area=pixels[1:].double())
    window = (data.draw(st.integers(1, 37 - top)), data.draw(st.integers(1, 52 - left)))
    cut = crop(sample, top, left, *window)
    x, y = sample.xy.unbind(1)
    inside = (x >= left) & (x < left + window[1]) & (y >= top) & (y < top + window[0])
    whole = sample.area[sample.target[inside].unique()]
    assert cut.area.shape == cut.category.shape
    known = ~cut.area.isnan()
    assert (cut.area <= whole * (1 + 1e-12))[known].all()
    assert (cut.area >= whole * (0.5 - 1e-12))[known].all()
    assert torch.equal(crop(sample, 0, 0, 37, 52).area, sample.area)


def test_augment_depends_on_its_generator_alone():
    sample = scene_sample(2)
    config = AugmentConfig(short_sides=(20, 30, 40), max_side=60, crop=(24, 24))
    variants = [augment(sample, config, random.Random(seed)) for seed in range(40)]
    again = augment(sample, config, random.Random(7))
    assert torch.equal(again.image, variants[7].image)
    assert torch.equal(again.xy, variants[7].xy)
    for variant in variants:
        check(variant)
        assert variant.size[0] <= 24
        assert variant.size[1] <= 24
    assert len({variant.size for variant in variants}) == 2  # short side 20, or cropped to 24
    assert len({variant.image.numpy().tobytes() for variant in variants}) > 15


def test_target_size_is_the_published_rule():
    assert target_size((375, 500), 600, 1333) == (600, 800)
    assert target_size((200, 1000), 600, 1333) == (267, 1333)
    assert target_size((1000, 200), 600, 1333) == (1333, 267)
    assert target_size((1, 1000), 600, 100) == (1, 100)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"short_sides": ()}, r"^short_sides: expected a list of 1 to 1000, got \(\)$"),
        ({"crop": (0, 3)}, r"^crop\[0\]: expected an integer in \[1, 32768\], got 0$"),
        ({"flip": 1.5}, r"^flip: expected a number in \[0, 1\], got 1.5$"),
    ],
)
def test_wrong_configurations(values, message):
    with pytest.raises(ValueError, match=message):
        AugmentConfig(**values)
