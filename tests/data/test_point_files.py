"""Clicks of tables and annotation tools: round trips, files by hand, and hostile ones."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from point2mask.cli import main
from point2mask.data import (
    Category,
    DataError,
    ImageRecord,
    PointLabels,
    PointTarget,
    read_points,
    write_point_pngs,
    write_points,
    write_rgb,
)
from point2mask.data.point_files import (
    Pictures,
    read_csv,
    read_cvat,
    read_label_studio,
    read_labelme,
    to_labels,
    write_csv,
    write_labelme,
)
from point2mask.data.point_files.label_studio import picture_name
from point2mask.data.records import default_color

HEIGHT, WIDTH = 5, 8
CATEGORIES = {
    3: Category(3, "cat", True, (1, 2, 3)),
    9: Category(9, 'a "dog", wet', True, (1, 2, 4)),
    4: Category(4, "grass", False, (9, 9, 9)),
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for name in ("a.png", "sub/b.png", "0.png", "1.png", "2.png"):
        write_rgb(folder / name, np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    return folder


@st.composite
def point_labels(draw):
    """At least a click an image; at most one target of each class of stuff."""
    images = []
    for index in sorted(draw(st.sets(st.integers(0, 2), min_size=1))):
        pixels = draw(st.permutations([(x, y) for y in range(HEIGHT) for x in range(WIDTH)]))
        kinds = draw(st.lists(st.sampled_from([3, 9]), max_size=4)) + [4] * draw(st.booleans())
        kinds = kinds or [3]
        ids = draw(
            st.lists(
                st.integers(1, 2**24 - 1), min_size=len(kinds), max_size=len(kinds), unique=True
            )
        )
        targets = []
        for identity, kind in zip(ids, kinds, strict=True):
            count = draw(st.integers(1, 3))
            chosen, pixels = pixels[:count], pixels[count:]
            part = st.floats(0, 0.99)
            points = tuple((x + draw(part), y + draw(part)) for x, y in chosen)
            targets.append(PointTarget(identity, kind, points))
        name = f"{index}.png"
        images.append((ImageRecord(name, name, HEIGHT, WIDTH), targets))
    return PointLabels(CATEGORIES, images)


@given(labels=point_labels())
def test_csv_round_trip(photos, tmp_path, labels):
    write_csv(tmp_path / "clicks.csv", labels)
    images = read_csv(tmp_path / "clicks.csv", Pictures(photos))
    assert to_labels(images, "here", CATEGORIES) == labels


@given(labels=point_labels(), look=st.booleans())
def test_labelme_round_trip(photos, tmp_path_factory, labels, look):
    folder = tmp_path_factory.mktemp("labelme")
    write_labelme(folder, labels)
    images = read_labelme(folder, Pictures(photos if look else None))
    assert to_labels(images, "here", CATEGORIES) == labels


def cvat(*images):
    return f"<?xml version='1.0' encoding='utf-8'?><annotations>{''.join(images)}</annotations>"


def cvat_image(content, name="a.png", size=(HEIGHT, WIDTH)):
    return f'<image id="0" name="{name}" width="{size[1]}" height="{size[0]}">{content}</image>'


@given(labels=point_labels())
def test_cvat_round_trip(photos, tmp_path, labels):
    images = []
    for record, targets in labels.images:
        shapes = []
        for target in targets:
            name = labels.categories[target.category_id].name.replace('"', "&quot;")
            points = ";".join(f"{x!r},{y!r}" for x, y in target.points)
            shapes.append(f'<points label="{name}" points="{points}" group_id="{target.id}"/>')
        images.append(cvat_image("\n".join(shapes), record.file_name))
    (tmp_path / "a.xml").write_text(cvat(*images))
    got = to_labels(read_cvat(tmp_path / "a.xml", Pictures(None)), "here", CATEGORIES)
    assert got == labels


def key_point(label, x, y, **more):
    return {
        "type": "keypointlabels",
        "original_width": WIDTH,
        "original_height": HEIGHT,
        "image_rotation": 0,
        "value": {"x": x, "y": y, "width": 0.4, "keypointlabels": [label]},
        **more,
    }


def task(results, image="/data/upload/1/0a1b2c3d-a.png", **more):
    return {"id": 5, "data": {"image": image}, "annotations": [{"result": results}], **more}


def test_label_studio(photos, tmp_path):
    path = tmp_path / "export.json"
    tasks = [
        task([key_point("cat", 0, 0), key_point("cat", 50, 99.9), key_point("grass", 12.5, 20)]),
        task([key_point("grass", 99, 0)], "/data/local-files/?d=sub%2Fb.png"),
        {"id": 6, "data": {"img": "s3://bucket/folder/0.png"}, "annotations": []},
    ]
    tasks[0]["annotations"].append({"was_cancelled": True, "result": [key_point("cat", 1, 1)]})
    path.write_text(json.dumps(tasks))
    labels = to_labels(read_label_studio(path, Pictures(photos)), "here", stuff=["grass"])
    assert [(r.file_name, t) for r, t in labels.images] == [
        (
            "a.png",
            [
                PointTarget(1, 1, ((0.0, 0.0),)),
                PointTarget(2, 1, ((4.0, 4.995),)),
                PointTarget(3, 2, ((1.0, 1.0),)),
            ],
        ),
        ("sub/b.png", [PointTarget(1, 2, ((7.92, 0.0),))]),
        ("0.png", []),
    ]


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("/data/upload/3/0123abcd-my%20photo.jpg", "my photo.jpg"),
        ("/data/upload/3/photo.jpg", "photo.jpg"),
        ("/data/local-files/?d=set/a.jpg", "set/a.jpg"),
        ("https://host/x/0123abcd-y.jpg?sig=1", "0123abcd-y.jpg"),
        ("gs://bucket/x/y.jpg", "y.jpg"),
    ],
)
def test_names_of_pictures_in_label_studio(address, name):
    assert picture_name(address) == name


def table(tmp_path, text):
    path = tmp_path / "clicks.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_csv_by_hand(photos, tmp_path):
    """Another order of columns, a byte order mark, empty lines and instances that are names."""
    text = (
        "\ufeffcategory,Image, x,y,instance\r\n"
        "sky,a.png,0,0,\r\ncat,a.png,3,1.5,left one\r\n\r\ncat,sub/b.png,1,1,\r\n"
        "cat,a.png,7.9,4.9,left one\r\nsky,a.png,1,0,\r\ncat,a.png,6,3,\r\n"
    )
    images = read_csv(table(tmp_path, text), Pictures(photos))
    labels = to_labels(images, "here", stuff=["sky"])
    assert labels.categories == {
        1: Category(1, "cat", True, default_color(1)),
        2: Category(2, "sky", False, default_color(2)),
    }
    assert labels.images == [
        (
            ImageRecord("a.png", "a.png", HEIGHT, WIDTH),
            [
                PointTarget(1, 2, ((0.0, 0.0), (1.0, 0.0))),
                PointTarget(2, 1, ((3.0, 1.5), (7.9, 4.9))),
                PointTarget(3, 1, ((6.0, 3.0),)),
            ],
        ),
        (
            ImageRecord("sub/b.png", "sub/b.png", HEIGHT, WIDTH),
            [PointTarget(1, 1, ((1.0, 1.0),))],
        ),
    ]


HEAD = "image,x,y,category\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"clicks\.csv: expected the columns image, x, y, category, got an empty file"),
        ("image,x,y\n", r"clicks\.csv:1: expected the columns"),
        ("image,x,y,category,area\n", r"clicks\.csv:1: expected the columns"),
        ("image,x,y,category,x\n", r"clicks\.csv:1: expected the columns"),
        (HEAD, r"clicks\.csv: expected points, got none"),
        (HEAD + "a.png,1,1\n", r"clicks\.csv:2: expected 4 columns, got 3"),
        (HEAD + "a.png,1,1,cat\na.png,one,1,cat\n", r"clicks\.csv:3: x: expected a number"),
        (HEAD + "a.png,nan,1,cat\n", r"clicks\.csv:2: expected a point inside 8 x 5 pixels"),
        (HEAD + "a.png,8,1,cat\n", r"clicks\.csv:2: expected a point inside 8 x 5 pixels"),
        (HEAD + "a.png,1,-0.1,cat\n", r"clicks\.csv:2: expected a point inside"),
        (HEAD + "a.png,1,1,cat\na.png,1.5,1,dog\n", r":3: expected at most one point .*csv:2$"),
        (HEAD + "a.png,1,1,\n", r"clicks\.csv:2: category: expected text"),
        (HEAD + "a.png,1,1,c\x1b[1m\n", r"clicks\.csv:2: category: expected text"),
        (HEAD + "../a.png,1,1,cat\n", r"clicks\.csv:2: expected a relative path inside"),
        (HEAD + "/etc/passwd,1,1,cat\n", r"clicks\.csv:2: expected a relative path inside"),
        (HEAD + "none.png,1,1,cat\n", r"csv:2: .*none\.png: expected a picture, but"),
        (HEAD + 'a.png,1,1,"cat\n', r"clicks\.csv:2: expected CSV"),
        (HEAD + "a.png,1,1," + "c" * 200_000, r"clicks\.csv:\d: expected CSV"),
    ],
)
def test_csv_that_is_none(photos, tmp_path, text, message):
    path = table(tmp_path, text)
    with pytest.raises(DataError, match=message):
        to_labels(read_csv(path, Pictures(photos)), path)


def test_csv_in_another_encoding(photos, tmp_path):
    (tmp_path / "clicks.csv").write_bytes(HEAD.encode() + b"a.png,1,1,\xff\n")
    with pytest.raises(DataError, match=r"clicks\.csv: expected UTF-8 text"):
        read_csv(tmp_path / "clicks.csv", Pictures(photos))


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
    ("content", "message"),
    [
        (labelme([shape(), shape(shape_type="polygon")]), r"shapes\[1\]\.shape_type: expected 'po"),
        (labelme([shape(shape_type="circle")]), r"shapes\[0\]\.shape_type: expected 'point'"),
        (labelme([shape(points=[[1, 2], [3, 4]])]), r"shapes\[0\]\.points: expected one \[x, y\]"),
        (labelme([shape(points=[[1, "2"]])]), r"shapes\[0\]\.points: expected a list of"),
        (labelme([shape(group_id=-1)]), r"shapes\[0\]\.group_id: expected an integer"),
        (labelme([shape(label="")]), r"shapes\[0\]\.label: expected a non-empty string"),
        (labelme([shape(points=[[8, 0]])]), r"shapes\[0\]: expected a point inside 8 x 5"),
        (
            labelme([shape()], imageHeight=6),
            r"imagePath: expected the size of .*, 8 x 5, got 8 x 6",
        ),
        (labelme([shape()], imagePath=".."), "imagePath: expected a relative path inside"),
        (labelme([shape()], imagePath="no.png"), r"no\.png: expected a picture"),
        ({"shapes": []}, "imagePath: expected a non-empty string"),
        ([], "expected a JSON of labelme, got a JSON list"),
    ],
)
def test_labelme_that_is_none(photos, tmp_path, content, message):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=message) as caught:
        to_labels(read_labelme(path, Pictures(photos)), path)
    assert str(caught.value).startswith(str(path))


def test_labelme_replaces_no_file(tmp_path):
    record = ImageRecord("a.png", "a.png", HEIGHT, WIDTH)
    labels = PointLabels(CATEGORIES, [(record, [PointTarget(1, 3, ((0.0, 0.0),))])])
    write_labelme(tmp_path, labels)
    with pytest.raises(DataError, match=r"a\.json: expected a new name to write"):
        write_labelme(tmp_path, labels)
    twice = PointLabels(CATEGORIES, [*labels.images, (ImageRecord(2, "a.jpg", 1, 1), [])])
    with pytest.raises(DataError, match="names of images that differ before the suffix"):
        write_labelme(tmp_path / "new", twice)


BOMB = (
    '<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]>'
    "<annotations>&c;</annotations>"
)
OUTSIDE = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><annotations>&b;</annotations>'
POINT = '<points label="cat" points="1,1"/>'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, r"a\.xml:1: expected XML without a document type"),
        (OUTSIDE, r"a\.xml:1: expected XML without a document type"),
        ("<annotations>&b;</annotations>", r"a\.xml: expected an XML of CVAT \(undefined entity"),
        ("<annotations>", r"a\.xml: expected an XML of CVAT \(no element found"),
        ("<html/>", r"a\.xml:1: expected <annotations>, got <html>"),
        (cvat("\n<track/>"), r"a\.xml:2: .* export as 'CVAT for images'"),
        (cvat(cvat_image("\n\n<polygon/>")), r"a\.xml:3: expected <points>, .* got <polygon>"),
        (cvat(cvat_image("<tag label='cat'/>")), "got <tag>"),
        (cvat(cvat_image('\n<points points="1,1"/>')), r"a\.xml:2: label: expected text"),
        (cvat(cvat_image('\n<points label="cat" points="1"/>')), r"a\.xml:2: points: expected x,y"),
        (cvat(cvat_image('<points label="cat" points="1,2;"/>')), "points: expected x,y;x,y;"),
        (cvat(cvat_image('<points label="cat" points="8,2"/>')), "expected a point inside 8 x 5"),
        (cvat(cvat_image('<points label="c" points="1,2" group_id="x"/>')), "group_id: expected"),
        (cvat(cvat_image(POINT, "../a.png")), r"a\.xml:1: name: expected a relative path"),
        (cvat(cvat_image(POINT, size=(5, 9))), r"expected the size of .*, 8 x 5, got 9 x 5"),
        (cvat(cvat_image(POINT, size=("5", "x"))), "width: expected an integer >= 1"),
        (cvat(cvat_image(POINT), cvat_image(POINT)), "expected every image once, got 'a.png'"),
        (cvat(cvat_image("")), "expected points, got none"),
    ],
)
def test_cvat_that_is_none(photos, tmp_path, text, message):
    path = tmp_path / "a.xml"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        to_labels(read_cvat(path, Pictures(photos)), path)
    assert str(path) in str(caught.value)


def test_cvat_shapes_and_attributes(photos, tmp_path):
    """An element of several points is one target, its attributes are not looked at."""
    inside = '<points label="cat" points="1,1;2,2"><attribute name="x">y</attribute></points>'
    (tmp_path / "a.xml").write_text(cvat("<meta><task/></meta>", cvat_image(inside + POINT)))
    with pytest.raises(DataError, match="expected at most one point in a pixel"):
        to_labels(read_cvat(tmp_path / "a.xml", Pictures(photos)), "here")
    other = POINT.replace("1,1", "3,3")
    (tmp_path / "a.xml").write_text(cvat("<meta><task/></meta>", cvat_image(inside + other)))
    ((_, targets),) = to_labels(read_cvat(tmp_path / "a.xml", Pictures(photos)), "here").images
    assert [len(target.points) for target in targets] == [2, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"type": "rectanglelabels"}, r"entry\[0\]\..*result\[0\]\.type: expected 'keypointl"),
        ({"image_rotation": 90}, "image_rotation: expected 0"),
        ({"original_width": 9}, "expected the size of .*, 8 x 5, got 9 x 5"),
        ({"original_width": None}, "original_width: expected an integer"),
        ({"value": {"x": 101, "y": 0, "keypointlabels": ["cat"]}}, r"value\.x: expected a number"),
        (
            {"value": {"x": 100, "y": 0, "keypointlabels": ["cat"]}},
            "value: expected a point inside",
        ),
        ({"value": {"x": 1, "y": 0, "keypointlabels": ["a", "b"]}}, "keypointlabels: expected one"),
        ({"value": {"x": 1, "y": 0}}, "keypointlabels: expected a list of non-empty strings"),
    ],
)
def test_label_studio_that_is_none(photos, tmp_path, change, message):
    path = tmp_path / "export.json"
    path.write_text(json.dumps([task([key_point("cat", 1, 1) | change])]))
    with pytest.raises(DataError, match=message) as caught:
        to_labels(read_label_studio(path, Pictures(photos)), path)
    assert str(path) in str(caught.value)


def test_label_studio_with_two_annotations(photos, tmp_path):
    path = tmp_path / "export.json"
    twice = task([], annotations=[{"result": []}, {"result": []}])
    path.write_text(json.dumps([twice]))
    with pytest.raises(DataError, match=r"annotations: expected one that was not .* got 2"):
        read_label_studio(path, Pictures(photos))
    path.write_text("{}")
    with pytest.raises(DataError, match="a list of objects, got a JSON object"):
        read_label_studio(path, Pictures(photos))


def test_files_that_are_too_large(photos, tmp_path, monkeypatch):
    path = table(tmp_path, HEAD + "a.png,1,1,cat\n")
    monkeypatch.setattr("point2mask.data.point_files.table.MAX_FILE", 10)
    with pytest.raises(DataError, match="expected a CSV of points of at most 10 bytes, got more"):
        read_csv(path, Pictures(photos))


def test_categories_that_do_not_fit(photos, tmp_path):
    images = read_csv(table(tmp_path, HEAD + "a.png,1,1,dog\n"), Pictures(photos))
    with pytest.raises(DataError, match=r"csv:2: expected one of the categories cat, .*got 'dog'"):
        to_labels(images, "here", CATEGORIES)
    with pytest.raises(DataError, match="here: expected points on the stuff 'grss', got only"):
        to_labels(images, "here", stuff=["grss"])
    twins = {1: Category(1, "dog", True, (0, 0, 0)), 2: Category(2, "dog", True, (0, 0, 0))}
    with pytest.raises(DataError, match="here: expected categories of different names"):
        to_labels(images, "here", twins)


def test_from_the_command_line(photos, tmp_path, capsys):
    def run(*words):
        code = main(["points", *map(str, words)])
        return code, capsys.readouterr()

    clicks = table(tmp_path, HEAD + "a.png,1,1,cat\nsub/b.png,2,2,sky\n")
    out = tmp_path / "points.json"
    command = ["import", "csv", clicks, "--images", photos, "--out", out, "--json"]
    code, said = run(*command, "--stuff", "sky")
    assert code == 0
    assert said.err == f"2 points on 2 targets in 2 images: {out}\n"
    assert json.loads(said.out) == {
        "out": str(out),
        "images": 2,
        "targets": 2,
        "points": 2,
        "categories": {"cat": 1, "sky": 2},
    }
    labels = read_points(out)
    for kind, target in (("csv", tmp_path / "again.csv"), ("labelme", tmp_path / "labelme")):
        assert run("export", kind, "--points", out, "--out", target)[0] == 0
        back = tmp_path / f"{kind}.json"
        options = ["--images", photos, "--categories", out, "--out", back]
        assert run("import", kind, target, *options)[0] == 0
        assert read_points(back) == labels
    write_point_pngs(tmp_path / "pngs", labels, json_path=tmp_path / "panoptic.json")
    annotations = ["--annotations", tmp_path / "panoptic.json", "--out", tmp_path / "back.json"]
    assert run("import", "pngs", tmp_path / "pngs", *annotations)[0] == 0
    assert read_points(tmp_path / "back.json") == labels
    clicks.write_text(HEAD + "a.png,1,1\n")
    out.unlink()
    code, said = run(*command)
    assert (code, said.out) == (2, "")
    assert said.err == f"point2mask: error: {clicks}:2: expected 4 columns, got 3\n"
    assert not out.exists()


def test_points_of_other_tools_can_be_labelled(photos, tmp_path):
    """The JSON that an import writes is what 'point2mask label' takes."""
    labels = to_labels(
        read_csv(table(tmp_path, HEAD + "a.png,1,1,cat\na.png,6,3,dog\n"), Pictures(photos)), "here"
    )
    write_points(tmp_path / "points.json", labels)
    command = ["label", "--images", photos, "--points", tmp_path / "points.json"]
    assert main([*map(str, command), "--out", str(tmp_path / "labels"), "--workers", "1"]) == 0
    assert (tmp_path / "labels" / "panoptic" / "a.png").is_file()
