"""Cityscapes and ADE20K as panoptic: small trees with known contents, and broken ones."""

import json

import numpy as np
import pytest
from PIL import Image

from point2mask.cli import main
from point2mask.data import DataError, read_panoptic, write_rgb
from point2mask.data.formats.ade20k import THINGS
from point2mask.data.formats.ade20k import read_segments as ade_segments
from point2mask.data.formats.ade20k import read_splits as ade_splits
from point2mask.data.formats.cityscapes import read_segments as city_segments
from point2mask.data.formats.cityscapes import read_splits as city_splits
from point2mask.data.formats.conversion import convert_split

SIZE = (4, 6)
STEM = "aachen/aachen_000000_000019"


def write_picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_rgb(path, np.zeros((*SIZE, 3), np.uint8))


def write_wide(path, ids):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(ids, np.uint16)).save(path)


CITY_IDS = np.array(
    [
        [7, 7, 7, 23, 23, 0],
        [7, 26001, 26001, 23, 4, 4],
        [7, 26002, 26, 26, 29001, 3],
        [7, 24999, 26, 9, 1, 30],
    ]
)


@pytest.fixture
def city(tmp_path):
    root = tmp_path / "cityscapes"
    for split in ("train", "val"):
        write_picture(root / "leftImg8bit" / split / f"{STEM}_leftImg8bit.png")
        write_wide(root / "gtFine" / split / f"{STEM}_gtFine_instanceIds.png", CITY_IDS)
    return root


def test_cityscapes_by_hand(city, tmp_path):
    train, val = city_splits(city)
    assert (train.trained, val.trained) == (True, False)
    dataset = convert_split(train, tmp_path / "out")
    (image,) = dataset.images
    assert image.record.id == "aachen_000000_000019"
    assert image.record.file_name == f"{STEM}_leftImg8bit.png"
    assert (tmp_path / "out" / "train" / image.record.file_name).is_file()
    ids = np.where(np.isin(CITY_IDS, [0, 4, 29001, 3, 9, 1, 30]), 0, CITY_IDS)
    np.testing.assert_array_equal(dataset.segment_map(image), ids)
    assert {(s.id, s.category_id, s.iscrowd, s.area) for s in image.segments} == {
        (7, 7, False, 6),
        (23, 23, False, 3),
        (26, 26, True, 3),
        (24999, 24, False, 1),
        (26001, 26, False, 2),
        (26002, 26, False, 1),
    }
    things = [c.name for c in dataset.categories.values() if c.isthing]
    assert things == ["person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"]
    assert len(dataset.categories) == 19


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (34, r"expected labels in \[0, 33\], got the number 34"),
        (999, r"expected labels in \[0, 33\], got the number 999"),
        (65535, ".*got the number 65535"),
        (7001, "expected no instances of road, got 7001"),
    ],
)
def test_cityscapes_numbers_without_meaning(tmp_path, number, message):
    write_wide(tmp_path / "a.png", np.full(SIZE, number))
    with pytest.raises(DataError, match=rf"a\.png: {message}"):
        city_segments(tmp_path, "a.png", SIZE)


def test_cityscapes_other_files(city, tmp_path):
    mask = city / "gtFine" / "train" / f"{STEM}_gtFine_instanceIds.png"
    write_rgb(mask, np.zeros((*SIZE, 3), np.uint8))
    with pytest.raises(
        DataError, match=r"instanceIds\.png: expected .* grey of at most 16 bits, got RGB"
    ):
        convert_split(city_splits(city)[0], tmp_path / "out")
    write_wide(mask, np.zeros((4, 7)))
    with pytest.raises(DataError, match=r"instanceIds\.png: expected a PNG of 6 x 4 .*got 7 x 4"):
        convert_split(city_splits(city)[0], tmp_path / "out")
    mask.unlink()
    with pytest.raises(DataError, match=r"train: expected masks of instances .* got none"):
        city_splits(city)
    with pytest.raises(DataError, match="expected a folder with masks of instances"):
        city_splits(tmp_path / "nowhere")


# Wall 1, bed 8 (a thing), sky 3; instance 5 is a bed (1 of 100), instance 9 a flag (100 of 100).
SEMANTIC = np.array(
    [[1, 1, 1, 3, 3, 0], [1, 8, 8, 3, 3, 0], [1, 8, 8, 8, 0, 0], [1, 1, 1, 0, 0, 0]]
)
NUMBER = np.array([[0, 0, 0, 0, 0, 9], [0, 5, 5, 0, 0, 9], [0, 5, 5, 0, 0, 0], [0, 0, 0, 0, 0, 0]])
KIND = np.where(NUMBER == 5, 1, np.where(NUMBER == 9, 100, 0))


def write_ade(root, split="training", name="ADE_train_00000001", number=NUMBER, kind=KIND):
    write_picture(root / "images" / split / f"{name}.jpg")
    for folder, pixels in (
        ("annotations", SEMANTIC),
        ("annotations_instance", np.stack((kind, number, 0 * number), 2)),
    ):
        path = root / folder / split / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(path)


@pytest.fixture
def ade(tmp_path):
    root = tmp_path / "ADEChallengeData2016"
    write_ade(root)
    write_ade(root, "validation", "ADE_val_00000001")
    rows = [f"{k} \t0.1\t10\t1\tname {k}, synonym " for k in range(1, 151)]
    (root / "objectInfo150.txt").write_text("\n".join(["Idx\tRatio\tTrain\tVal\tName", *rows, ""]))
    return root


def test_ade20k_by_hand(ade, tmp_path):
    train, val = ade_splits(ade)
    assert [p.id for p in val.pictures] == ["ADE_val_00000001"]
    dataset = convert_split(train, tmp_path / "out")
    (image,) = dataset.images
    expected = np.where(SEMANTIC == 1, 257, np.where(SEMANTIC == 3, 259, 0))  # bed 8 is a thing
    expected = np.where(NUMBER > 0, NUMBER, expected)
    np.testing.assert_array_equal(dataset.segment_map(image), expected)
    assert [(s.id, s.category_id) for s in image.segments] == [(5, 8), (9, 150), (257, 1), (259, 3)]
    assert sum(category.isthing for category in dataset.categories.values()) == 100
    assert dataset.categories[8].name == "name 8"
    assert (dataset.categories[8].isthing, dataset.categories[1].isthing) == (True, False)


def test_ade20k_table_of_things():
    assert len(THINGS) == 100
    assert list(THINGS) == sorted(set(THINGS))
    assert THINGS[0] == 8
    assert THINGS[-1] == 150


def test_ade20k_instances_that_do_not_fit(ade, tmp_path):
    def segments():
        return ade_segments(ade, "training", "ADE_train_00000001", SIZE)

    write_ade(ade, kind=np.where(KIND == 1, 101, KIND))
    with pytest.raises(DataError, match=r"things in \[1, 100\], got 101 of instance 5"):
        segments()
    write_ade(ade, kind=KIND * 0)
    with pytest.raises(DataError, match="got 0 of instance 5"):
        segments()
    kind = KIND.copy()
    kind[1, 1] = 7
    write_ade(ade, kind=kind)
    with pytest.raises(DataError, match=r"_instance.*png: expected one category of instance 5"):
        segments()
    path = ade / "annotations" / "training" / "ADE_train_00000001.png"
    Image.fromarray(np.full(SIZE, 151, np.uint8)).save(path)
    with pytest.raises(DataError, match=r"categories in \[0, 150\], got 151"):
        segments()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\n7 \t", "\n8 \t", r"objectInfo150\.txt:8: expected the number 7"),
        ("\n7 \t", "\nseven\t", r"objectInfo150\.txt:8: expected the number 7"),
        ("\n7 \t", f"\n{'7' * 5000}\t", r"objectInfo150\.txt:8: expected the number 7"),
        ("name 7, synonym", "\x1b[31m, synonym", r"objectInfo150\.txt:8: .* a name between tabs"),
        ("name 7, synonym", ", synonym", r"objectInfo150\.txt:8: .* and a name between tabs"),
        ("\n150 \t0.1\t10\t1\tname 150, synonym ", "", "expected 150 rows .* got 149"),
    ],
)
def test_ade20k_broken_names(ade, old, new, message):
    path = ade / "objectInfo150.txt"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DataError, match=message):
        ade_splits(ade)


@pytest.mark.parametrize("kind", ["cityscapes", "ade20k"])
def test_from_the_command_line(kind, tmp_path, request, capsys):
    root = request.getfixturevalue({"cityscapes": "city", "ade20k": "ade"}[kind])
    out = tmp_path / "out"
    command = ["convert", kind, f"--{kind}", root, "--out", out, "--points", 1, "--json"]
    assert main(list(map(str, command))) == 0
    train, val = json.loads(capsys.readouterr().out)["sets"]
    assert (train["images"], val["images"]) == (1, 1)
    assert train["points"] == [str(out / f"{kind}_panoptic_train_1pnt_uniform")]
    assert val["points"] == []
    assert len(read_panoptic(val["annotations"]).images) == 1
    assert main(["convert", kind, f"--{kind}", str(tmp_path / "x"), "--out", str(out)]) == 2
    assert f"point2mask: error: {tmp_path}/x" in capsys.readouterr().err
