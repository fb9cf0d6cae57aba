"""Clicks in Label Studio's exports: files by hand, and hostile ones."""

import json

import numpy as np
import pytest
from click_files import HEIGHT, WIDTH

from point2mask.data import DataError, PointTarget, write_rgb
from point2mask.data.formats import Pictures, read_label_studio, to_labels
from point2mask.data.formats.label_studio import picture_names
from point2mask.data.report import Report


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
    pictures = Pictures(photos)
    labels = to_labels(read_label_studio(path, pictures), "here", stuff=["grass"])
    assert pictures.report.left_out == {
        "annotations that were cancelled": [f"{path}: [0].annotations[1]"]
    }
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
        ("s3://bucket/x/y%20z#1?.jpg", "y%20z#1?.jpg"),
        ("https://host/x/y%20z.jpg#1", "y z.jpg"),
        ("y%20z#1?.jpg", "y%20z#1?.jpg"),
        ("/data/upload/3/0123abcd-my%20photo.jpg", "my photo.jpg"),
        ("/data/upload/3/photo.jpg", "photo.jpg"),
        ("/data/local-files/?d=set/a.jpg", "set/a.jpg"),
        ("https://host/x/0123abcd-y.jpg?sig=1", "0123abcd-y.jpg"),
        ("gs://bucket/x/y.jpg", "y.jpg"),
    ],
)
def test_names_of_pictures_in_label_studio(address, name):
    assert picture_names(address)[-1] == name


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("s3://bucket/cat.png", "cat.png"),
        ("s3://bucket/cat#1.png", "cat#1.png"),
        ("gs://bucket/cat?1.png", "cat?1.png"),
        ("cat#1.png", "cat#1.png"),
        ("s3://bucket/a%20cat.png", "a%20cat.png"),
        ("s3://bucket/a%20dog.png", "a dog.png"),
        ("s3://bucket/cat.png?version=3", "cat.png"),
        ("https://host/a%20cat.png", "a cat.png"),
        ("/data/local-files/?d=a%20cat.png", "a cat.png"),
        ("/data/local-files/?d=a+b.png", "a+b.png"),
        ("/data/upload/3/0123abcd-my_cat_2.png", "my cat (2).png"),
        ("/data/upload/3/0123abcd-cat.png", "cat.png"),
        ("/data/upload/3/0123abcf-cat.png", "0123abcf-cat.png"),
    ],
)
def test_pictures_of_odd_names(tmp_path, address, name):
    """Each has a neighbour that a careless reading of the address would take."""
    for file in ("cat.png", "cat#1.png", "cat?1.png", "a cat.png", "a%20cat.png", "a dog.png",
                 "a+b.png", "my cat (2).png", "0123abcf-cat.png"):  # fmt: skip
        write_rgb(tmp_path / "photos" / file, np.zeros((5, 8, 3), np.uint8))
    (tmp_path / "x.json").write_text(json.dumps([task([], image=address)]))
    (image,) = read_label_studio(tmp_path / "x.json", Pictures(tmp_path / "photos"))
    assert image.record.file_name == name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"type": "rectanglelabels"},
            r"got none; left out: 1 results of the kind rectanglelabels, which are no clicks: "
            r".*\[0\]\.annotations\[0\]\.result\[0\]",
        ),
        ({"image_rotation": 90}, "image_rotation: expected 0"),
        ({"original_width": 9}, "expected the size of .*, 8 x 5, got 9 x 5"),
        ({"original_width": None, "original_height": 9}, r"expected the size .*, got \? x 9"),
        ({"original_width": "8"}, "original_width: expected an integer"),
        ({"value": {"x": "1", "y": 0, "keypointlabels": ["cat"]}}, r"value\.x: expected a number"),
        (
            {"value": {"x": 101, "y": 0, "keypointlabels": ["cat"]}},
            "value: expected a point inside",
        ),
        ({"value": {"x": 1, "y": 0, "keypointlabels": ["a", "b"]}}, "keypointlabels: expected one"),
        ({"value": {"x": 1, "y": 0}}, "keypointlabels: expected one label, got 0"),
    ],
)
def test_label_studio_that_is_none(photos, tmp_path, change, message):
    path = tmp_path / "export.json"
    path.write_text(json.dumps([task([key_point("cat", 1, 1) | change])]))
    pictures = Pictures(photos)
    with pytest.raises(DataError, match=message) as caught:
        to_labels(read_label_studio(path, pictures), path, report=pictures.report)
    assert str(path) in str(caught.value)


def test_label_studio_with_two_pictures_in_a_task(photos, tmp_path):
    """Clicks on the second were put on the first."""
    points = [key_point("cat", k, 1, to_name=name) for k, name in ((1, "one"), (9, "two"))]
    (tmp_path / "export.json").write_text(json.dumps([task(points)]))
    with pytest.raises(DataError, match=r"on one picture, got such on several: 'one', 'two'$"):
        read_label_studio(tmp_path / "export.json", Pictures(photos))


@pytest.mark.parametrize(("truth", "kept"), [((), 2), ((0,), 0), ((0, 1), 1)])
def test_label_studio_with_several_annotators(photos, tmp_path, truth, kept):
    """The last that is marked as ground truth counts, else the last; others are named."""
    path = tmp_path / "export.json"
    entries = [
        {"result": [key_point("cat", 10 * n, 0)], "ground_truth": n in truth} for n in range(3)
    ]
    entries.append({"result": [key_point("cat", 90, 0)], "was_cancelled": True})
    path.write_text(json.dumps([task([], annotations=entries)]))
    pictures = Pictures(photos)
    ((_, (target,)),) = to_labels(read_label_studio(path, pictures), "here").images
    assert target.points == ((10 * kept * WIDTH / 100, 0.0),)
    left_out = [f"{path}: [0].annotations[{n}]" for n in range(3) if n != kept]
    assert pictures.report.left_out == {
        "annotations that were cancelled": [f"{path}: [0].annotations[3]"],
        "annotations of tasks that have another": left_out,
    }


def test_what_nobody_submitted_is_left_out_and_counted(photos, tmp_path):
    guess = {"result": [key_point("cat", 50, 50)]}
    tasks = [
        task([key_point("cat", 0, 0)], predictions=[guess], drafts=[guess]),
        {"data": {"image": "0.png"}, "annotations": [], "predictions": [guess], "drafts": [guess]},
    ]
    (tmp_path / "x.json").write_text(json.dumps(tasks))
    report = Report()
    images = read_label_studio(tmp_path / "x.json", Pictures(photos, report=report))
    assert [len(image.clicks) for image in images] == [1, 0]
    assert report.left_out == {
        f"{kind} of tasks that have no annotation": [f"{tmp_path / 'x.json'}: [1].{kind}"]
        for kind in ("predictions", "drafts")
    }


def test_label_studio_that_is_another_file(photos, tmp_path):
    path = tmp_path / "export.json"
    path.write_text(json.dumps([{"image": "a.png", "kp": []}]))
    with pytest.raises(DataError, match="expected a task with data, as the export JSON has it"):
        read_label_studio(path, Pictures(photos))
    path.write_text("{}")
    with pytest.raises(DataError, match="a list of objects, got a JSON object"):
        read_label_studio(path, Pictures(photos))
