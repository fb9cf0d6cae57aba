"""The size that masks are made at follows a picture's area and the spacing of its clicks."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from point2mask import engine
from point2mask.cli import main
from point2mask.label import PreparedImage, label_image
from point2mask.label.paths import path_side
from point2mask.label.size import (
    MARKER_RADIUS,
    MOST_AREA,
    SPACING,
    WorkingSize,
    spacing,
    too_small,
    working_size,
)

SIDE = st.integers(1, 30_000)
SPREAD = [[(500.0, 500.0)], [(2500.0, 1500.0)], [(3500.0, 2800.0)]]


def grid(shape, step):
    """A click in the middle of every cell of a grid."""
    height, width = shape
    return [
        [(float(x), float(y))]
        for y in range(step // 2, height, step)
        for x in range(step // 2, width, step)
    ]


def discs(shape, step, radius):
    """Discs in the cells of a grid: the picture, and their numbers from 1 ``[H, W]``."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    inside = (y % step - step // 2) ** 2 + (x % step - step // 2) ** 2 <= radius**2
    number = 1 + y // step * (shape[1] // step) + x // step
    masks = np.where(inside, number, 0)
    image = np.full((*shape, 3), (20, 20, 40), np.uint8)
    image[inside] = np.stack(
        [np.full(inside.sum(), 200), 90 + number[inside] % 100, np.full(inside.sum(), 210)], 1
    )
    return image, masks


def mean_iou(labels, masks):
    """Over all discs; ``labels`` are indices of targets from 0."""
    count = int(masks.max())
    found = labels + 1
    both = np.bincount(masks[masks == found], minlength=count + 1)[1 : count + 1]
    sizes = [np.bincount(x.ravel(), minlength=count + 1)[1 : count + 1] for x in (masks, found)]
    return float((both / (sizes[0] + sizes[1] - both)).mean())


@pytest.mark.parametrize(
    ("shape", "clicks", "expected"),
    [
        ((480, 640), grid((480, 640), 16), ((480, 640), 1.0)),  # as it is
        ((48, 64), (), ((48, 64), 0.1)),
        ((3000, 4000), SPREAD, ((480, 640), 1.0)),  # an ordinary photo
        ((3000, 4000), [[(9.0, 9.0)], [(14.0, 9.0)]], ((480, 640), 1.0)),  # two close clicks
        ((400, 12000), (), ((83, 2479), 1.0)),  # keeps its area
        ((2000, 2000), grid((2000, 2000), 40), ((2000, 2000), 1.0)),  # needs all its pixels
    ],
)
def test_working_sizes(shape, clicks, expected):
    assert working_size(shape, None, clicks) == expected


@given(SIDE, SIDE, st.lists(st.tuples(SIDE, SIDE), max_size=12))
def test_no_size_is_larger_than_the_picture_or_than_memory(height, width, places):
    clicks = [[(float(x % width), float(y % height))] for x, y in places]
    (rows, columns), unit = working_size((height, width), None, clicks)
    assert 1 <= rows <= height
    assert 1 <= columns <= width
    assert rows * columns <= MOST_AREA * 1.01 + rows + columns
    assert 0 < unit <= 1


def test_a_longer_side_that_is_asked_for_is_kept():
    assert working_size((400, 12000), 640, grid((400, 12000), 80)) == ((21, 640), 1.0)
    assert working_size((400, 12000), 1280).unit == 2


def test_close_clicks_stay_apart_and_moving_them_a_little_changes_no_size():
    shape, clicks = (1500, 2000), grid((1500, 2000), 50)
    size = working_size(shape, None, clicks)
    assert spacing(clicks) * size.shape[1] / shape[1] >= SPACING
    moved = [[(x + 0.4 * (x % 3), y)] for ((x, y),) in clicks]
    assert working_size(shape, None, moved) == size
    assert size.growth == size.shape[1] / 640


def test_spacing_is_the_median_over_targets():
    assert spacing([[(0.0, 0.0)]]) is None
    assert spacing([]) is None
    far = [[(0.0, 0.0), (300.0, 0.0)], [(10.0, 0.0)], [(40.0, 0.0)]]
    assert spacing(far) == 10.0  # of 10, 10 and 30


def test_a_strip_of_small_discs_is_found_by_default():
    """750 discs on 400 x 12000 pixels: all lost at 640 pixels of the longer side."""
    shape = (400, 12000)
    image, masks = discs(shape, 80, 28)
    clicks = [*grid(shape, 80), [(0.0, 0.0)]]
    kinds = [True] * 750 + [False]
    assert mean_iou(label_image(image, clicks, is_thing=kinds), masks) >= 0.95
    assert mean_iou(label_image(image, clicks, is_thing=kinds, max_side=640), masks) < 0.5


@pytest.mark.parametrize("assigner", ["shortest_path", "transport"])
def test_paths_of_many_targets_are_found_as_finely_as_of_few(assigner, monkeypatch):
    """All over the picture on fewer pixels, and then on all, each thing near where it was found."""
    shape = (120, 1200)
    image, masks = discs(shape, 40, 14)
    clicks = [*grid(shape, 40), *([(float(x), 0.0)] for x in range(0, 1200, 40))]
    kinds = [True] * 90 + [False] * 30
    few = mean_iou(label_image(image, clicks, assigner, is_thing=kinds), masks)
    for most in ("MOST_CELLS", "SOME_CELLS"):
        monkeypatch.setattr(f"point2mask.label.paths.{most}", 1e6)
    many = mean_iou(label_image(image, clicks, assigner, is_thing=kinds), masks)
    assert many > few - 0.02


def test_compared_near_where_they_were_found_they_are_those_of_paths_all_over(monkeypatch):
    """A shortest path leads through pixels of its target alone, so that windows lose none."""
    shape = (90, 160)
    image, _ = discs(shape, 30, 10)
    clicks = [*grid(shape, 30)[:15], [(0.0, 0.0)]]
    kinds = [True] * 15 + [False]
    monkeypatch.setattr("point2mask.label.paths.MAX_SIDE", 640)  # all pixels at once
    whole = label_image(image, clicks, "shortest_path", is_thing=kinds)
    monkeypatch.setattr("point2mask.label.paths.SOME_CELLS", 16 * 800.0)
    assert path_side(working_size(shape), 16, 16 * 800.0) < 60
    found = label_image(image, clicks, "shortest_path", is_thing=kinds)
    assert (found == whole).mean() > 0.999  # sums of other lengths are rounded otherwise


@pytest.fixture
def counted(monkeypatch):
    """Numbers of distances that were asked for, call by call."""
    found = []
    distance = engine.geodesic_distance

    def counting(cost, seeds):
        found.append(seeds.shape[1] * cost.shape[2] * cost.shape[3])
        return distance(cost, seeds)

    monkeypatch.setattr(engine, "geodesic_distance", counting)
    return found


@pytest.mark.parametrize(("assigner", "beside"), [("shortest_path", 0), ("transport", 1)])
def test_paths_on_all_pixels_of_a_small_picture_are_found_once(assigner, beside, counted):
    """Transport asks for some more, from centroids."""
    shape = (60, 90)
    image, masks = discs(shape, 30, 10)
    clicks = [*grid(shape, 30), [(0.0, 0.0)]]
    assert mean_iou(label_image(image, clicks, assigner), masks) > 0.9
    assert counted[0] == len(clicks) * 60 * 90
    assert len(counted) == 1 + beside


@pytest.mark.parametrize("most", [1e5, 3e4, 1.0])
def test_paths_of_much_stuff_are_compared_again_within_bounds(most, counted, monkeypatch):
    """Stuff may lie anywhere, so that each of its clicks is a matter of all pixels."""
    shape = (60, 240)
    image, masks = discs(shape, 30, 10)
    clicks = [*grid(shape, 30), *([(float(x), 0.0)] for x in range(0, 240, 30))]
    kinds = [True] * 16 + [False] * 8
    monkeypatch.setattr("point2mask.label.paths.SOME_CELLS", 2e4)
    monkeypatch.setattr("point2mask.label.paths.MOST_WORK", most)
    found = label_image(image, clicks, "shortest_path", is_thing=kinds)
    assert sum(counted) - counted[0] <= 1.1 * most
    assert (len(counted) > 1) == (most > 2e4)
    assert mean_iou(found, masks) > 0.6


@pytest.mark.parametrize("assigner", ["watershed", "shortest_path"])
def test_other_assigners_too(assigner):
    shape = (200, 4000)
    image, masks = discs(shape, 80, 28)
    kept = masks[:160].copy()  # whole cells
    clicks = [*grid((160, 4000), 80), [(0.0, 0.0)], [(100.0, 195.0)]]
    found = label_image(image, clicks, assigner)[:160]
    coarse = label_image(image, clicks, assigner, max_side=640)[:160]
    assert mean_iou(found, kept) > mean_iou(coarse, kept) + 0.05


def test_a_prepared_image_follows_its_clicks_to_the_same_bits():
    shape = (150, 1000)
    image, _ = discs(shape, 25, 8)
    prepared = PreparedImage(image)
    for clicks in (grid(shape, 25), grid(shape, 25)[:3], grid(shape, 25)):
        np.testing.assert_array_equal(prepared.label(clicks), label_image(image, clicks))


def test_targets_of_the_size_of_markers_are_told(tmp_path, capsys, monkeypatch):
    shape = (100, 3000)
    clicks = grid(shape, 20)
    side = 640
    size = WorkingSize((21, side), 1.0)
    assert "targets are 4 pixels apart at the 640 x 21 pixels" in too_small(shape, size, clicks)
    assert too_small(shape, WorkingSize(shape, 1.0), clicks) == ""  # nothing was reduced
    assert too_small(shape, size, grid(shape, 100)) == ""
    assert 100 * side / shape[1] > 2 * (2 * MARKER_RADIUS + 1)

    image, _ = discs(shape, 20, 7)
    (tmp_path / "pictures").mkdir()
    Image.fromarray(image).save(tmp_path / "pictures/a.png")
    segments = [
        {"id": number, "category_id": 1, "points": points}
        for number, points in enumerate(clicks, start=1)
    ]
    points = {
        "images": [{"id": 1, "file_name": "a.png", "height": shape[0], "width": shape[1]}],
        "categories": [{"id": 1, "name": "disc", "isthing": 1}],
        "annotations": [{"image_id": 1, "segments_info": segments}],
    }
    (tmp_path / "points.json").write_text(json.dumps(points))
    command = ["label", "--images", str(tmp_path / "pictures"), "--workers", "1", "--json"]
    command += ["--points", str(tmp_path / "points.json"), "--no-overlays", "--out"]
    assert main([*command, str(tmp_path / "coarse"), "--max-side", "640"]) == 0
    output = capsys.readouterr()
    assert "masks of 1 image may be too coarse:\n  a.png: targets are 4 pixels" in output.err
    assert list(json.loads(output.out)["notes"]) == ["a.png"]
    monkeypatch.setattr("point2mask.label.paths.MOST_CELLS", 4e6)
    assert main([*command, str(tmp_path / "areas"), "--assigner", "transport"]) == 0
    said = capsys.readouterr().err
    assert "750 targets are too many for areas to be known well: --assigner merge has no" in said
    assert main([*command, str(tmp_path / "fine")]) == 0
    output = capsys.readouterr()
    assert "coarse" not in output.err.replace(str(tmp_path), "")
    assert json.loads(output.out)["notes"] == {}
