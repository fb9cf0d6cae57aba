"""Files as tools and web sites export them: what belongs to clicks is read, the rest is counted."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from point2mask.cli import main
from point2mask.data import read_panoptic, write_rgb


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    names = (
        "a.jpg",
        "train/a.jpg",
        "val/a.jpg",
        "video/frame_000000.PNG",
        "video/frame_000007.PNG",
    )
    for name in names:
        Image.new("RGB", (20, 10)).save(make(folder / name))
    return folder


def make(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


@pytest.fixture
def imported(photos, tmp_path, capsys):
    """Clicks by picture, and what the command said."""

    def run(kind, text, *more, images=photos, code=0):
        source = tmp_path / ("f.xml" if kind == "cvat" else "f.json")
        source.write_text(text)
        out = tmp_path / "p.json"
        words = [kind, source, *(("--images", images) if images else ()), "--out", out, *more]
        assert main(["points", "import", *map(str, words)]) == code
        said = capsys.readouterr().err
        if code:
            return said
        root = json.loads(out.read_text())
        names = {image["id"]: image["file_name"] for image in root["images"]}
        clicks = {
            names[a["image_id"]]: [(t["id"], t["points"]) for t in a["segments_info"]]
            for a in root["annotations"]
        }
        return clicks, said

    return run


CVAT_PROJECT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version>
<meta><project><id>3</id><name>cells</name><labels><label><name>cat</name></label></labels>
<subsets>train\nval</subsets></project><dumped>2024-03-05</dumped></meta>
<image id="0" name="a.jpg" subset="train" task_id="7" width="20" height="10">
  <points label="cat" source="manual" occluded="0" points="3.50,1.50" z_order="0">
    <attribute name="truncated">false</attribute></points>
  <box label="cat" source="manual" occluded="0" xtl="1" ytl="1" xbr="2" ybr="2" z_order="0"></box>
  <skeleton label="body"><points label="1" occluded="0" points="9,9"></points></skeleton>
  <tag label="night" source="manual"></tag>
</image>
<image id="1" name="a.jpg" subset="val" task_id="8" width="20" height="10">
  <points label="cat" source="manual" occluded="0" points="5.50,2.50;6.00,2.50"></points>
  <mask label="cat" source="manual" occluded="0" rle="3, 4" left="1" top="1" width="2" height="2"/>
</image>
</annotations>"""

CVAT_VIDEO = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version>
<meta><task><id>7</id><size>9</size><original_size><width>20</width><height>10</height>
</original_size></task></meta>
<track id="0" label="cat" source="manual">
  <points frame="0" keyframe="1" outside="0" occluded="0" points="3.5,1.5" z_order="0"></points>
  <points frame="3" keyframe="1" outside="1" occluded="0" points="3.5,1.5" z_order="0"></points>
  <points frame="7" keyframe="1" outside="0" occluded="0" points="4.5,1.5" z_order="0"></points>
</track>
<track id="1" label="dog" source="manual">
  <points frame="7" keyframe="1" outside="0" occluded="0" points="9.5,5.5" z_order="0"></points>
</track>
<track id="2" label="dog"><box frame="7" xtl="1" ytl="1" xbr="2" ybr="2" outside="0"></box></track>
</annotations>"""


def test_a_project_of_cvat_with_subsets_and_other_shapes(imported):
    clicks, said = imported("cvat", CVAT_PROJECT)
    assert clicks == {
        "train/a.jpg": [(1, [[3.5, 1.5]])],
        "val/a.jpg": [(1, [[5.5, 2.5], [6.0, 2.5]])],
    }
    for kind in ("box", "skeleton", "tag", "mask"):
        assert f"left out: 1 shapes of the kind {kind}, which are no clicks: " in said
    said = imported("cvat", CVAT_PROJECT, images=None, code=2)
    assert "expected every image once, got 'a.jpg' again (images of one name in different" in said


def test_a_video_of_cvat(imported):
    """A track is one target, with its number in every frame; frames have the names CVAT gives."""
    expected = {
        "frame_000000.PNG": [(1, [[3.5, 1.5]])],
        "frame_000007.PNG": [(1, [[4.5, 1.5]]), (2, [[9.5, 5.5]])],
    }
    clicks, said = imported("cvat", CVAT_VIDEO, images=None)
    assert clicks == expected
    assert "left out: 1 shapes of the kind box, which are no clicks: " in said
    clicks, _ = imported("cvat", CVAT_VIDEO)
    assert clicks == {f"video/{name}": targets for name, targets in expected.items()}


def key_point(x, y, **more):
    value = {"x": x, "y": y, "width": 0.3, "keypointlabels": ["cat"]}
    return {"id": "a", "type": "keypointlabels", "value": value, **more}


def label_studio(results, **data):
    return json.dumps([{"id": 1, "data": data or {"image": "/x/a.jpg"}, "annotations": [
        {"id": 1, "result": results, "was_cancelled": False}]}])  # fmt: skip


def test_choices_and_relations_of_label_studio(imported):
    results = [
        key_point(10, 20, original_width=20, original_height=10, image_rotation=0),
        {"type": "choices", "from_name": "q", "to_name": "img", "value": {"choices": ["good"]}},
        {"type": "relation", "from_id": "a", "to_id": "b", "direction": "right"},
        {"type": "rectanglelabels", "value": {"x": 1, "y": 1, "width": 5, "height": 5}},
    ]
    clicks, said = imported("label-studio", label_studio(results))
    assert clicks == {"a.jpg": [(1, [[2.0, 2.0]])]}
    for kind in ("choices", "relation", "rectanglelabels"):
        assert f"left out: 1 results of the kind {kind}, which are no clicks: " in said
    said = imported("label-studio", label_studio(results), "--strict", code=2)
    assert "result[1]: results of the kind choices, which are no clicks would be left out" in said


@pytest.mark.parametrize("data", [
    {"photo": "/data/upload/4/0a1b2c3d-a.jpg", "camera": "left", "lot": 7},
    {"url": "https://host/train/a.jpg?token=1&x=.png"},
    {"image": "s3://bucket/cells/val/a.jpg", "thumb": "/t/b.png"},
    {"img": "/data/local-files/?d=val%5Ca.jpg", "text": "a note"},
    {"local": "/data/local-files/?d=C%3A%5Cphotos%5Cval%5Ca.jpg"},
])  # fmt: skip
def test_addresses_of_label_studio(imported, data):
    clicks, _ = imported("label-studio", label_studio([key_point(10, 20)], **data))
    assert list(clicks.values()) == [[(1, [[2.0, 2.0]])]]
    (name,) = clicks
    folder = {"photo": "", "url": "train/", "image": "val/"}.get(next(iter(data)), "val/")
    assert name == f"{folder}a.jpg"


@pytest.mark.parametrize(("data", "named"), [
    ({"one": "a.jpg", "two": "val/a.jpg"}, "expected an image, or one entry .*, got one, two"),
    ({"text": "a note", "lot": 3}, "expected an image, or one entry .*, got text, lot"),
    ({"image": 3}, "expected the address of a picture, got 3"),
    ({"image": "data:image/png;base64," + "A" * 9000}, r"expected the address .*:.{71}\.\.\.$"),
    ({"image": "http://[x/b.jpg"}, "no such file"),
])  # fmt: skip
def test_addresses_of_label_studio_that_are_none(imported, data, named):
    said = imported("label-studio", label_studio([key_point(10, 20)], **data), code=2)
    assert re.search(named, said), said
    assert said.count("\n") == 1


@pytest.fixture
def coco(tmp_path, capsys):
    """The areas of segments of a.png by id, and what was said."""
    write_rgb(tmp_path / "pics" / "a.png", np.zeros((10, 20, 3), np.uint8))

    def run(*segmentations, code=0, more=()):
        content = {
            "images": [{"id": 1, "file_name": "a.png", "height": 10, "width": 20}],
            "categories": [{"id": 0, "name": "cells", "supercategory": "none"}],
            "annotations": [
                {"image_id": 1, "category_id": 0, "bbox": [0, 0, 1, 1], "segmentation": s}
                for s in segmentations
            ],
        }
        (tmp_path / "f.json").write_text(json.dumps(content))
        words = ["--instances", tmp_path / "f.json", "--images", tmp_path / "pics"]
        assert (
            main(["convert", "coco", *map(str, words), "--out", str(tmp_path / "out"), *more])
            == code
        )
        said = capsys.readouterr().err
        if code:
            return said
        (image,) = read_panoptic(tmp_path / "out" / "panoptic_pics.json").images
        return {segment.id: segment.area for segment in image.segments}, said

    return run


SQUARE = [2, 2, 6, 2, 6, 6, 2, 6]
LISTS = {"size": [10, 20], "counts": [110, 10, 80]}


def test_segmentations_of_coco_of_every_kind(coco):
    from pycocotools import mask

    column = np.zeros((10, 20), np.uint8, order="F")
    column[:, 14] = 1
    text = {"size": [10, 20], "counts": mask.encode(column)["counts"].decode()}
    areas, said = coco([SQUARE], LISTS, text, [], None, [[]], [[8, 8, 9, 9]])
    assert areas == {1: 16, 2: 10, 3: 10}
    assert "left out: 4 annotations without a mask: " in said


@pytest.mark.parametrize("segmentation", [
    None, [], [[]], [[2, 2, 6, 2]],
    [[2, 2, 6, 2, 6, 2]],  # three corners on a line
    [[-9, -9, -5, -9, -5, -5]],
    {"size": [10, 20], "counts": [200]},
    {"size": [10, 20], "counts": [50, 0, 150]},
    {"size": [10, 20], "counts": "X6"},
])  # fmt: skip
def test_where_an_object_has_no_mask_is_no_background(coco, tmp_path, segmentation):
    areas, said = coco([SQUARE], segmentation, more=["--background", "grass"])
    assert areas == {1: 16, 3: 200 - 16 - 1}  # the box of each object is its first pixel
    assert re.search(
        r"^left out: 1 annotations (without a|whose) mask.*: .*annotations\[1\]$", said, re.M
    )


@pytest.mark.parametrize("name", ["cells", ""])
def test_a_background_has_a_name_of_its_own(coco, name):
    said = coco([SQUARE], more=["--background", name], code=2)
    assert said.count("\n") == 1
    assert "the background" in said


@pytest.mark.parametrize(("segmentation", "named"), [
    ([[2, 2, 6, 2, 6]], r"segmentation[0]: expected x and y of every corner, got 5 numbers"),
    ([[2, 2, 600, 2, 6, 6]], "segmentation[0]: expected corners near 20 x 10 pixels, got (600"),
    ({"size": [20, 10], "counts": [200]}, "segmentation.size: expected [10, 20]"),
    ({"size": [10, 20], "counts": [7]}, "segmentation.counts: expected runs of 20 x 10 = 200"),
    ("text", "segmentation: expected "),
])  # fmt: skip
def test_segmentations_of_coco_that_are_none(coco, segmentation, named):
    said = coco([SQUARE], segmentation, code=2)
    assert f"annotations[1].{named}" in said
    assert said.count("\n") == 1
