"""Labels and masks of turned pictures through the commands: there and back, and what is said."""

import json

import numpy as np
import pytest
from msgspec import structs
from PIL import Image
from turned_pictures import SIZES, TAGS, red, scene, write_turned

from point2mask.app.project import Project
from point2mask.cli import main
from point2mask.data import PointLabels, PointTarget, read_points, write_points
from point2mask.data.frames import orientation, to_shown
from point2mask.data.marks import Marks, Stroke
from point2mask.data.records import Category, ImageRecord
from point2mask.data.report import Report
from point2mask.data.sources import find_pictures
from point2mask.data.turning import turn_labels

CATEGORIES = {1: Category(1, "cat", True, (9, 9, 9))}


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    for size, kind in zip(SIZES, ("wide", "square"), strict=True):
        for tag in TAGS:
            write_turned(folder / f"{kind}{tag}.png", scene(size), tag)
    return folder


def clicked(folder):
    """A click on the red pixel of every picture as it is stored."""
    images, marks = [], {}
    for path in sorted(folder.glob("*.png")):
        pixels = np.asarray(Image.open(path))
        x, y = red(pixels)
        record = ImageRecord(path.name, path.name, *pixels.shape[:2])
        images.append((record, [PointTarget(1, 1, ((x + 0.25, y + 0.5),))]))
        stroke = Stroke(1, "line", ((x, y - 3.0), (x + 0.5, y)), 1.5)
        marks[path.name] = Marks(rest=((x + 1.0, y),), strokes=(stroke,))
    return PointLabels(CATEGORIES, images, marks)


def test_labels_are_turned_and_back(photos):
    labels, report = clicked(photos), Report()
    shown = turn_labels(labels, "shown", photos, report)
    for (record, (target,)), (before, _) in zip(shown.images, labels.images, strict=True):
        path = photos / record.file_name
        pixels = to_shown(np.asarray(Image.open(path)), orientation(path))
        assert target.pixels == (red(pixels),)
        assert (record.height, record.width) == pixels.shape[:2]
        ((x, y),) = shown.marks[record.id].rest
        assert pixels[int(y), int(x)].tolist() == np.asarray(Image.open(path))[1, 4].tolist()
        assert before.frame == "stored"
    assert turn_labels(shown, "stored", photos, report) == labels
    assert not report.lines()
    missing = turn_labels(labels, "shown", photos / "nowhere", report)
    assert missing == labels
    assert report.lines()[0].startswith(
        "note: 16 images whose clicks stay on the picture as it is stored, as there is no picture"
    )


@pytest.mark.parametrize("kind", ["labelme", "csv"])
def test_exported_clicks_come_back(photos, tmp_path, capsys, kind):
    """In the file they are as the format has them, so that its viewer shows them on the disc."""
    labels = PointLabels(CATEGORIES, clicked(photos).images)
    write_points(tmp_path / "p.json", labels)
    source = photos if kind == "labelme" else tmp_path / "clicks.csv"
    words = ["--points", tmp_path / "p.json", "--out", source]
    assert main(["points", "export", kind, *map(str, words)]) == 0
    assert "note" not in capsys.readouterr().err
    if kind == "labelme":
        (shape,) = json.loads((photos / "wide6.json").read_text())["shapes"]
        pixels = to_shown(scene(SIZES[0]), 6)
        assert [int(v) for v in shape["points"][0]] == list(red(pixels))
    words = [source, "--images", photos, "--categories", tmp_path / "p.json"]
    words += ["--out", tmp_path / "back.json"]
    assert main(["points", "import", kind, *map(str, words)]) == 0
    assert read_points(tmp_path / "back.json").images == labels.images


def test_the_page_works_on_pictures_as_stored(photos):
    labels = clicked(photos)
    write_points(photos / "points.json", turn_labels(labels, "shown", photos, Report()))
    project = Project(photos)
    for index, name in enumerate(project.names):
        clicks = project.clicks(index)
        (expected,) = (targets for record, targets in labels.images if record.file_name == name)
        assert list(clicks.targets) == expected
        assert clicks.record.frame == "stored"
    project.close()


@pytest.mark.parametrize("frame", ["stored", "shown"])
def test_label_takes_clicks_for_those_on_the_frame_it_is_told(photos, tmp_path, frame):
    labels = PointLabels(CATEGORIES, clicked(photos).images)
    if frame == "shown":  # a file that does not say so
        shown = turn_labels(labels, "shown", photos, Report()).images
        images = [(structs.replace(record, frame="stored"), targets) for record, targets in shown]
        labels = PointLabels(CATEGORIES, images)
    write_points(tmp_path / "p.json", labels)
    words = ["--images", photos, "--points", tmp_path / "p.json", "--out", tmp_path / "out"]
    words += ["--frame", frame, "--no-overlays", "--workers", 1]
    assert main(["label", *map(str, words)]) == 0
    root = json.loads((tmp_path / "out" / "panoptic.json").read_text())
    assert {image.get("exif_frame", "stored") for image in root["images"]} == {frame}
    shape = np.asarray(Image.open(tmp_path / "out" / "panoptic" / "wide6.png")).shape[:2]
    assert shape == ((10, 6) if frame == "shown" else (6, 10))


def test_pictures_of_a_folder_in_both_frames(photos, tmp_path):
    _, stored = find_pictures([photos])
    assert {(r.height, r.width, r.frame) for r in stored} == {(6, 10, "stored"), (8, 8, "stored")}
    _, shown = find_pictures([photos], "shown")
    by_name = {record.file_name: record for record in shown}
    assert (by_name["wide6.png"].height, by_name["wide6.png"].frame) == (10, "shown")
    assert by_name["wide1.png"] == ImageRecord("wide1.png", "wide1.png", 6, 10)
