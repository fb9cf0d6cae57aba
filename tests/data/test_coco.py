"""COCO instances as panoptic: what lies over what, round trips, and files that are wrong."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_lengths import counts_of, text_of

from point2mask.cli import main
from point2mask.data import (
    DataError,
    read_panoptic,
    read_point_pngs,
    segment_areas,
    write_rgb,
)
from point2mask.data.formats.coco import read_split
from point2mask.data.formats.conversion import convert_split

CAT, DOG = {"id": 3, "name": "cat"}, {"id": 17, "name": "dog", "supercategory": "animal"}
GRASS, OTHER = {"id": 92, "name": "grass"}, {"id": 183, "name": "other"}
SIZE = (8, 10)


def square(x, y, width, height):
    return [[x, y, x + width, y, x + width, y + height, x, y + height]]


def annotation(segmentation, category=3, image=7, **more):
    return {
        "id": 10**12,
        "image_id": image,
        "category_id": category,
        "segmentation": segmentation,
        "iscrowd": 0,
        **more,
    }


def runs(mask, compressed=False):
    counts = counts_of(mask)
    return {"size": list(mask.shape), "counts": text_of(counts) if compressed else counts}


@pytest.fixture
def folder(tmp_path):
    """Converts one picture with annotations; returns its map and (id, category, crowd) triples."""

    write_rgb(tmp_path / "photos" / "sub" / "a.png", np.zeros((*SIZE, 3), np.uint8))

    class Folder:
        path = tmp_path
        image = {"id": 7, "file_name": "sub/a.png", "height": SIZE[0], "width": SIZE[1]}  # noqa: RUF012

        def write(self, name, annotations, categories=(CAT, DOG)):
            path = tmp_path / f"{name}.json"
            root = {"images": [self.image], "annotations": annotations, "categories": categories}
            path.write_text(json.dumps(root))
            return path

        def convert(self, annotations, stuff=None, background=None):
            instances = self.write("instances", annotations)
            below = None if stuff is None else self.write("stuff", stuff, (GRASS, OTHER))
            split = read_split(instances, tmp_path / "photos", "set", below, background)
            dataset = convert_split(split, tmp_path / "out")
            assert read_panoptic(tmp_path / "out" / "panoptic_set.json") == dataset
            assert (tmp_path / "out" / "set" / "sub" / "a.png").is_file()
            (image,) = dataset.images
            segments = [(s.id, s.category_id, s.iscrowd) for s in image.segments]
            return dataset.segment_map(image), segments

    return Folder()


def test_small_instances_lie_over_large_ones_and_crowds_below_all(folder):
    everywhere = np.ones(SIZE, bool)
    ids, segments = folder.convert(
        [
            annotation(square(2, 2, 2, 2)),
            annotation(runs(everywhere & (np.arange(10) < 6)), 17, iscrowd=1),
            annotation(square(1, 1, 8, 6), 17),
            annotation(square(2, 2, 2, 2)),  # the same again: the later one is seen
        ]
    )
    expected = np.zeros(SIZE, int)
    expected[:, :6] = 2
    expected[1:7, 1:9] = 3
    expected[2:4, 2:4] = 4
    np.testing.assert_array_equal(ids, expected)
    assert segments == [(2, 17, True), (3, 17, False), (4, 3, False)]


def plainly(masks, crowds):
    """Every instance drawn on the whole picture, the largest first."""
    areas = [mask.sum() + crowd * mask.size for mask, crowd in zip(masks, crowds, strict=True)]
    ids = np.zeros(SIZE, int)
    for index in sorted(range(len(masks)), key=lambda index: -areas[index]):
        ids[masks[index]] = index + 1
    return ids


pixels = st.lists(st.booleans(), min_size=80, max_size=80).map(lambda v: np.reshape(v, SIZE))
parts = st.tuples(*(st.integers(0, n) for n in (7, 9, 7, 9))).map(
    lambda p: (
        (np.arange(8) >= p[0])[:, None]
        & (np.arange(8) < p[2])[:, None]
        & (np.arange(10) >= p[1])
        & (np.arange(10) < p[3])
    )
)


@given(instances=st.lists(st.tuples(pixels | parts, st.booleans()), max_size=6))
def test_masks_as_drawn_on_the_whole_picture(folder, instances):
    annotations = [annotation(runs(mask), iscrowd=int(crowd)) for mask, crowd in instances]
    split = read_split(folder.write("instances", annotations), folder.path / "photos", "set")
    ids, segments = split.pictures[0].segments(SIZE)
    expected = plainly([mask for mask, _ in instances], [crowd for _, crowd in instances])
    np.testing.assert_array_equal(ids, expected)
    assert [segment.id for segment in segments] == sorted(set(expected.flat) - {0})


def test_work_is_bounded(folder, monkeypatch):
    """By the boxes of masks, not by their number times the picture."""
    half = np.zeros(SIZE, bool)
    half[2:4, 3:7] = True  # 8 pixels
    small = [annotation(runs(half)) for _ in range(20)]
    for drawn, fits in ((160, True), (159, False)):
        monkeypatch.setattr("point2mask.data.formats.coco.MAX_WORK", drawn)
        if fits:
            assert (folder.convert(small)[0] == 20 * half).all()
            continue
        message = r"annotations\[19\]: expected masks that fill boxes of at most 159 pixels"
        with pytest.raises(DataError, match=message):
            folder.convert(small)
        with pytest.raises(DataError, match=message):
            folder.convert([], [annotation(runs(half), 92) for _ in range(20)])


def test_stuff_is_under_things_and_other_is_void(folder):
    left = np.zeros(SIZE, bool)
    left[:, :5] = True
    top = ~left & (np.arange(SIZE[0]) < 2)[:, None]
    stuff = [
        annotation(runs(left, compressed=True), 92),
        annotation(runs(~left), 183),
        annotation(runs(top), 92),
    ]
    ids, segments = folder.convert([annotation(square(3, 3, 4, 4))], stuff)
    expected = np.where(left | top, 2, 0)
    expected[3:7, 3:7] = 1
    np.testing.assert_array_equal(ids, expected)
    assert segments == [(1, 3, False), (2, 92, False)]
    categories = read_panoptic(folder.path / "out" / "panoptic_set.json").categories
    assert {c.name: c.isthing for c in categories.values()} == {
        "cat": True,
        "dog": True,
        "grass": False,
    }


def test_background(folder):
    ids, segments = folder.convert([annotation(square(0, 0, 10, 4))], background="rest")
    np.testing.assert_array_equal(ids, np.where(np.arange(8)[:, None] < 4, 1, 2) + 0 * ids)
    assert segments == [(1, 3, False), (2, 18, False)]
    ids, segments = folder.convert([], background="rest")
    assert (ids == 1).all()
    assert segments == [(1, 18, False)]


maps = st.lists(st.integers(0, 5), min_size=SIZE[0] * SIZE[1], max_size=SIZE[0] * SIZE[1])


@given(values=maps, compressed=st.booleans())
def test_a_panoptic_map_round_trips(folder, values, compressed):
    """Instances 1 to 3 and stuff 4: as run lengths and back."""
    ids = np.minimum(np.array(values).reshape(SIZE), 4)
    present = segment_areas(ids)
    things = [k for k in (1, 2, 3) if k in present]
    annotations = [annotation(runs(ids == k, compressed), 3) for k in things]
    stuff = [annotation(runs(ids == 4), 92)] if 4 in present else []
    got, segments = folder.convert(annotations, stuff)
    numbers = {k: number for number, k in enumerate([*things, 4], start=1)}
    np.testing.assert_array_equal(got, np.vectorize(lambda k: numbers.get(k, 0))(ids))
    assert [s[1] for s in segments] == [3] * len(things) + [92] * len(stuff)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"segmentation": [[0, 0, 1, 1, 2, 2, 3]]},
            r"annotations\[0\]\.segmentation\[0\]: expected x and y of every corner, got 7 numbers",
        ),
        (
            {"segmentation": [[0, 0, 1, "1", 2, 2]]},
            r"annotations\[0\]\.segmentation\[0\]\[3\]: expected a number, got '1'",
        ),
        ({"segmentation": [[0, 0] * 60_000]}, "at most 50000 corners"),
        ({"segmentation": [[0, 0, 1, 1, 2, 99]]}, r"near 10 x 8 pixels, got \(2, 99\)"),
        (
            {"segmentation": "everything"},
            r"segmentation: expected an object or a list or null, got 'everything'",
        ),
        ({"segmentation": {"size": [10, 8], "counts": [80]}}, r"size: expected \[8, 10\]"),
        ({"segmentation": {"size": [8, 10], "counts": [81]}}, "80 pixels together, got 81"),
        (
            {"segmentation": {"size": [8, 10], "counts": [-1, 81]}},
            r"segmentation\.counts\[0\]: expected an integer >= 0, got -1",
        ),
        ({"segmentation": {"size": [8, 10], "counts": [79]}}, "10 x 8 = 80 pixels together"),
        ({"segmentation": {"size": [8, 10], "counts": "~"}}, "expected compressed runs"),
        ({"category_id": 4}, r"annotations\[0\]\.category_id: expected the id of one"),
        ({"image_id": 8}, r"annotations\[0\]\.image_id: expected the id of one"),
        ({"iscrowd": 2}, r"annotations\[0\]\.iscrowd: expected an integer <= 1, got 2"),
    ],
)
def test_wrong_annotations(folder, change, message):
    with pytest.raises(DataError, match=message) as caught:
        folder.convert([{**annotation(square(0, 0, 2, 2)), **change}])
    assert str(caught.value).startswith(str(folder.path / "instances.json"))
    assert not (folder.path / "out" / "panoptic_set.json").exists()


def test_pictures_of_another_size_and_outside(folder):
    folder.image = {**folder.image, "width": 11}
    with pytest.raises(DataError, match=r"a\.png: expected 11 x 8 pixels, got 10 x 8"):
        folder.convert([])
    folder.image = {**folder.image, "file_name": "../instances.json"}
    with pytest.raises(DataError, match=r"file_name: expected a relative path inside its folder"):
        folder.convert([])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"file_name": "b.png"}, r"the file_name 'sub/a\.png' that image 7 has .*, got 'b\.png'"),
        ({"height": 3}, r"the height 8 that image 7 has among the instances, got 3$"),
    ],
)
def test_stuff_of_other_images(folder, change, message):
    """Of equal ids: it was put under these pictures."""
    instances, stuff = folder.write("instances", []), folder.write("stuff", [], (GRASS,))
    root = json.loads(stuff.read_text())
    root["images"] = [{"id": 8, "file_name": "else.png"}, root["images"][0] | change]
    stuff.write_text(json.dumps(root))
    with pytest.raises(DataError, match=rf"stuff\.json: images\[1\]: expected {message}"):
        read_split(instances, folder.path / "photos", "set", stuff)


def test_half_a_size(folder):
    instances = folder.write("instances", [])
    root = json.loads(instances.read_text())
    del root["images"][0]["width"]
    instances.write_text(json.dumps(root))
    with pytest.raises(DataError, match=r"images\[0\]: expected height and width, or neither"):
        read_split(instances, folder.path / "photos", "set")


def test_stuff_with_the_ids_of_things(folder):
    instances, stuff = folder.write("instances", []), folder.write("stuff", [])
    with pytest.raises(DataError, match=r"stuff\.json: expected other category ids than in"):
        read_split(instances, folder.path / "photos", "set", stuff)


def test_from_the_command_line(folder, capsys):
    instances = folder.write("instances", [annotation(square(0, 0, 10, 4))])
    out = folder.path / "out"
    command = ["convert", "coco", "--instances", instances, "--images", folder.path / "photos"]
    command += ["--out", out, "--background", "rest", "--points", 2, "--json"]
    assert main(list(map(str, command))) == 0
    said = capsys.readouterr()
    annotations, points = out / "panoptic_photos.json", out / "panoptic_photos_2pnt_uniform"
    assert json.loads(said.out) == {
        "sets": [
            {
                "annotations": str(annotations),
                "images": 1,
                "segments": 2,
                "points": [str(points)],
            }
        ],
        "read": {"pictures": 1, "segments": 2},
        "left_out": [],
        "notes": [],
    }
    assert f"1 image, 2 segments: {annotations}" in said.err
    ((_, targets),) = read_point_pngs(annotations, points).images
    assert [len(target.points) for target in targets] == [2, 2]
    assert main([*map(str, command), "--name", "a/b"]) == 2
    assert "the name of the set: expected one folder" in capsys.readouterr().err
