"""merge_regions and histogram_gradient: the engine against the plain reference."""

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import label

from point2mask import engine
from point2mask.ops import reference

SQUARES = np.arange(4).reshape(2, 2).repeat(3, 0).repeat(3, 1).astype(np.int32)  # 0 1 / 2 3


def merge(function=engine.merge_regions, **changes):
    """Four squares with strong edges all around, targets in squares 0 and 3."""
    arguments = {
        "regions": SQUARES,
        "region_count": 4,
        "edge": np.ones((6, 6), np.float32),
        "bins": np.zeros((0, 6, 6), np.int32),
        "bin_counts": np.zeros(0, np.int32),
        "weights": np.zeros(0),
        "seeds": np.array([[0], [35]], np.int32),
        "reach": np.full(2, np.inf),
    }
    return function(**(arguments | changes))


@st.composite
def scenes(draw):
    """Random maps whose sums are exact in binary, so that rounding cannot decide a tie."""
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    features, targets = draw(st.integers(0, 2)), draw(st.integers(0, 4))
    coarse = rng.integers(0, draw(st.integers(1, 14)), ((height + 1) // 2, (width + 1) // 2))
    regions = coarse.repeat(2, 0).repeat(2, 1)[:height, :width]
    seeds = np.full((targets, 2), -1)
    for k, numbers in enumerate(np.array_split(rng.permutation(np.unique(regions)), targets or 1)):
        for p, number in enumerate(numbers[: 2 if targets else 0]):
            seeds[k, p] = rng.choice(np.flatnonzero(regions == number))
    counts = rng.integers(1, 12, features)
    return {
        "regions": regions.astype(np.int32),
        "region_count": 14,
        "edge": (rng.integers(0, 8, (height, width)) / 8).astype(np.float32),
        "bins": np.stack([rng.integers(0, c, (height, width)) for c in counts]).astype(np.int32)
        if features
        else np.zeros((0, height, width), np.int32),
        "bin_counts": counts.astype(np.int32),
        "weights": rng.integers(0, 5, features) / 4,
        "seeds": seeds.astype(np.int32),
        "reach": rng.choice([0.5, 3.0, np.inf], targets),
        "size_exponent": draw(st.sampled_from([0.0, 0.05, 1.0])),
    }


@examples(60)
@given(scene=scenes())
def test_merging_equals_the_reference(scene):
    np.testing.assert_array_equal(engine.merge_regions(**scene), reference.merge_regions(**scene))


@given(scene=scenes())
def test_every_region_gets_one_target_and_seeds_keep_theirs(scene):
    labels = engine.merge_regions(**scene)
    for region in np.unique(scene["regions"]):
        assert len(np.unique(labels[scene["regions"] == region])) == 1
    for k, seeds in enumerate(scene["seeds"]):
        assert (labels.flat[seeds[seeds >= 0]] == k).all()
    assert (labels >= 0).all() == (scene["seeds"] >= 0).any()


@given(scene=scenes())
def test_masks_of_connected_regions_hang_together(scene):
    scene["regions"] = np.arange(scene["regions"].size).reshape(scene["regions"].shape)
    scene["region_count"] = scene["regions"].size
    labels = engine.merge_regions(**scene)
    for k, seeds in enumerate(scene["seeds"]):
        assert label(labels == k)[1] <= (seeds >= 0).sum()


def test_weak_borders_go_first():
    edge = np.ones((6, 6), np.float32)
    edge[:3, 2:4] = 0.25  # between 0 and 1
    edge[3:, 2:4] = 0.5  # between 2 and 3
    np.testing.assert_array_equal(
        merge(edge=edge), np.where(np.isin(SQUARES, [0, 1]), 0, 1).astype(np.int32)
    )


def test_regions_that_look_alike_go_first():
    bins = np.isin(SQUARES, [0, 2])[None].astype(np.int32)
    labels = merge(bins=bins, bin_counts=[2], weights=[1.0])
    np.testing.assert_array_equal(labels, np.where(np.isin(SQUARES, [0, 2]), 0, 1))
    assert (merge(bins=bins, bin_counts=[2], weights=[0.0]) != labels).any()


def test_a_short_reach_leaves_what_is_far_to_others():
    column = np.arange(8, dtype=np.int32)[None]
    line = {
        "regions": column,
        "region_count": 8,
        "edge": np.ones((1, 8), np.float32),
        "bins": np.zeros((0, 1, 8), np.int32),
        "seeds": np.array([[0], [7]], np.int32),
        "size_exponent": 0.0,
    }
    free = merge(**line)[0]
    assert (free == 0).sum() == 7  # ties: the smallest pair of numbers
    assert (merge(**line, reach=[0.01, np.inf])[0] == 0).sum() == 1


def test_seeds_of_one_target_join_from_the_start():
    labels = merge(seeds=np.array([[0, 35], [5, -1]], np.int32))
    assert labels[0, 0] == labels[5, 5] == 0
    assert labels[0, 5] == 1


def test_without_seeds_nothing_is_labelled():
    assert (merge(seeds=np.zeros((0, 1), np.int32), reach=[]) == -1).all()
    assert (merge(seeds=np.full((2, 1), -1, np.int32)) == -1).all()


def test_empty_image():
    empty = merge(
        regions=np.zeros((0, 4), np.int32),
        edge=np.zeros((0, 4), np.float32),
        bins=np.zeros((0, 0, 4), np.int32),
        seeds=np.full((2, 1), -1, np.int32),
    )
    assert empty.shape == (0, 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"region_count": 3}, r"regions must lie in \[0, 3\), got 3"),
        ({"edge": np.full((6, 6), np.nan)}, "edge must be finite and not negative, got nan"),
        ({"edge": np.full((6, 6), -1)}, "edge must be finite and not negative, got -1"),
        ({"edge": np.ones((6, 5))}, r"edge must have shape \[H=6, W=6\], got \[6, 5\]"),
        ({"seeds": [[0], [36]]}, r"seeds must lie in \[-1, 36\), got 36"),
        ({"seeds": [[0], [1]]}, "seeds of targets 0 and 1 lie in the same region 0"),
        ({"reach": [1.0, 0.0]}, "reach must be positive, got 0"),
        ({"reach": [1.0, np.nan]}, "reach must be positive, got nan"),
        ({"reach": [1.0]}, r"reach must have shape \[K=2\], got \[1\]"),
        ({"size_exponent": np.inf}, "size_exponent must be finite, got inf"),
        (
            {"bins": np.full((1, 6, 6), 2), "bin_counts": [2], "weights": [1]},
            r"bins must lie in \[0, 2\), got 2",
        ),
        (
            {"bins": np.zeros((1, 6, 6), int), "bin_counts": [0], "weights": [1]},
            r"bin_counts must lie in \[1, 65536\], got 0",
        ),
        (
            {"bins": np.zeros((1, 6, 6), int), "bin_counts": [2**31 - 1], "weights": [1]},
            r"bin_counts must lie in \[1, 65536\], got 2147483647",
        ),
        (
            {"regions": np.full((6, 6), 2**31 - 2), "region_count": 2**31 - 1},
            r"regions must lie in \[0, 65536\), got 2147483646",
        ),
        (
            {"bins": np.zeros((1, 6, 6), int), "bin_counts": [2], "weights": [-1]},
            "weights must be finite and not negative, got -1",
        ),
    ],
)
def test_merging_rejects(changes, message):
    with pytest.raises(ValueError, match=message):
        merge(**changes)


@given(
    shape=st.tuples(st.integers(0, 2), st.integers(1, 12), st.integers(1, 12)),
    bins=st.integers(2, 5),
    radius=st.integers(0, 4),
    distance=st.integers(1, 5),
    seed=st.integers(0, 2**32),
)
@examples(30)
def test_gradient_equals_the_reference(shape, bins, radius, distance, seed):
    channels = np.random.default_rng(seed).random(shape).astype(np.float32)
    # The square root of float32 sums: errors of 1e-6 show as 1e-3 where the strength is near 0.
    np.testing.assert_allclose(
        engine.histogram_gradient(channels, bins, radius, distance),
        reference.histogram_gradient(channels, bins, radius, distance),
        atol=1e-3,
        rtol=1e-4,
    )


HUGE = [2**31 - 1, 2**31, 2**62, 2**63 - 1]


@pytest.mark.parametrize("huge", HUGE)
@pytest.mark.parametrize("shape", [(2, 7, 5), (1, 1, 9), (1, 9, 1), (1, 0, 3)])
def test_gradient_takes_any_radius_and_distance(shape, huge):
    """Beyond the image there is nothing that could change the result."""
    channels = np.random.default_rng(0).random(shape).astype(np.float32)
    for some, enough in (((3, huge), (3, 64)), ((huge, 2), (64, 2)), ((huge, huge), (64, 64))):
        got = engine.histogram_gradient(channels, 4, *some)
        np.testing.assert_array_equal(got, engine.histogram_gradient(channels, 4, *enough))


@pytest.mark.parametrize("radius", [6, 9, 20])
@pytest.mark.parametrize("distance", [5, 7, 8, 30])
def test_gradient_of_windows_larger_than_the_image(radius, distance):
    channels = np.random.default_rng(1).random((1, 6, 4)).astype(np.float32)
    np.testing.assert_allclose(
        engine.histogram_gradient(channels, 3, radius, distance),
        reference.histogram_gradient(channels, 3, radius, distance),
        atol=1e-3,
        rtol=1e-4,
    )


@pytest.mark.parametrize("huge", HUGE)
def test_merging_takes_any_number_of_regions(huge):
    np.testing.assert_array_equal(merge(region_count=huge), merge())


def test_gradient_sees_a_border_between_textures_of_one_mean():
    stripes = np.indices((32, 64))[0] % 2 * 1.0
    picture = np.where(np.arange(64) < 32, 0.5, stripes)[None].astype(np.float32)
    strength = engine.histogram_gradient(picture, bins=8, radius=3, distance=4)
    assert strength[:, 28:36].min() > 2 * strength[:, :20].max()
    assert strength[:, 28:36].min() > 2 * strength[:, 44:].max()


@pytest.mark.parametrize(
    ("channels", "options", "message"),
    [
        (np.full((1, 2, 2), 1.5), {}, r"channels must lie in \[0, 1\], got 1.5"),
        (np.full((1, 2, 2), np.nan), {}, r"channels must lie in \[0, 1\], got -?nan"),
        (np.zeros((2, 2)), {}, r"channels must have shape \[C, H, W\], got \[2, 2\]"),
        (np.zeros((1, 2, 2)), {"bins": 1}, "bins must be at least 2, got 1"),
        (np.zeros((1, 2, 2)), {"bins": 257}, "bins must be at most 256, got 257"),
        (np.zeros((1, 2, 2)), {"bins": 2**63 - 1}, "bins must be at most 256, got 92233"),
        (np.zeros((1, 2, 2)), {"radius": -1}, "radius must be at least 0, got -1"),
        (np.zeros((1, 2, 2)), {"distance": 0}, "distance must be at least 1, got 0"),
    ],
)
def test_gradient_rejects(channels, options, message):
    with pytest.raises(ValueError, match=message):
        engine.histogram_gradient(channels, **options)
