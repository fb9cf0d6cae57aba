"""Point labels in JSON Lines: the same as in JSON, an image at a time, with little memory."""

import json
import tracemalloc

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
    read_panoptic,
    read_points,
    sample_points,
    write_points,
)
from point2mask.data.marks import Marks, Stroke
from point2mask.data.sequences import Mapped, first_repeated
from point2mask.data.shapes import write_shapes

EXAMPLE = PointLabels(
    {
        1: Category(1, "cat", True, (220, 20, 60)),
        7: Category(7, "grass", False, (0, 128, 0)),
    },
    [
        (
            ImageRecord(3, "a.jpg", 5, 6),
            [
                PointTarget(900, 1, ((0.0, 0.0), (5.75, 4.5)), area=12.5),
                PointTarget(2, 7, ((3.0, 2.0),), iscrowd=True),
            ],
        ),
        (ImageRecord("b", "b.jpg", 1, 1), []),
    ],
)
CAT = {1: Category(1, "cat", True, (220, 20, 60))}
HEAD = {"categories": [{"id": 1, "name": "cat", "isthing": 1}]}
SAME_HASH = 2**61 - 1  # the modulus of hashes of integers: this and 0 have one


def line(identity, name=None, points=((0, 0),)):
    image = {"id": identity, "file_name": name or f"{identity!r}.jpg", "height": 5, "width": 6}
    return {"image": image, "segments_info": [{"id": 9, "category_id": 1, "points": points}]}


def write_lines(path, *lines):
    path.write_text("".join(json.dumps(value) + "\n" for value in lines))
    return path


def test_lines_and_json_hold_the_same(tmp_path):
    marks = {3: Marks(((1.0, 1.0),), (Stroke(2, "line", ((0.0, 0.0),), 1.5),), "review")}
    labels = PointLabels(EXAMPLE.categories, EXAMPLE.images, marks)
    for name in ("points.json", "points.jsonl"):
        write_points(tmp_path / name, labels)
        again = read_points(tmp_path / name)
        assert again.categories == labels.categories
        assert list(again.images) == labels.images
        assert again.marks == marks
    assert len((tmp_path / "points.jsonl").read_text().splitlines()) == 3


def test_images_are_a_sequence(tmp_path):
    lines = [line(number, f"{number}.jpg") for number in range(5)]
    images = read_points(write_lines(tmp_path / "points.jsonl", HEAD, *lines)).images
    assert len(images) == 5
    assert images[3][0].file_name == "3.jpg"
    assert [record.id for record, _ in images[1:4:2]] == [1, 3]
    assert images[-1][0].id == 4
    assert images[2][1] == [PointTarget(9, 1, ((0.0, 0.0),))]
    records = PointLabels(CAT, images[1:4]).records
    assert list(records) == [record for record, _ in images[1:4]]
    assert list(PointLabels(CAT, list(images)).records) == [record for record, _ in images]
    with pytest.raises(IndexError):
        images[5]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "line 1"),
        ([{"images": []}], "categories: expected an entry"),
        ([HEAD, line(1), []], "line 3: expected an image with its targets"),
        ([HEAD, line(1), {"image": line(1)["image"]}], "line 3: segments_info: expected"),
        ([HEAD, line(1, points=[(9, 0)])], "line 2: target 9: expected"),
        ([HEAD, line(1, "../a.jpg")], "line 2: image.file_name: expected a relative path"),
        ([HEAD, line(1), line("1"), line(1)], "line 4: expected unique image ids, got 1 again"),
        ([HEAD, line(0), line(SAME_HASH), line(0)], "ids, got 0 again, as in line 2"),
        (
            [HEAD, line(0, "b.jpg"), line(1, "a.jpg"), line(2, "./a.jpg")],
            "line 4: expected every picture once, got 'a.jpg' again, as in line 3",
        ),
    ],
)
def test_faults_name_their_line(tmp_path, lines, message):
    path = write_lines(tmp_path / "points.jsonl", *lines)
    with pytest.raises(DataError, match=r"points\.jsonl") as error:
        read_points(path)
    assert message in str(error.value)


def test_equal_hashes_are_not_equal_ids(tmp_path):
    path = write_lines(tmp_path / "points.jsonl", HEAD, line(0), line(SAME_HASH))
    assert [record.id for record, _ in read_points(path).images] == [0, SAME_HASH]


def test_a_line_without_end_is_refused(tmp_path):
    path = tmp_path / "points.jsonl"
    with path.open("wb") as file:
        file.write(json.dumps(HEAD).encode() + b"\n")
        file.truncate(2**26)  # no memory for what is no line
    with pytest.raises(DataError, match=r"line 2: expected at most 16777216 bytes"):
        read_points(path)


@given(st.lists(st.sampled_from([0, SAME_HASH, 1, "a", 2 * SAME_HASH]), max_size=6))
def test_the_first_repeated_value_is_found(values):
    found = first_repeated(values, values.__getitem__)
    pairs = [
        (values.index(value), index)
        for index, value in enumerate(values)
        if values.index(value) < index
    ]
    assert found == (pairs[0] if pairs else None)


def test_a_mapped_sequence_computes_what_is_asked_for():
    asked = []
    mapped = Mapped(lambda value: asked.append(value) or value * 10, range(5))
    assert (mapped[1], len(mapped), list(mapped[3:])) == (10, 5, [30, 40])
    assert asked == [1, 3, 4]


def test_memory_does_not_grow_with_targets(tmp_path):
    """64 bytes an image, where a JSON takes thousands."""
    count = 2000
    targets = [PointTarget(n, 1, ((float(n), 0.0),)) for n in range(1, 11)]
    images = [(ImageRecord(n, f"{n}.jpg", 8, 64), targets) for n in range(count)]
    write_points(tmp_path / "points.jsonl", PointLabels(CAT, images))
    tracemalloc.start()
    try:
        labels = read_points(tmp_path / "points.jsonl")
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(labels.images) == count
    assert kept < 64 * count


def test_label_makes_the_same_of_lines(tmp_path):
    write_shapes(tmp_path / "shapes", "val", 3, (48, 64))
    dataset = read_panoptic(tmp_path / "shapes" / "annotations" / "panoptic_val.json")
    made = []
    for name in ("points.json", "points.jsonl"):
        write_points(tmp_path / name, sample_points(dataset))
        out = tmp_path / f"of_{name}"
        arguments = ["--images", tmp_path / "shapes/images/val", "--points", tmp_path / name]
        assert main(["label", *map(str, arguments), "--out", str(out), "--workers", "1"]) == 0
        made.append(
            {
                path.relative_to(out): path.read_bytes()
                for path in out.rglob("*.*")
                if path.name != "summary.json"  # it has the time
            }
        )
    assert made[0] == made[1]


@pytest.mark.parametrize(("tail", "right"), [("\n", True), (" \r\n", True), ("\n\n", False)])
def test_an_empty_line_at_the_end_is_none(tmp_path, tail, right):
    path = tmp_path / "p.jsonl"
    write_points(path, EXAMPLE)
    path.write_text(path.read_text() + tail)
    if right:
        assert [*read_points(path).images] == [*EXAMPLE.images]
    else:
        with pytest.raises(DataError, match=r"line \d: expected an image, got an empty line"):
            read_points(path)
