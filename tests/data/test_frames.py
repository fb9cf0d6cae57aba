"""The stored and the shown frame of a picture, in every reader that meets them; its rim."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from PIL import Image, ImageOps
from turned_pictures import SIZES, TAGS, red, scene, write_turned

from point2mask.cli import main
from point2mask.data import DataError, ImageRecord, read_points, read_rgb, write_points
from point2mask.data.frames import (
    FRAMES,
    inside,
    orientation,
    point_to_shown,
    point_to_stored,
    to_shown,
    to_stored,
    turned_size,
)
from point2mask.label import label_folder


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_pictures_are_turned_as_pillow_turns_them(tmp_path, tag, size, suffix):
    path = tmp_path / f"a{suffix}"
    exif = Image.Exif()
    exif[0x0112] = tag
    options = {"lossless": True} if suffix == ".webp" else {}
    Image.fromarray(scene(size)).save(path, exif=exif, **options)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(read_rgb(path, frame="shown"), expected)
    stored = read_rgb(path)
    np.testing.assert_array_equal(to_shown(stored, orientation(path)), expected)
    np.testing.assert_array_equal(to_stored(expected, orientation(path)), stored)
    assert turned_size(stored.shape[:2], orientation(path)) == expected.shape[:2]
    # A size that only the other frame has says which one is meant.
    np.testing.assert_array_equal(read_rgb(path, expected.shape[:2], frame="shown"), expected)
    if expected.shape != stored.shape:
        np.testing.assert_array_equal(read_rgb(path, expected.shape[:2]), expected)


@given(
    st.integers(1, 8),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.floats(0, 1, exclude_max=True),
    st.floats(0, 1, exclude_max=True),
)
def test_points_go_with_their_pixels(tag, size, right, down):
    """Also where a point lies on the edge of its pixel; there and back is the same point."""
    x, y = right * size[1], down * size[0]
    numbers = np.arange(size[0] * size[1]).reshape(size)
    shown_x, shown_y = point_to_shown(x, y, size, tag)
    assert to_shown(numbers, tag)[int(shown_y), int(shown_x)] == numbers[int(y), int(x)]
    back = point_to_stored(shown_x, shown_y, size, tag)
    assert [int(v) for v in back] == [int(x), int(y)]
    np.testing.assert_allclose(back, (x, y), atol=1e-9)


@pytest.mark.parametrize(
    ("point", "pixel"),
    [((10, 6), (9, 5)), ((-1e-7, 0), (0, 0)), ((10.009, -0.009), (9, 0)), ((9.99, 5), (9, 5))],
)
def test_the_rim_belongs_to_the_last_pixel(point, pixel):
    x, y = inside(*point, (6, 10), "here")
    assert (int(x), int(y)) == pixel
    assert np.float32(x) < 10
    assert max(abs(x - point[0]), abs(y - point[1])) < 0.011


@pytest.mark.parametrize("point", [(10.02, 1), (1, -0.02), (float("nan"), 1), (1, float("inf"))])
def test_points_outside_are_errors(point):
    with pytest.raises(DataError, match="here: expected a point inside 10 x 6 pixels"):
        inside(*point, (6, 10), "here")


def write_clicks(kind, folder, x, y, size):
    """A file of clicks that says of a.png: a cat at (x, y)."""
    height, width = size
    path = folder / {"csv": "a.csv", "cvat": "a.xml"}.get(kind, "a.json")
    sizes = {"imageHeight": height, "imageWidth": width}
    originals = {"original_height": height, "original_width": width}
    value = {"x": 100 * x / width, "y": 100 * y / height, "keypointlabels": ["cat"]}
    result = {"type": "keypointlabels", "value": value, **originals}
    shape = {"label": "cat", "points": [[x, y]], "shape_type": "point"}
    content = {
        "csv": f"image,x,y,category\na.png,{x},{y},cat\n",
        "cvat": f'<annotations><image name="a.png" width="{width}" height="{height}">'
        f'<points label="cat" points="{x},{y}"/></image></annotations>',
        "labelme": json.dumps({"imagePath": "a.png", "shapes": [shape], **sizes}),
        "label-studio": json.dumps(
            [{"data": {"image": "a.png"}, "annotations": [{"result": [result]}]}]
        ),
    }[kind]
    path.write_text(content)
    return path


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["csv", "labelme", "cvat", "label-studio"])
def test_clicks_of_every_reader_land_in_their_pixel(tmp_path, capsys, kind, tag, size):
    """By the frame of the format, by --frame, and what the tool shows is what is labelled."""
    stored = scene(size)
    write_turned(tmp_path / "photos" / "a.png", stored, tag)
    for frame, option in ((FRAMES[kind], []), *((f, ["--frame", f]) for f in ("stored", "shown"))):
        seen = to_shown(stored, tag) if frame == "shown" else stored
        x, y = red(seen)
        source = write_clicks(kind, tmp_path, x + 0.5, y + 0.25, seen.shape[:2])
        out = tmp_path / "points.json"
        words = [kind, source, "--images", tmp_path / "photos", "--out", out, *option]
        assert main(["points", "import", *map(str, words)]) == 0
        ((record, (target,)),) = read_points(out).images
        assert target.pixels == (red(stored),)
        assert (record.height, record.width, record.frame) == (*size, "stored")
        said = "note: 1 pictures with an EXIF orientation" in capsys.readouterr().err
        assert said == (tag != 1 and not option)


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("kind", ["labelme", "cvat", "label-studio"])
def test_clicks_without_pictures_say_that_they_are_on_what_viewers_show(tmp_path, kind, tag):
    """Labelling turns the picture then, and so does training."""
    stored = scene((6, 10))
    seen = to_shown(stored, tag)
    write_turned(tmp_path / "photos" / "a.png", stored, tag)
    x, y = red(seen)
    source = write_clicks(kind, tmp_path, x, y, seen.shape[:2])
    out = tmp_path / "points.json"
    assert main(["points", "import", kind, str(source), "--out", str(out)]) == 0
    labels = read_points(out)
    ((record, (target,)),) = labels.images
    assert record.frame == "shown"
    pixels = read_rgb(tmp_path / "photos/a.png", (record.height, record.width), frame=record.frame)
    assert target.pixels == (red(pixels),)
    write_points(out, labels)
    assert read_points(out) == labels
    label_folder(tmp_path / "photos", labels, tmp_path / "out")
    (image,) = json.loads((tmp_path / "out" / "panoptic.json").read_text())["images"]
    assert image["exif_frame"] == "shown"
    assert (image["height"], image["width"]) == seen.shape[:2]


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("option", [[], ["--frame", "stored"], ["--frame", "shown"]])
def test_masks_of_coco_are_brought_to_the_stored_frame(tmp_path, tag, size, option):
    stored = scene(size)
    seen = stored if "stored" in option else to_shown(stored, tag)
    write_turned(tmp_path / "photos" / "a.png", stored, tag)
    (x, y), (height, width) = red(seen), seen.shape[:2]
    corners = [x, y, x + 1, y, x + 1, y + 1, x, y + 1]
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": height, "width": width}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [{"image_id": 1, "category_id": 1, "segmentation": [corners]}],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    words = ["--instances", tmp_path / "a.json", "--images", tmp_path / "photos"]
    words += ["--out", tmp_path / "out", *option]
    assert main(["convert", "coco", *map(str, words)]) == 0
    ids = np.asarray(Image.open(tmp_path / "out" / "panoptic_photos" / "a.png"))[..., 0]
    assert ids.shape == size
    assert np.argwhere(ids).tolist() == [[red(stored)[1], red(stored)[0]]]


def test_points_on_the_rim_of_our_own_file(tmp_path):
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 6, "width": 10}],
        "categories": [{"id": 1, "name": "cat", "isthing": 1}],
        "annotations": [
            {"image_id": 1, "segments_info": [{"id": 1, "category_id": 1, "points": [[10, 6]]}]}
        ],
    }
    path = tmp_path / "points.json"
    path.write_text(json.dumps(content))
    ((_, (target,)),) = read_points(path).images
    assert target.pixels == ((9, 5),)


def test_the_writer_takes_only_what_the_reader_takes(tmp_path):
    """Names with line breaks, twice the same, and what leads out of the folder."""
    path = tmp_path / "points.json"
    record = ImageRecord(1, "a.png", 6, 10)
    labels = replace(read_labels(tmp_path), images=[(record, [])])
    write_points(path, labels)
    for name in ("a\nb.png", "a\u2028b.png", "a\udcffb.png", "../a.png", "/a.png", ""):
        other = structs.replace(record, id=2, file_name=name)
        with pytest.raises(DataError):
            write_points(path, replace(labels, images=[(record, []), (other, [])]))
    for name in ("a.png", "./a.png", "x\\..\\a.png"):
        other = structs.replace(record, id=2, file_name=name)
        with pytest.raises(DataError):
            write_points(path, replace(labels, images=[(record, []), (other, [])]))
    assert read_points(path) == labels


def read_labels(folder):
    content = {"images": [], "annotations": [], "categories": []}
    (folder / "empty.json").write_text(json.dumps(content))
    return read_points(folder / "empty.json")


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("option", [[], ["--frame", "stored"], ["--frame", "shown"]])
def test_maps_of_voc_are_in_the_frame_of_their_size(tmp_path, tag, option):
    """As stored where size and option do not tell."""
    stored = scene((6, 10))
    turned = tag > 4 if not option else "shown" in option
    classes = (stored == (255, 0, 0)).all(2).astype(np.uint8)
    seen = to_shown(classes, tag) if turned else classes
    for name in ("a", "b"):
        write_turned(tmp_path / "JPEGImages" / f"{name}.jpg", stored, tag)
        for folder in ("SegmentationClass", "SegmentationObject"):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(np.ascontiguousarray(seen)).save(tmp_path / folder / f"{name}.png")
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\n")
    (lists / "val.txt").write_text("b\n")
    words = ["--voc", tmp_path, "--out", tmp_path / "out", *option]
    assert main(["convert", "voc", *map(str, words)]) == 0
    ids = np.asarray(Image.open(tmp_path / "out" / "voc_panoptic_train" / "a.png"))
    np.testing.assert_array_equal(ids[..., 0] == 1, classes)


def test_a_broken_tag_turns_nothing(tmp_path):
    """Cameras write them: the pixels are whole all the same."""
    pixels = scene((6, 10))
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    path = tmp_path / "a.jpg"
    path.write_bytes(file.getvalue())
    assert orientation(path) == 1
    assert read_rgb(path, frame="shown").shape == (6, 10, 3)
    for value in (0, 9, 300):
        write_turned(path, pixels, value)
        assert orientation(path) == 1


def test_a_tag_behind_the_pixels_of_a_png(tmp_path):
    """Where the format allows it, and no pixel is decoded to find it."""
    path = tmp_path / "a.png"
    write_turned(path, scene((6, 10)), 6)
    content = path.read_bytes()
    start = content.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(content[start : start + 4], "big")
    chunk, rest = content[start:end], content[:start] + content[end:]
    at = rest.index(b"IEND") - 4
    path.write_bytes(rest[:at] + chunk + rest[at:])
    assert orientation(path) == 6
    shown = read_rgb(path, frame="shown")
    np.testing.assert_array_equal(shown, to_shown(scene((6, 10)), 6))
    pixels = rest.index(b"IDAT") + 8
    path.write_bytes(rest[:pixels] + b"\0\0\0\0" + rest[pixels + 4 : at] + chunk + rest[at:])
    assert orientation(path) == 6
    with pytest.raises(DataError):
        read_rgb(path)
