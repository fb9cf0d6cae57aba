"""Clicks in labelme's files: round trips, files by hand, and hostile ones."""

import json

import pytest
from click_files import CATEGORIES, HEIGHT, WIDTH, point_labels, shown
from hypothesis import given
from hypothesis import strategies as st

from point2mask.data import DataError, ImageRecord, PointLabels, PointTarget
from point2mask.data.formats import Pictures, read_labelme, to_labels, write_labelme


@given(labels=point_labels(), look=st.booleans())
def test_labelme_round_trip(photos, tmp_path_factory, labels, look):
    folder = tmp_path_factory.mktemp("labelme")
    write_labelme(folder, labels)
    images = read_labelme(folder, Pictures(photos if look else None))
    # Without pictures nobody knows how viewers turn them: the record says it.
    assert to_labels(images, "here", CATEGORIES) == (labels if look else shown(labels))


def shape(**changes):
    return {
        "label": "cat",
        "points": [[1.5, 2]],
        "group_id": None,
        "shape_type": "point",
        "flags": {},
    } | changes


def labelme(shapes, **changes):
    return {
        "version": "5.4.1",
        "flags": {},
        "shapes": shapes,
        "imagePath": "a.png",
        "imageData": "iVBORw0KGgo=",
        "imageHeight": HEIGHT,
        "imageWidth": WIDTH,
    } | changes


def test_labelme_by_hand(photos, tmp_path):
    """Windows' paths to a folder beside, groups, and sizes that are missing."""
    (tmp_path / "sub").mkdir()
    shapes = [shape(), shape(points=[[0, 0]], group_id=4), shape(points=[[1, 0]], group_id=4)]
    content = labelme(shapes, imagePath="..\\..\\photos\\sub\\b.png", imageHeight=None)
    (tmp_path / "sub" / "x.json").write_text(json.dumps(content))
    labels = to_labels(read_labelme(tmp_path, Pictures(photos)), "here")
    assert [(r.file_name, t) for r, t in labels.images] == [
        (
            "sub/b.png",
            [PointTarget(1, 1, ((1.5, 2.0),)), PointTarget(2, 1, ((0.0, 0.0), (1.0, 0.0)))],
        )
    ]
    with pytest.raises(DataError, match=r"imagePath: expected the size of sub/b.png; give the fo"):
        read_labelme(tmp_path, Pictures(None))


@pytest.mark.parametrize(
    "path",
    [
        "..\\photos\\sub\\b.png",
        "C:\\Users\\me\\sub\\b.png",
        "\\\\host\\share\\sub\\b.png",
        "/x/sub/b.png",
    ],
)
def test_as_much_of_a_path_from_elsewhere_counts_as_fits(photos, tmp_path, path):
    (photos / "other").mkdir(exist_ok=True)
    (photos / "other/b.png").write_bytes((photos / "sub/b.png").read_bytes())
    (tmp_path / "x.json").write_text(json.dumps(labelme([shape()], imagePath=path)))
    (image,) = read_labelme(tmp_path / "x.json", Pictures(photos))
    assert image.record.file_name == "sub/b.png"


def test_shapes_without_a_type_are_polygons(photos, tmp_path):
    polygon = {"label": "cat", "points": [[0, 0], [1, 1], [2, 0]]}
    (tmp_path / "x.json").write_text(json.dumps(labelme([polygon, shape()])))
    pictures = Pictures(photos)
    (image,) = read_labelme(tmp_path / "x.json", pictures)
    assert [(click.x, click.y) for click in image.clicks] == [(1.5, 2)]
    assert list(pictures.report.left_out) == ["shapes of the kind polygon, which are no clicks"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            labelme([shape(shape_type="circle")]),
            r"expected points, got none; left out: 1 shapes of the kind circle, .*shapes\[0\]",
        ),
        (labelme([shape(points=[[1, 2], [3, 4]])]), r"shapes\[0\]\.points: expected one \[x, y\]"),
        (
            labelme([shape(points=[[1, "2"]])]),
            r"shapes\[0\]\.points\[0\]\[1\]: expected a number, got '2'",
        ),
        (labelme([shape(group_id=-1)]), r"shapes\[0\]\.group_id: expected an integer"),
        (labelme([shape(label="")]), r"shapes\[0\]\.label: expected text that is not empty"),
        (labelme([shape(points=[[8.1, 0]])]), r"shapes\[0\]: expected a point inside 8 x 5"),
        (
            labelme([shape()], imageHeight=6),
            r"imagePath: expected the size of .*, 8 x 5, got 8 x 6",
        ),
        (labelme([shape()], imagePath=".."), "imagePath: expected a relative path inside"),
        (labelme([shape()], imagePath="no.png"), r"no\.png: expected a picture"),
        ({"shapes": []}, "imagePath: expected an entry, got none"),
        ([], "expected a JSON of labelme, got a JSON list"),
    ],
)
def test_labelme_that_is_none(photos, tmp_path, content, message):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(content))
    pictures = Pictures(photos)
    with pytest.raises(DataError, match=message) as caught:
        to_labels(read_labelme(path, pictures), path, report=pictures.report)
    assert str(caught.value).startswith(str(path))


def test_labelme_that_is_no_json_behind_a_wrong_entry(tmp_path):
    (tmp_path / "x.json").write_text('{"imagePath": null, "shapes": [], "more"}')
    with pytest.raises(DataError, match="a JSON of labelme, but it is not valid JSON"):
        read_labelme(tmp_path / "x.json", Pictures(None))


def test_labelme_replaces_no_file(tmp_path):
    record = ImageRecord("a.png", "a.png", HEIGHT, WIDTH)
    labels = PointLabels(CATEGORIES, [(record, [PointTarget(1, 3, ((0.0, 0.0),))])])
    write_labelme(tmp_path, labels)
    with pytest.raises(DataError, match=r"a\.json: expected a new name to write"):
        write_labelme(tmp_path, labels)
    twice = PointLabels(CATEGORIES, [*labels.images, (ImageRecord(2, "a.jpg", 1, 1), [])])
    with pytest.raises(DataError, match=r"differ before the suffix, got a\.png and a\.jpg"):
        write_labelme(tmp_path / "new", twice)


def test_clicks_of_the_annotation_page_beside_them_are_no_labelme(photos, tmp_path):
    """It keeps them in the folder of its pictures, where its export goes."""
    (tmp_path / "a.json").write_text(json.dumps(labelme([shape()])))
    own = {"images": [], "categories": [], "annotations": []}
    (tmp_path / "points.json").write_text(json.dumps(own))
    (image,) = read_labelme(tmp_path, Pictures(photos))
    assert to_labels([image], "here").images[0][0].file_name == "a.png"
    (tmp_path / "points.json").write_text(json.dumps({"shapes": []}))
    with pytest.raises(DataError, match=r"points\.json: imagePath: expected an entry"):
        read_labelme(tmp_path, Pictures(photos))
