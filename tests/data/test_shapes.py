"""The generated data set: repeatable, of the layout, and with what makes it worth having."""

import numpy as np
import pytest

from point2mask.data import DataError, read_panoptic, read_rgb
from point2mask.data.drawing import OUTLINES
from point2mask.data.shapes import CATEGORIES, MIN_PIXELS, draw_shapes, write_shapes


@pytest.fixture(scope="module")
def scenes():
    return [draw_shapes(index) for index in range(40)]


def test_same_arguments_same_bits(scenes):
    again = draw_shapes(3)
    np.testing.assert_array_equal(again.image, scenes[3].image)
    np.testing.assert_array_equal(again.ids, scenes[3].ids)
    assert again.segments == scenes[3].segments
    for other in (draw_shapes(3, seed=1), draw_shapes(3, split="val"), draw_shapes(4)):
        assert (other.image != scenes[3].image).mean() > 0.5


def test_segments_fit_their_maps(scenes):
    for scene in scenes:
        ids, areas = np.unique(scene.ids[scene.ids > 0], return_counts=True)
        assert ids.tolist() == [segment.id for segment in scene.segments]
        assert areas.tolist() == [segment.area for segment in scene.segments]
        assert areas.min() >= MIN_PIXELS
        stuff = [s.category_id for s in scene.segments if not CATEGORIES[s.category_id].isthing]
        assert len(stuff) == len(set(stuff))  # one segment a kind of stuff, as in COCO
        assert (scene.ids == 0).mean() < 0.05


def test_all_classes_occur_and_instances_touch(scenes):
    seen = {segment.category_id for scene in scenes for segment in scene.segments}
    assert seen == set(CATEGORIES)
    assert sum(c.isthing for c in CATEGORIES.values()) >= 5
    assert sum(not c.isthing for c in CATEGORIES.values()) >= 3
    touching = same_class = 0
    for scene in scenes:
        category = {segment.id: CATEGORIES[segment.category_id] for segment in scene.segments}
        left, right = scene.ids[:, :-1].ravel(), scene.ids[:, 1:].ravel()
        for a, b in {(a, b) for a, b in zip(left.tolist(), right.tolist(), strict=True) if a != b}:
            if a and b and category[a].isthing and category[b].isthing:
                touching += 1
                same_class += category[a] == category[b]
    assert touching > 40
    assert same_class > 10


def test_pictures_use_their_range(scenes):
    for scene in scenes:
        assert scene.image.std() > 15
        assert (scene.image == 255).mean() < 0.1  # hardly anything is overexposed
        assert (scene.image == 0).mean() < 0.1


@pytest.mark.parametrize("size", [(16, 16), (17, 90), (301, 40)])
def test_any_size(size):
    for index in range(5):
        scene = draw_shapes(index, size)
        assert scene.image.shape == (*size, 3)
        assert scene.ids.shape == size
        assert scene.segments


def test_rejects_sizes_that_cannot_be():
    with pytest.raises(DataError, match="at least 16 pixels high and wide, got 90 x 15"):
        draw_shapes(0, (15, 90))
    with pytest.raises(DataError, match="at most 16384 pixels a side"):
        draw_shapes(0, (16, 20_000))
    with pytest.raises(DataError, match="split val of shapes needs at least 1 image, got 0"):
        write_shapes("unused", "val", 0)


@pytest.mark.parametrize("name", OUTLINES)
def test_outlines_are_distances(name):
    v, u = np.mgrid[-1.5:1.5:301j, -1.5:1.5:301j]
    distance = OUTLINES[name](u, v)
    inside = distance < 0
    assert 0.7 < inside.mean() * 9 < 3.2  # area, of a disc 3.14
    assert not inside[np.hypot(u, v) > 1.2].any()
    # A distance changes by no more than the way between two points; else edges were jagged.
    step = 3 / 300
    for axis in (0, 1):
        assert abs(np.diff(distance, axis=axis)).max() <= step * 1.001


def test_a_smaller_split_leaves_nothing_of_a_larger_one(tmp_path):
    write_shapes(tmp_path, "val", 3, (32, 48))
    mine = tmp_path / "images/val/mine.png"
    mine.touch()
    write_shapes(tmp_path, "train", 1, (32, 48))
    written = write_shapes(tmp_path, "val", 2, (32, 48))
    masks = sorted(path.name for path in written.masks_dir.iterdir())
    assert masks == ["000001.png", "000002.png"]
    assert sorted(path.name for path in mine.parent.iterdir()) == [*masks, "mine.png"]
    assert [path.name for path in (tmp_path / "images/train").iterdir()] == ["000001.png"]


def test_written_splits_are_the_scenes(tmp_path):
    seen = []
    written = write_shapes(tmp_path, "val", 3, (32, 48), progress=lambda *done: seen.append(done))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    dataset = read_panoptic(tmp_path / "annotations" / "panoptic_val.json")
    assert dataset == written
    for index, image in enumerate(dataset.images):
        scene = draw_shapes(index, (32, 48), split="val")
        np.testing.assert_array_equal(dataset.segment_map(image), scene.ids)
        picture = read_rgb(tmp_path / "images" / "val" / image.record.file_name, size=(32, 48))
        np.testing.assert_array_equal(picture, scene.image)
        assert image.segments == scene.segments
