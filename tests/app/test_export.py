"""Exports, read back by our own readers, by pycocotools and by what the formats say."""

import base64
import io
import json
import time
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from skimage.draw import polygon2mask

from point2mask.cli import main
from point2mask.data import (
    DataError,
    PointTarget,
    read_panoptic,
    read_points,
    read_rgb,
)
from point2mask.data.marks import NO_MARKS, Marks, Stroke
from point2mask.data.png import read_indices
from point2mask.data.shapes import write_shapes

TestClient = pytest.importorskip("fastapi.testclient", reason="needs point2mask[app]").TestClient
coco = pytest.importorskip("pycocotools.coco", reason="needs point2mask[app]")

from point2mask.app import FORMATS, Masks, Project, create_app  # noqa: E402
from point2mask.app.export import How, export  # noqa: E402
from point2mask.app.jobs import ExportJob  # noqa: E402
from point2mask.app.polygons import outline  # noqa: E402

HOW = How("built-in", "merge")


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """A folder with two labelled pictures of three; project, masks and true segments."""
    root = tmp_path_factory.mktemp("shapes")
    write_shapes(root, "val", 3, (48, 64))
    truth = read_panoptic(root / "annotations" / "panoptic_val.json")
    photos = root / "images" / "val"
    (photos / "new folder").mkdir()
    (photos / "000002.png").rename(photos / "new folder" / "two.png")
    project = Project(photos, truth.categories)
    assert project.names == ["000001.png", "000003.png", "new folder/two.png"]
    for index, image in ((0, truth.images[0]), (2, truth.images[1])):
        ids = truth.segment_map(image)
        targets = []
        for segment in image.segments:
            rows, columns = np.nonzero(ids == segment.id)
            middle = len(rows) // 2
            point = (columns[middle] + 0.25, rows[middle] + 0.5)
            targets.append(PointTarget(segment.id, segment.category_id, (point,)))
        project.change(index, 0, targets)
    return project, Masks(photos), root


def write(shown, name, out):
    project, masks, _ = shown
    labels = project.labels()

    def segment_map(record, targets, marks=NO_MARKS):
        return masks.segment_map(record, targets, labels.categories, marks=marks)

    folder = export(name, labels, project.folder, out, segment_map, HOW)
    return folder, labels, segment_map


def test_panoptic_is_what_label_writes_and_evaluate_reads(shown, tmp_path, capsys):
    folder, labels, segment_map = write(shown, "coco_panoptic", tmp_path)
    dataset = read_panoptic(folder / "panoptic.json")
    assert [image.record for image in dataset.images] == [record for record, _ in labels.images]
    for image, (record, targets) in zip(dataset.images, labels.images, strict=True):
        np.testing.assert_array_equal(dataset.segment_map(image), segment_map(record, targets))
    project, _, root = shown
    points = str(project.path)
    arguments = ["label", "--images", str(project.folder), "--points", points, "--workers", "1"]
    assert main([*arguments, "--out", str(tmp_path / "labels")]) == 0
    same = read_panoptic(tmp_path / "labels" / "panoptic.json")
    for mine, other in zip(dataset.images, same.images, strict=True):
        np.testing.assert_array_equal(dataset.segment_map(mine), same.segment_map(other))
    capsys.readouterr()
    # The truth of these two pictures under the names that they now have.
    truth = json.loads((root / "annotations" / "panoptic_val.json").read_text())
    truth["images"], truth["annotations"] = truth["images"][:2], truth["annotations"][:2]
    ids = {image.record.file_name: image.record.id for image in dataset.images}
    for entry, name in zip(truth["images"], ("000001.png", "new folder/two.png"), strict=True):
        entry["id"] = ids[name]
    for entry, name in zip(truth["annotations"], ("000001.png", "new folder/two.png"), strict=True):
        entry["image_id"] = ids[name]
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    arguments = ["--truth-masks", str(root / "annotations" / "panoptic_val"), "--json", "-"]
    arguments += ["--truth", str(tmp_path / "truth.json"), "--workers", "1"]
    assert main(["evaluate", *arguments, "--predictions", str(folder)]) == 0
    assert json.loads(capsys.readouterr().out)["all"]["pq"] > 0.3


# pycocotools 2.0.11 in numpy 2.
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")
def test_instances_are_read_by_pycocotools(shown, tmp_path, capsys):
    folder, labels, segment_map = write(shown, "coco_instances", tmp_path)
    dataset = coco.COCO(folder / "instances.json")
    things = [c.name for c in labels.categories.values() if c.isthing]
    assert [category["name"] for category in dataset.loadCats(dataset.getCatIds())] == things
    count = 0
    for record, targets in labels.images:
        ids = segment_map(record, targets)
        mine = [t for t in targets if labels.categories[t.category_id].isthing]
        annotations = dataset.loadAnns(dataset.getAnnIds(imgIds=[record.id]))
        for target, annotation in zip(mine, annotations, strict=True):
            mask = dataset.annToMask(annotation)
            np.testing.assert_array_equal(mask == 1, ids == target.id)
            assert annotation["category_id"] == target.category_id
            assert annotation["area"] == mask.sum()
            x, y, width, height = (int(part) for part in annotation["bbox"])
            assert mask[y : y + height, x : x + width].sum() == mask.sum()
            count += 1
    assert count == len(dataset.anns) > 0
    capsys.readouterr()  # pycocotools prints


def test_voc_has_classes_and_objects(shown, tmp_path):
    folder, labels, segment_map = write(shown, "voc", tmp_path)
    lines = (folder / "classes.txt").read_text().splitlines()
    names = dict(line.split(" ", 1) for line in lines)
    listed = (folder / "ImageSets" / "Segmentation" / "train.txt").read_text().split()
    assert listed == ["000001", "new_folder_two"]
    for name, (record, targets) in zip(listed, labels.images, strict=True):
        size = record.height, record.width
        ids = segment_map(record, targets)
        classes = read_indices(folder / "SegmentationClass" / f"{name}.png", *size)
        objects = read_indices(folder / "SegmentationObject" / f"{name}.png", *size)
        number = 0
        for target in targets:
            category = labels.categories[target.category_id]
            (value,) = set(classes[ids == target.id].tolist())
            assert names[str(value)] == category.name
            (found,) = set(objects[ids == target.id].tolist())
            number += category.isthing
            assert found == (number if category.isthing else 0)
        assert read_rgb(folder / "JPEGImages" / f"{name}.jpg").shape[:2] == size


def test_labelme_has_masks_and_clicks(shown, tmp_path):
    folder, labels, segment_map = write(shown, "labelme", tmp_path)
    for record, targets in labels.images:
        path = (folder / record.file_name).with_suffix(".json")
        content = json.loads(path.read_text())
        assert (content["imageHeight"], content["imageWidth"]) == (record.height, record.width)
        picture = read_rgb(path.parent / content["imagePath"])
        np.testing.assert_array_equal(picture, read_rgb(shown[0].folder / record.file_name))
        ids = np.zeros((record.height, record.width), np.int32)
        points = {}
        for shape in content["shapes"]:
            if shape["shape_type"] == "point":
                points.setdefault(shape["group_id"], []).append(tuple(shape["points"][0]))
                continue
            (left, top), (right, bottom) = shape["points"]
            cut = np.array(Image.open(io.BytesIO(base64.b64decode(shape["mask"]))))
            ids[top : bottom + 1, left : right + 1][cut.astype(bool)] = shape["group_id"]
        np.testing.assert_array_equal(ids, segment_map(record, targets))
        assert points == {target.id: list(target.points) for target in targets}


@pytest.mark.parametrize("name", ["labelme", "voc", "yolo"])
def test_exported_pictures_are_files_of_their_own(shown, tmp_path, name):
    folder, _, _ = write(shown, name, tmp_path)
    copies = [p for p in folder.rglob("*") if p.suffix in (".jpg", ".png")]
    assert copies
    assert all(path.stat().st_nlink == 1 for path in copies)


def test_yolo_polygons_are_the_masks(shown, tmp_path):
    folder, labels, segment_map = write(shown, "yolo", tmp_path)
    things = [c.id for c in labels.categories.values() if c.isthing]
    for record, targets in labels.images:
        ids = segment_map(record, targets)
        mine = [t for t in targets if t.category_id in things]
        stem = record.file_name.removesuffix(".png").replace("/", "_").replace(" ", "_")
        lines = (folder / "labels" / f"{stem}.txt").read_text().splitlines()
        for target, line in zip(mine, lines, strict=True):
            number, *shares = line.split()
            assert things[int(number)] == target.category_id
            corners = np.array(shares, float).reshape(-1, 2) * (record.width, record.height)
            drawn = polygon2mask(ids.shape, corners[:, ::-1] - 0.5)
            np.testing.assert_array_equal(drawn, ids == target.id)
        assert (folder / "images" / f"{stem}.png").is_file()
    names = [c.name for c in labels.categories.values() if c.isthing]
    assert f"names:\n  0: '{names[0]}'" in (folder / "data.yaml").read_text()


@pytest.mark.parametrize("seed", range(8))
def test_a_polygon_holds_pieces_and_holes(seed):
    mask = np.random.default_rng(seed).random((14, 17)) < 0.5
    np.testing.assert_array_equal(polygon2mask(mask.shape, outline(mask)[:, ::-1] - 0.5), mask)


def test_overlays_have_names_on_them(shown, tmp_path):
    folder, labels, _ = write(shown, "overlays", tmp_path)
    assert sorted(p.name for p in folder.glob("*.jpg")) == ["000001.jpg", "new_folder_two.jpg"]
    record, targets = labels.images[0]
    picture = read_rgb(folder / "000001.jpg", (record.height, record.width))
    original = read_rgb(shown[0].folder / record.file_name)
    x, y = targets[0].pixels[0]
    assert np.abs(picture[y, x].astype(int) - original[y, x]).max() > 30


def test_how_masks_were_made_is_noted(shown, tmp_path):
    folder, _, _ = write(shown, "voc", tmp_path)
    noted = json.loads((folder / "export.json").read_text())
    assert noted == {"format": "voc", "images": 2, "cue": "built-in", "assigner": "merge"}


def test_corrections_are_exported(shown, tmp_path):
    project, masks, _ = shown
    labels = project.labels()
    record, targets = labels.images[0]
    stroke = Stroke(targets[0].id, "line", ((1.5, 1.5), (9.5, 1.5)), 1.5)
    gone = Stroke(0, "polygon", ((0, 20), (64, 20), (64, 48), (0, 48)))
    marked = replace(labels, marks={record.id: Marks((), (stroke, gone))})

    def segment_map(record, targets, marks):
        return masks.segment_map(record, targets, labels.categories, marks=marks)

    for name in FORMATS:
        folder = export(name, marked, project.folder, tmp_path, segment_map, HOW)
    ids = read_panoptic(tmp_path / "coco_panoptic" / "panoptic.json")
    first = ids.segment_map(ids.images[0])
    assert (first[1, 1:10] == targets[0].id).all()
    assert (first[20:] == 0).all()
    assert read_points(tmp_path / "points" / "points.json").marks == marked.marks
    assert folder.name == "points"


def test_names_that_differ_by_the_suffix_are_refused_first(tmp_path):
    for name in ("7.png", "7.jpg"):
        Image.new("RGB", (5, 5)).save(tmp_path / name)
    project = Project(tmp_path)
    project.add_category("thing", True)
    for index in (0, 1):
        project.change(index, 0, [PointTarget(1, 1, ((1.0, 1.0),))])

    def never(*_):
        raise AssertionError

    for name in ("coco_panoptic", "labelme"):
        with pytest.raises(DataError, match=r"got 7\.jpg and 7\.png"):
            export(name, project.labels(), tmp_path, tmp_path / "out", never, HOW)


def test_a_picture_whose_json_is_the_note_is_refused(tmp_path):
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "photos" / "export.png")
    project = Project(tmp_path / "photos")
    project.add_category("disc", True)
    project.change(0, 0, [PointTarget(1, 1, ((4.5, 4.5),))])
    shown = project, Masks(project.folder), None
    with pytest.raises(DataError, match=r"rename export\.png"):
        write(shown, "labelme", tmp_path / "out")
    assert not list((tmp_path / "out").glob("*"))
    write(shown, "coco_panoptic", tmp_path / "out")


def test_points_are_read_back(shown, tmp_path):
    folder, labels, _ = write(shown, "points", tmp_path)
    assert read_points(folder / "points.json") == labels


def test_replaces_its_own_folders_only(shown, tmp_path):
    folder, _, _ = write(shown, "coco_panoptic", tmp_path)
    (folder / "panoptic" / "stale.png").touch()
    write(shown, "coco_panoptic", tmp_path)
    assert not (folder / "panoptic" / "stale.png").exists()
    (tmp_path / "voc").mkdir()
    (tmp_path / "voc" / "precious").touch()
    with pytest.raises(DataError, match="new folder or an earlier export"):
        write(shown, "voc", tmp_path)
    assert (tmp_path / "voc" / "precious").exists()
    assert not list(tmp_path.glob(".*"))


def test_an_export_that_fails_leaves_the_earlier_one(shown, tmp_path):
    project, _, _ = shown
    folder, labels, segment_map = write(shown, "coco_panoptic", tmp_path)

    def broken(record, targets, marks):
        if record.file_name != "000001.png":
            raise DataError("broken picture")
        return segment_map(record, targets, marks)

    with pytest.raises(DataError, match="broken picture"):
        export("coco_panoptic", labels, project.folder, tmp_path, broken, HOW)
    assert len(read_panoptic(folder / "panoptic.json").images) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["coco_panoptic"]


def finished(client):
    while (status := client.get("/api/export").json())["state"] == "running":
        time.sleep(0.02)
    return status


def test_exports_over_http(shown, tmp_path):
    project, masks, _ = shown
    app = create_app(project, masks, tmp_path / "out")
    client = TestClient(app, base_url="http://localhost")
    assert client.get("/api/export").json()["state"] == "none"
    how = {"cue": "built-in", "assigner": "watershed"}
    for name in FORMATS:
        started = client.post("/api/export", json={"format": name, **how})
        assert started.json()["state"] == "running"
        status = finished(client)
        assert (status["state"], status["path"]) == ("done", str(tmp_path / "out" / name))
    client.post("/api/export", json={"format": "nonsense", **how})
    status = finished(client)
    assert status["state"] == "failed"
    assert "a format of coco_panoptic" in status["error"]


def test_a_zip_over_http(shown, tmp_path):
    project, masks, _ = shown
    client = TestClient(create_app(project, masks, tmp_path / "out"), base_url="http://localhost")
    how = {"cue": "built-in", "assigner": "merge", "zip": 1, "images": [2]}
    assert client.get("/api/export/zip").status_code == 422
    client.post("/api/export", json={"format": "labelme", **how})
    status = finished(client)
    assert (status["state"], status["zip"]) == ("done", True)
    answer = client.get("/api/export/zip")
    assert "val_labelme.zip" in answer.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == [
            "labelme/export.json",
            "labelme/new folder/two.json",
            "labelme/new folder/two.png",
        ]
    assert not (tmp_path / "out").exists()
    wrong = client.post("/api/export", json={"format": "voc", **how, "images": [9]})
    assert wrong.status_code == 422


def test_nothing_to_export(tmp_path):
    Image.new("RGB", (5, 5)).save(tmp_path / "a.png")
    labels = Project(tmp_path).labels()
    with pytest.raises(DataError, match="no picture has a click"):
        export("points", labels, tmp_path, tmp_path / "out", lambda *_: None, HOW)
    assert not (tmp_path / "out").exists()


def test_one_export_at_a_time(tmp_path):
    job, going = ExportJob(), []

    def work(progress):
        while not going:
            time.sleep(0.01)
        return tmp_path

    job.start("voc", work)
    with pytest.raises(DataError, match="an export is running"):
        job.start("voc", work)
    going.append(True)
    while job.status.state == "running":
        time.sleep(0.01)
    assert job.status.state == "done"
