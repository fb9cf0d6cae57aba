"""Exports and our own readers against each other, of pictures that viewers turn too."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from point2mask.cli import main
from point2mask.data import PointTarget, read_panoptic, read_points, read_rgb
from point2mask.data.frames import UPRIGHT, orientation, to_shown, to_stored
from point2mask.data.records import Category

pytest.importorskip("fastapi", reason="needs point2mask[app]")
pytest.importorskip("pycocotools", reason="needs point2mask[app]")

from point2mask.app import Masks, Project
from point2mask.app.export import How, export

HEIGHT, WIDTH = 40, 64
CATEGORIES = {
    1: Category(1, "disc", True, (200, 30, 30)),
    2: Category(2, "ground", False, (30, 30, 200)),
}


@pytest.fixture(scope="module", params=[1, 3, 5, 6])
def given(request, tmp_path_factory):
    """A labelled folder of a turned JPEG and a plain PNG: project, ids by name, orientation."""
    folder = tmp_path_factory.mktemp("turned") / "photos"
    (folder / "sub").mkdir(parents=True)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    picture = np.full((HEIGHT, WIDTH, 3), (40, 60, 200), np.uint8)
    picture[(y - 14) ** 2 + (x - 20) ** 2 < 81] = (200, 50, 40)
    picture[(y - 26) ** 2 + (x - 48) ** 2 < 49] = (220, 60, 40)
    exif = Image.Exif()
    exif[0x0112] = request.param
    Image.fromarray(picture).save(folder / "sub" / "a photo.jpg", exif=exif, quality=95)
    Image.fromarray(picture).save(folder / "b.png")
    project = Project(folder, CATEGORIES)
    targets = [
        PointTarget(2, 1, ((20.25, 14.5), (24.0, 12.75))),
        PointTarget(5, 1, ((48.5, 26.25),)),
        PointTarget(9, 2, ((3.5, 36.0), (60.25, 3.5))),
    ]
    for index in range(2):
        project.change(index, 0, targets)
    masks, labels = Masks(folder), project.labels()
    ids = {
        record.file_name: masks.segment_map(record, given, CATEGORIES)
        for record, given in labels.images
    }
    return project, masks, ids, request.param


def write(given, name, out):
    project, masks, _, _ = given
    labels = project.labels()

    def segment_map(record, targets, marks):
        return masks.segment_map(record, targets, CATEGORIES, marks=marks)

    return export(name, labels, project.folder, out, segment_map, How("built-in", "merge"))


def shown(given, name):
    """The ids of a picture as viewers show it."""
    _, _, ids, turned = given
    return to_shown(ids[name], turned) if name.endswith(".jpg") else ids[name]


def succeed(*words):
    assert main([str(word) for word in words]) == 0


def same_parts(mine, theirs):
    """Whether two maps divide the pixels alike, whatever the numbers are."""
    pairs = {*zip(mine.ravel().tolist(), theirs.ravel().tolist(), strict=True)}
    return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


def test_points(given, tmp_path):
    read = read_points(write(given, "points", tmp_path) / "points.json")
    assert read.images == given[0].labels().images
    assert read.categories == CATEGORIES


def test_coco_panoptic(given, tmp_path):
    data = read_panoptic(write(given, "coco_panoptic", tmp_path) / "panoptic.json")
    for image in data.images:
        np.testing.assert_array_equal(data.segment_map(image), given[2][image.record.file_name])
        assert [s.id for s in image.segments] == [2, 5, 9]
    assert data.categories == CATEGORIES


@pytest.mark.parametrize("beside", [True, False])
def test_labelme(given, tmp_path, beside):
    """Read with the pictures of the export, and with those that it was made from."""
    folder = write(given, "labelme", tmp_path)
    images = folder if beside else given[0].folder
    words = ["--images", images, "--stuff", "ground", "--out", tmp_path / "points.json"]
    succeed("points", "import", "labelme", folder, *words)
    read = read_points(tmp_path / "points.json")
    categories = {c.id: c.name for c in read.categories.values()}
    assert {c.name: c.isthing for c in read.categories.values()} == {"disc": True, "ground": False}
    for record, targets in read.images:
        size = (record.height, record.width)
        expected = {r.file_name: t for r, t in given[0].labels().images}[record.file_name]
        assert [t.id for t in targets] == [t.id for t in expected]
        names = [CATEGORIES[t.category_id].name for t in expected]
        assert [categories[t.category_id] for t in targets] == names
        ids = shown(given, record.file_name) if beside else given[2][record.file_name]
        assert ids.shape == size
        for mine, theirs in zip(targets, expected, strict=True):
            assert {int(ids[y, x]) for x, y in mine.pixels} == {theirs.id}
            if not beside or record.file_name == "b.png":
                np.testing.assert_allclose(mine.points, theirs.points, atol=1e-9)


def test_coco_instances(given, tmp_path):
    folder = write(given, "coco_instances", tmp_path)
    words = ["--instances", folder / "instances.json", "--images", given[0].folder]
    succeed("convert", "coco", *words, "--background", "ground", "--out", tmp_path / "out")
    data = read_panoptic(next((tmp_path / "out").glob("panoptic_*.json")))
    assert len(data.images) == 2
    for image in data.images:
        found = data.segment_map(image)
        expected = given[2][image.record.file_name]
        if found.shape != expected.shape or image.record.frame == "shown":
            expected = shown(given, image.record.file_name)
        assert same_parts(found, expected)
        names = {data.categories[s.category_id].name for s in image.segments}
        assert names == {"disc", "ground"}


def test_voc(given, tmp_path):
    folder = write(given, "voc", tmp_path)
    for name, mine in (("sub_a_photo", "sub/a photo.jpg"), ("b", "b.png")):
        ids = shown(given, mine)
        objects = np.asarray(Image.open(folder / "SegmentationObject" / f"{name}.png"))
        assert same_parts(objects, ids)
        picture = folder / "JPEGImages" / f"{name}.jpg"
        assert read_rgb(picture).shape[:2] == ids.shape
        assert orientation(picture) == UPRIGHT


def test_voc_is_converted(given, tmp_path):
    """The categories of other people's VOC are theirs; ours are read as masks with numbers."""
    folder = write(given, "voc", tmp_path)
    lines = (folder / "classes.txt").read_text().splitlines()
    assert lines == ["0 ground", "1 disc"]


@pytest.mark.parametrize("name", ["labelme", "yolo", "voc"])
def test_pictures_are_upright_for_every_program(given, tmp_path, name):
    """With and without a look at the tag they are what viewers show."""
    folder = write(given, name, tmp_path)
    _, _, _, turned = given
    (picture,) = (p for p in folder.rglob("*.jpg") if "photo" in p.name)
    expected = read_rgb(given[0].folder / "sub" / "a photo.jpg", frame="shown")
    for frame in ("stored", "shown"):
        found = read_rgb(picture, frame=frame)
        assert found.shape == expected.shape
        assert np.abs(found.astype(int) - expected).mean() < 3  # encoded once more
    if turned == 1:
        original = given[0].folder / "sub" / "a photo.jpg"
        assert picture.read_bytes() == original.read_bytes()


def test_overlays_are_upright(given, tmp_path):
    folder = write(given, "overlays", tmp_path)
    size = shown(given, "sub/a photo.jpg").shape
    assert read_rgb(folder / "sub_a_photo.jpg").shape[:2] == size


def test_yolo(given, tmp_path):
    """Polygons hold the centres of just the pixels of the masks."""
    from skimage.measure import points_in_poly

    folder = write(given, "yolo", tmp_path)
    for name, mine in (("sub_a_photo", "sub/a photo.jpg"), ("b", "b.png")):
        ids = shown(given, mine)
        height, width = ids.shape
        y, x = np.mgrid[:height, :width] + 0.5
        centres = np.stack([x.ravel(), y.ravel()], 1)
        lines = (folder / "labels" / f"{name}.txt").read_text().splitlines()
        assert len(lines) == 2
        for line, identity in zip(lines, (2, 5), strict=True):
            number, *shares = line.split()
            assert number == "0"
            corners = np.array(shares, float).reshape(-1, 2) * (width, height)
            inside = points_in_poly(centres, corners).reshape(height, width)
            np.testing.assert_array_equal(inside, ids == identity)


def test_stored_and_shown_are_each_others_inverse(given):
    _, _, ids, turned = given
    for one in ids.values():
        np.testing.assert_array_equal(to_stored(to_shown(one, turned), turned), one)


def test_labelme_names_its_picture(given, tmp_path):
    folder = write(given, "labelme", tmp_path)
    for path in folder.rglob("*.json"):
        if path.name == "export.json":
            continue
        content = json.loads(path.read_text())
        picture = read_rgb(path.parent / Path(content["imagePath"]))
        assert picture.shape[:2] == (content["imageHeight"], content["imageWidth"])
