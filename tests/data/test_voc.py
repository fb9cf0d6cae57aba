"""VOC 2012 and SBD as COCO panoptic: what is written, and who reads it."""

import json
import os
import shutil

import numpy as np
import pytest
import scipy.io
from PIL import Image
from voc_trees import (
    CAT,
    DOG,
    PERSON,
    SIZE,
    sbd_maps,
    voc_maps,
    write_indices,
    write_instances,
    write_sbd,
    write_voc,
)

from point2mask.cli import main
from point2mask.data import (
    DataError,
    read_panoptic,
    read_point_pngs,
    read_rgb,
    sample_points,
)
from point2mask.data.augment import AugmentConfig
from point2mask.data.files import link_or_copy
from point2mask.data.formats.conversion import convert_split
from point2mask.data.formats.voc import (
    BACKGROUND,
    BACKGROUND_SEGMENT,
    CATEGORIES,
    read_splits,
    voc_segments,
)
from point2mask.data.training import TrainingSet, class_channels, thing_channels
from point2mask.evaluation import panoptic_quality
from point2mask.train.config import load_config


@pytest.fixture
def trees(tmp_path):
    return write_voc(tmp_path / "VOC2012"), write_sbd(tmp_path / "sbd")


def convert(out, voc, sbd=None):
    return {split.images: convert_split(split, out) for split in read_splits(voc, sbd)}


def content(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_segments_by_hand(trees, tmp_path):
    """The JSON of one picture, with areas and boxes that do not come from our code."""
    convert(tmp_path / "out", trees[0])
    root = json.loads((tmp_path / "out" / "voc_panoptic_train.json").read_text())
    assert root["images"][0] == {
        "id": "2007_000001",
        "file_name": "2007_000001.jpg",
        "height": 24,
        "width": 32,
    }
    assert root["annotations"][0]["file_name"] == "2007_000001.png"
    segments = {s["id"]: s for s in root["annotations"][0]["segments_info"]}
    # Without the border of a pixel at the left and at the top.
    expected = {1: (CAT, [3, 3, 9, 7]), 2: (PERSON, [17, 7, 7, 15]), 3: (CAT, [25, 13, 6, 7])}
    for number, (category, box) in expected.items():
        assert segments[number] == {
            "id": number,
            "category_id": category,
            "bbox": box,
            "area": box[2] * box[3],
            "iscrowd": 0,
        }
    borders = sum(h + w - 1 for h, w in ((8, 10), (16, 8), (8, 7)))
    things = sum(segments[number]["area"] for number in expected)
    background = segments.pop(BACKGROUND_SEGMENT)
    assert background["area"] == 24 * 32 - things - borders
    assert background["category_id"] == BACKGROUND
    assert segments.keys() == expected.keys()
    assert [c["isthing"] for c in root["categories"]] == [1] * 20 + [0]
    names = {c["id"]: c["name"] for c in root["categories"]}
    assert (names[1], names[CAT], names[DOG], names[PERSON]) == (
        "aeroplane",
        "cat",
        "dog",
        "person",
    )
    assert (names[20], names[21]) == ("tvmonitor", "background")


def test_written_sets_are_read_and_masks_equal_the_source(trees, tmp_path):
    voc, sbd = trees
    before = content(tmp_path)
    written = convert(tmp_path / "out", voc, sbd)
    assert {key: before[key] for key in before} == {
        key: value for key, value in content(tmp_path).items() if key.parts[0] != "out"
    }
    train = read_panoptic(tmp_path / "out" / "voc_panoptic_train_aug.json")
    val = read_panoptic(tmp_path / "out" / "voc_panoptic_val.json")
    assert (train, val) == (written["train"], written["val"])
    # Of SBD's four, 2008_000002 is VOC's already and 2007_000003 is in val.
    names = ["2007_000001", "2008_000002", "2008_000004", "2008_000005"]
    assert [image.record.id for image in train.images] == names
    assert [image.record.id for image in val.images] == ["2007_000003"]
    for dataset, folder, index, shift in (
        (train, "train", 0, 0),
        (train, "train", 1, 1),
        (val, "val", 0, 2),
    ):
        image = dataset.images[index]
        classes, objects = (np.roll(values, shift, 1).astype(int) for values in voc_maps())
        expected = np.where(objects == 0, BACKGROUND_SEGMENT, np.where(objects == 255, 0, objects))
        ids = dataset.segment_map(image)
        np.testing.assert_array_equal(ids, expected)
        of_segment = {s.id: s.category_id for s in image.segments} | {0: 255}
        semantic = np.vectorize(of_segment.get)(ids)
        np.testing.assert_array_equal(np.where(semantic == BACKGROUND, 0, semantic), classes)
        source = voc / "JPEGImages" / image.record.file_name
        assert (tmp_path / "out" / folder / image.record.file_name).samefile(source)
    for index, shift in ((2, 1), (3, 3)):
        image = train.images[index]
        numbers = np.roll(sbd_maps()[0], shift, 0).astype(int)
        expected = np.where(numbers == 0, BACKGROUND_SEGMENT, numbers)
        np.testing.assert_array_equal(train.segment_map(image), expected)
        # Instance 1 has no pixels left.
        assert [(s.id, s.category_id) for s in image.segments] == [(2, CAT), (3, PERSON), (256, 21)]
    assert not list((tmp_path / "out").rglob("*.tmp"))


def test_truth_against_itself_is_perfect(trees, tmp_path):
    convert(tmp_path / "out", *trees)
    for stem in ("voc_panoptic_train_aug", "voc_panoptic_val"):
        path = tmp_path / "out" / f"{stem}.json"
        quality = panoptic_quality(path, path)
        assert (quality.all.pq, quality.things.pq, quality.stuff.pq) == (1, 1, 1)


@pytest.mark.parametrize("recipe", ["voc_r50", "voc_r101", "voc_swinl"])
def test_the_recipes_find_what_they_want(trees, tmp_path, recipe):
    out = tmp_path / "data" / "voc"
    arguments = ["--voc", trees[0], "--sbd", trees[1], "--out", out, "--points", "10", "1"]
    assert main(["convert", "voc", *map(str, arguments)]) == 0
    plain = AugmentConfig(short_sides=(24,), flip=0.0)
    for points in (1, 10):
        config = load_config(
            recipe,
            [f"data.root={out}", f"data.train.points=voc_panoptic_train_aug_{points}pnt_uniform"],
        )
        dataset = TrainingSet(config.data, plain)
        assert (len(dataset), dataset.skipped) == (4, 0)
        truth = read_panoptic(out / config.data.train.annotations)
        for index, image in enumerate(truth.images):
            sample, ids = dataset.load(index), truth.segment_map(image)
            assert sample.image.shape == (3, *SIZE)
            assert len(sample.xy) == points * len(image.segments)
            for (x, y), target in zip(sample.xy.tolist(), sample.target.tolist(), strict=True):
                segment = image.segments[target]
                assert ids[y, x] == segment.id
                assert sample.category[target] == segment.category_id - 1
    assert list(class_channels(dataset.categories).values()) == list(range(21))
    assert thing_channels(dataset.categories).tolist() == [True] * 20 + [False]
    truth = read_panoptic(out / config.data.val.annotations)
    picture = out / config.data.val.images / truth.images[0].record.file_name
    assert read_rgb(picture).shape == (*SIZE, 3)


def test_points_are_those_of_the_sampler(trees, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["--voc", trees[0], "--out", out, "--points", "3", "2", "2", "--seed", "5"]
    assert main(["convert", "voc", *map(str, arguments)]) == 0
    json_path = out / "voc_panoptic_train.json"
    dataset = read_panoptic(json_path)
    for count in (2, 3):
        folder = out / f"voc_panoptic_train_{count}pnt_uniform"
        read, sampled = read_point_pngs(json_path, folder), sample_points(dataset, count, 5)
        for (_, ours), (_, theirs) in zip(read.images, sampled.images, strict=True):
            assert [(t.id, {*t.points}) for t in ours] == [(t.id, {*t.points}) for t in theirs]
    assert capsys.readouterr().err.splitlines() == [
        f"2 images, 8 segments: {json_path}",
        f"2 points a segment: {out}/voc_panoptic_train_2pnt_uniform",
        f"3 points a segment: {out}/voc_panoptic_train_3pnt_uniform",
        f"1 image, 4 segments: {out}/voc_panoptic_val.json",
        "read: 3 pictures, 12 segments",
    ]
    assert not (out / "voc_panoptic_val_2pnt_uniform").exists()


def test_converting_again_gives_the_same_files(trees, tmp_path):
    convert(tmp_path / "out", *trees)
    first = content(tmp_path / "out")
    (tmp_path / "out" / "train" / "2007_000001.jpg").unlink()
    (tmp_path / "out" / "voc_panoptic_val.json").write_text("old")
    convert(tmp_path / "out", *trees)
    assert content(tmp_path / "out") == first


def test_copies_where_links_cannot_be(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(18, "Invalid cross-device link")

    source, target = tmp_path / "source", tmp_path / "folder" / "target"
    source.write_bytes(b"picture")
    monkeypatch.setattr(os, "link", refuse)
    link_or_copy(source, target)
    assert target.read_bytes() == b"picture"
    assert not target.samefile(source)
    assert [p.name for p in target.parent.iterdir()] == ["target"]
    with pytest.raises(DataError, match="folder: expected the name of a file to write"):
        link_or_copy(source, tmp_path / "folder")


def test_a_link_replaces_the_name_and_not_the_content(tmp_path):
    source, target, other = (tmp_path / name for name in ("source", "target", "other"))
    source.write_bytes(b"new")
    other.write_bytes(b"old")
    os.link(other, target)
    link_or_copy(source, target)
    assert (target.read_bytes(), other.read_bytes()) == (b"new", b"old")


@pytest.fixture
def one(tmp_path):
    """Segments of one picture of 2 x 6 pixels with the given maps of classes and objects."""

    def segments(classes, objects):
        write_indices(tmp_path / "SegmentationClass" / "a.png", np.array(classes, np.uint8))
        write_indices(tmp_path / "SegmentationObject" / "a.png", np.array(objects, np.uint8))
        ids, found = voc_segments(tmp_path, "a", (2, 6))
        return ids.tolist(), [(s.id, s.category_id) for s in found]

    return segments


def test_where_classes_and_objects_disagree(one):
    classes = [[CAT, CAT, DOG, 0, 255, DOG], [0, DOG, CAT, 255, 0, PERSON]]
    objects = [[1, 1, 1, 1, 1, 0], [0, 7, 7, 7, 255, 255]]
    ids, segments = one(classes, objects)
    # The majority decides, of equals the first; void in either is void; a class without an object
    # is void too.
    assert ids == [[1, 1, 1, 1, 0, 0], [256, 7, 7, 0, 0, 0]]
    assert segments == [(1, CAT), (7, CAT), (256, BACKGROUND)]


def test_pictures_of_one_kind(one):
    everything = np.full((2, 6), 255)
    assert one(everything, everything) == ([[0] * 6] * 2, [])
    assert one(everything * 0, everything * 0) == ([[256] * 6] * 2, [(256, BACKGROUND)])
    assert one(everything * 0 + 20, everything * 0 + 254) == ([[254] * 6] * 2, [(254, 20)])


def test_numbers_without_meaning(one):
    zeros = np.zeros((2, 6), int)
    with pytest.raises(DataError, match=r"SegmentationClass/a\.png: expected numbers in \[0, 20\]"):
        one(zeros + 21, zeros)
    with pytest.raises(
        DataError, match=r"Object/a\.png: .* no pixel of object 4 has one in .*Class"
    ):
        one(zeros, zeros + 4)
    with pytest.raises(DataError, match=r"a\.png: expected a PNG of 6 x 2 pixels, got 7 x 2"):
        one(np.zeros((2, 7)), zeros)


def test_instances_without_compression_or_categories(trees, tmp_path):
    path = tmp_path / "sbd/inst/2008_000004.mat"
    numbers, categories = sbd_maps()
    write_instances(path, numbers.astype(np.float64), categories.astype(np.uint8), compressed=False)
    nothing = np.zeros(SIZE, np.uint8)
    write_instances(tmp_path / "sbd/inst/2008_000005.mat", nothing, np.zeros((0, 0)))
    train = convert(tmp_path / "out", *trees)["train"]
    assert (train.segment_map(train.images[2]) == np.where(numbers, numbers.astype(int), 256)).all()
    assert [s.category_id for s in train.images[3].segments] == [BACKGROUND]


@pytest.mark.data
def test_real_pictures(data_root, tmp_path):
    """The fixtures as a tree: only one of the five has its objects."""
    source = data_root / "fixtures" / "voc"
    if not source.is_dir():
        pytest.skip(f"no VOC fixtures at {source}")
    voc = tmp_path / "VOC2012"
    shutil.copytree(source, voc)
    lists = voc / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("2007_000063\n")
    (lists / "val.txt").write_text("2007_000032\n")
    train, val = read_splits(voc)
    dataset = convert_split(train, tmp_path / "out")
    (image,) = dataset.images
    assert (image.record.height, image.record.width) == (375, 500)
    names = [CATEGORIES[s.category_id].name for s in image.segments]
    assert sorted(names) == ["background", "chair", "dog"]
    maps = []
    for folder in ("SegmentationClass", "SegmentationObject"):
        with Image.open(source / folder / "2007_000063.png") as picture:
            maps.append(np.array(picture))
    classes, objects = maps
    ids = dataset.segment_map(image)
    np.testing.assert_array_equal(ids == 0, (classes == 255) | (objects == 255))
    for segment in image.segments:
        category = segment.category_id % BACKGROUND
        np.testing.assert_array_equal(ids == segment.id, classes == category)
    path = tmp_path / "out" / "voc_panoptic_train.json"
    assert panoptic_quality(path, path).all.pq == 1
    with pytest.raises(DataError, match=r"expected the objects of 2007_000032, but there is no"):
        convert_split(val, tmp_path / "out")
    assert not (tmp_path / "out" / "voc_panoptic_val.json").exists()


def test_the_mini_archive_is_what_matlab_readers_expect(trees):
    """That the SBD files of these tests have the fields by which others read the real ones."""
    struct = scipy.io.loadmat(trees[1] / "inst" / "2008_000002.mat")["GTinst"][0]
    np.testing.assert_array_equal(struct["Segmentation"][0], sbd_maps()[0])
    assert struct["Categories"][0].ravel().tolist() == [DOG, CAT, PERSON]
    assert struct["Boundaries"][0].shape == (3, 1)
