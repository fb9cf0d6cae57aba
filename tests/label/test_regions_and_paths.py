"""What the assigners are made of: edges, markers, spacing, superpixels, supplies."""

import numpy as np
import pytest
from scipy.ndimage import label

from point2mask import engine
from point2mask.data import PointTarget
from point2mask.label import edges, label_image, paths
from point2mask.label.paths import _Paths, _supplies
from point2mask.label.picture import make_picture
from point2mask.label.regions import superpixels
from point2mask.label.scene import make_scene, place_clicks
from point2mask.label.size import working_size


def scene(clicks, shape=(40, 60), areas=None, categories=None, seed=0):
    image = np.random.default_rng(seed).integers(0, 256, (*shape, 3)).astype(np.uint8)
    areas = areas or [None] * len(clicks)
    categories = categories or [1] * len(clicks)
    targets = [
        PointTarget(k + 1, category, points, area)
        for k, (points, area, category) in enumerate(zip(clicks, areas, categories, strict=True))
    ]
    return make_scene(
        make_picture(image, None, working_size(shape)), shape, targets, [True] * len(targets)
    )


def test_edges_mark_a_step_of_colour_and_nothing_else():
    picture = np.where(np.arange(64)[:, None] < 32, [200, 30, 30], [30, 30, 200])
    lab = edges.lab_picture(np.broadcast_to(picture, (48, 64, 3)).astype(np.float32))
    strength = edges.built_in_edges(lab, 0.1)
    assert strength[:, 31:33].min() > 0.8
    assert strength[:, :20].max() < 1e-3
    assert strength[:, 44:].max() < 1e-3


def test_texture_bins_tell_orientations_apart():
    stripes = 50 + 30 * np.sin(np.arange(64) * np.pi / 4)
    lab = np.zeros((64, 64, 3), np.float32)
    lab[..., 0] = stripes
    upright, counts = edges.appearance_bins(lab)
    lying, _ = edges.appearance_bins(lab.transpose(1, 0, 2).copy())
    assert upright.shape == (2, 64, 64)
    assert not set(np.unique(upright[1])) & set(np.unique(lying[1])) - {0}
    assert (upright.max((1, 2)) < counts).all()


def test_markers_of_close_clicks_are_shared_by_distance():
    markers = scene([((10.0, 10.0),), ((12.0, 10.0),)]).markers()
    assert markers[10, 10] == 0
    assert markers[10, 12] == 1
    assert (markers[7:14, 7:11] == 0).all()  # ties, x = 11, go to the first
    assert (markers[7:14, 12:16] == 1).all()
    assert (markers >= 0).sum() == 7 * 9


def test_clicks_that_share_a_pixel_move_apart():
    clicks = [[(4.0, 4.0)], [(5.0, 5.0)], [(4.0, 5.0), (5.0, 4.0)]]
    seeds = place_clicks(clicks, (8, 8), (2, 2))  # all in pixel 3, 2 x 2 pixels
    taken = [set(row[row >= 0].tolist()) for row in seeds]
    assert taken[0] == {3}
    assert all(taken)
    assert not taken[0] & taken[1]
    assert not (taken[0] | taken[1]) & taken[2]


def test_spacing_is_the_next_other_click_averaged_over_a_category():
    clicks = [((10.0, 10.0), (50.0, 30.0)), ((14.0, 13.0),), ((14.0, 33.0),)]
    np.testing.assert_allclose(scene(clicks, categories=[1, 2, 3]).spacing(), [5, 5, 20])
    np.testing.assert_allclose(scene(clicks, categories=[1, 2, 2]).spacing(), [5, 10, 10])
    # A geometric mean by exp and log, which round differently from processor to processor.
    np.testing.assert_allclose(scene(clicks[:1]).spacing(), np.sqrt(40 * 60), rtol=1e-14)


def test_superpixels_cover_the_picture_and_keep_clicks_apart():
    given = scene([((3.0, 3.0),), ((6.0, 3.0),), ((40.0, 30.0), (20.0, 35.0))])
    regions = superpixels(given)
    assert np.array_equal(np.unique(regions), np.arange(regions.max() + 1))
    owners = [{int(regions.flat[s]) for s in seeds if s >= 0} for seeds in given.seeds]
    assert not owners[0] & owners[1]
    assert not (owners[0] | owners[1]) & owners[2]
    free = set(range(int(regions.max()) + 1)).difference(*owners)
    assert all(label(regions == number)[1] == 1 for number in free)


def left_share(*areas):
    """Of a picture whose colour goes in equal steps from the left click to the right one."""
    steps = np.linspace(0, 1, 12)[np.arange(144) // 12][:, None]
    colors = (1 - steps) * (40, 60, 200) + steps * (200, 50, 40)
    image = np.broadcast_to(colors, (96, 144, 3)).astype(np.uint8)
    clicks = ((6.0, 48.0),), ((138.0, 48.0),)
    targets = [
        PointTarget(k + 1, 1, points, area)
        for k, (points, area) in enumerate(zip(clicks, areas, strict=True))
    ]
    labels = label_image(image, targets, "merge")
    assert labels.min() == 0
    return (labels == 0).mean()


def test_merge_follows_the_sizes_of_targets():
    few, half, many = (
        left_share(96 * 144 * share, 96 * 144 * (1 - share)) for share in (0.1, 0.5, 0.9)
    )
    assert few + 0.1 < half < many - 0.1


@pytest.mark.parametrize("area", [5e-324, 500.0])
def test_merge_takes_the_size_of_one_target(area):
    assert left_share(area, None) < left_share(None, None) - 0.1
    assert left_share(None, area) > left_share(area, None) + 0.1


def distance_of(given):
    return np.random.default_rng(1).random((len(given.seeds), *given.shape)).astype(np.float32)


def shares(given):
    distance = distance_of(given)
    return _supplies(given, distance.argmin(0).astype(np.int32), np.log(distance + 1))


def test_supplies_are_the_given_areas():
    given = scene([((3.0, 3.0),), ((50.0, 30.0),)], areas=[100.0, 300.0])
    np.testing.assert_allclose(shares(given), [0.25, 0.75])


def test_supplies_of_targets_without_area_share_what_is_left():
    clicks = [((3.0, 3.0),), ((50.0, 30.0),), ((30.0, 20.0),)]
    given = scene(clicks, areas=[600.0, None, None])
    supplies = shares(given)
    assert supplies[0] == pytest.approx(0.25)
    assert supplies.sum() == pytest.approx(1)
    assert (supplies > 0).all()
    full = scene(clicks, areas=[2400.0, None, None])
    assert (shares(full) > 0).all()
    nothing = scene(clicks, areas=[0.0, 0.0, 0.0])
    np.testing.assert_allclose(shares(nothing), 1 / 3)


def test_transport_gives_targets_their_areas():
    image = np.random.default_rng(0).integers(90, 110, (64, 96, 3)).astype(np.uint8)
    for share in (0.2, 0.5, 0.8):
        areas = 64 * 96 * share, 64 * 96 * (1 - share)
        targets = [
            PointTarget(k + 1, 1, ((x, 32.0),), area)
            for k, (x, area) in enumerate(zip((24.0, 72.0), areas, strict=True))
        ]
        labels = label_image(image, targets, "transport")
        # Entropy and sampling move pixels near the border between the two.
        assert (labels == 0).mean() == pytest.approx(share, abs=0.05)


@pytest.mark.parametrize("kept", [0, 2, 64])
def test_only_paths_of_new_seeds_are_computed(kept, monkeypatch):
    picture = scene([((5.0, 5.0),)]).picture
    first = np.array([[70, 80], [900, -1], [-1, -1]], np.int32)
    second = np.array([[900, -1], [1200, -1], [70, 80], [1200, -1]], np.int32)
    alone = [list(_Paths(picture).distances(seeds)) for seeds in (first, second)]
    computed = []

    def count(cost, seeds):
        computed.append(seeds.shape[1])
        return compute(cost, seeds)

    compute = engine.geodesic_distance
    monkeypatch.setattr(engine, "geodesic_distance", count)
    monkeypatch.setattr(paths, "KEPT", kept)
    both = _Paths(picture)
    for seeds, expected in zip((first, second, first), (*alone, alone[0]), strict=True):
        np.testing.assert_array_equal(list(both.distances(seeds)), expected)
    assert computed == {0: [3, 4, 3], 2: [3, 3, 2], 64: [3, 2]}[kept]
    monkeypatch.setattr(paths, "TOGETHER", 2)
    for seeds, expected in zip((second, first), (alone[1], alone[0]), strict=True):
        np.testing.assert_array_equal(list(_Paths(picture).distances(seeds)), expected)
