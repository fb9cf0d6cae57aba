"""COCO panoptic layout: round trips, agreement with real files, and files that want to do harm."""

import json
import os
import struct
import warnings
import zlib

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from point2mask.data import (
    Category,
    DataError,
    ImageRecord,
    Segment,
    SizeLimit,
    read_panoptic,
    read_rgb,
    segment_areas,
    segment_labels,
    write_panoptic,
    write_rgb,
)
from point2mask.data.records import default_color
from point2mask.data.segments import segment_boxes

CATEGORIES = {
    1: Category(1, "cat", True, (220, 20, 60)),
    7: Category(7, "grass", False, (0, 128, 0)),
}
IDS = np.array([[0, 5, 5, 5], [300, 300, 5, 70000], [300, 300, 0, 70000]], np.int32)
SEGMENTS = (Segment(5, 1), Segment(300, 7), Segment(70000, 1, iscrowd=True))


def write_example(folder, ids=IDS, segments=SEGMENTS):
    record = ImageRecord(42, "a/b.jpg", *ids.shape)
    return write_panoptic(folder / "panoptic.json", None, CATEGORIES, [(record, ids, segments)])


def edit(folder, change):
    path = folder / "panoptic.json"
    root = json.loads(path.read_text())
    change(root)
    path.write_text(json.dumps(root))
    return path


segment_maps = hnp.arrays(
    np.int32,
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    elements=st.sampled_from([0, 1, 2, 255, 256, 65535, 65536, 2**24 - 1]),
)


@given(ids=segment_maps)
def test_written_maps_come_back(tmp_path, ids):
    segments = [Segment(int(i), 1 if i % 2 else 7) for i in np.unique(ids) if i]
    written = write_example(tmp_path, ids, segments)
    got = read_panoptic(tmp_path / "panoptic.json")
    assert got == written
    np.testing.assert_array_equal(got.segment_map(got.images[0]), ids)
    for segment in got.images[0].segments:
        assert segment.area == (ids == segment.id).sum()


def test_areas_boxes_and_names_by_hand(tmp_path):
    write_example(tmp_path)
    root = json.loads((tmp_path / "panoptic.json").read_text())
    assert root["images"] == [{"id": 42, "file_name": "a/b.jpg", "height": 3, "width": 4}]
    annotation = root["annotations"][0]
    assert annotation["file_name"] == "a/b.png"
    assert [s["area"] for s in annotation["segments_info"]] == [4, 4, 2]
    assert [s["bbox"] for s in annotation["segments_info"]] == [
        [1, 0, 3, 2],
        [0, 1, 2, 2],
        [3, 1, 1, 2],
    ]
    assert [s["iscrowd"] for s in annotation["segments_info"]] == [0, 0, 1]
    pixels = np.array(Image.open(tmp_path / "panoptic" / "a" / "b.png"))
    assert pixels[1, 3].tolist() == [70000 % 256, 70000 // 256 % 256, 70000 // 65536]
    assert {p.name for p in tmp_path.iterdir()} == {"panoptic.json", "panoptic"}


@given(ids=segment_maps)
def test_compact_labels_and_boxes_agree_with_masks(ids):
    present = [int(i) for i in np.unique(ids) if i]
    labels = segment_labels(ids, [*present, 77])
    boxes = segment_boxes(labels, len(present) + 1)
    for label, identity in enumerate(present, start=1):
        mask = ids == identity
        np.testing.assert_array_equal(labels == label, mask)
        rows, columns = np.nonzero(mask)
        x, y, width, height = boxes[label - 1]
        assert (x, y) == (columns.min(), rows.min())
        assert (x + width, y + height) == (columns.max() + 1, rows.max() + 1)
        assert segment_areas(ids)[identity] == mask.sum()
    assert not boxes[-1].any()


@pytest.mark.data
@pytest.mark.parametrize("name", ["coco_mini", "penn_fudan", "nuclei"])
def test_real_files_are_rewritten_alike(data_root, tmp_path, name):
    source = data_root / name / "annotations" / "panoptic_val.json"
    dataset = read_panoptic(source)
    items = [(i.record, dataset.segment_map(i), i.segments) for i in dataset.images]
    write_panoptic(tmp_path / "x.json", tmp_path / "masks", dataset.categories, items)
    theirs, ours = (json.loads(p.read_text()) for p in (source, tmp_path / "x.json"))
    assert len(ours["annotations"]) == len(theirs["annotations"])
    for got, expected in zip(ours["annotations"], theirs["annotations"], strict=True):
        # Areas and boxes of the published JSON, which others computed.
        assert got["segments_info"] == [
            {key: segment[key] for key in got["segments_info"][0]}
            for segment in expected["segments_info"]
        ]


def test_default_colours_are_repeatable_and_distinct(tmp_path):
    write_example(tmp_path)
    edit(tmp_path, lambda root: [c.pop("color") for c in root["categories"]])
    got = read_panoptic(tmp_path / "panoptic.json").categories
    assert got[1].color == default_color(1) == default_color(1)
    colors = [default_color(i) for i in range(200)]
    assert len(set(colors)) == len(colors)
    assert all(0 <= part <= 255 for color in colors for part in color)


def segments_of(root):
    return root["annotations"][0]["segments_info"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.pop("images"), "images: expected a list, got none"),
        (lambda r: r.update(annotations={}), "annotations: expected a list, got an object"),
        (lambda r: r["annotations"].append(3), r"annotations\[1\]: expected an object, got 3"),
        (
            lambda r: r["annotations"].clear(),
            "an annotation for every image, got none for image 42",
        ),
        (lambda r: r["annotations"].append(r["annotations"][0]), "one annotation an image"),
        (lambda r: r["annotations"][0].update(image_id=1), "image_id: expected the id of one of"),
        (lambda r: r["images"].append(r["images"][0]), "unique image ids, got 42 again"),
        (
            lambda r: r["images"][0].update(id=None),
            r"images\[0\]\.id: expected an integer or text, got",
        ),
        (
            lambda r: r["images"][0].update(id=True),
            r"images\[0\]\.id: expected an integer or text, got",
        ),
        (lambda r: r["images"][0].update(height=0), "height: expected an integer >= 1, got 0"),
        (
            lambda r: r["images"][0].update(width=20000),
            "at most 16384 pixels a side .* got 20000 x 3",
        ),
        (lambda r: r["images"][0].update(width=4.0), r"images\[0\].width: expected an integer"),
        (
            lambda r: r["images"][0].update(width=16384, height=16384),
            r"images\[0\]: expected at most 16384 pixels a side and 100000000 in all",
        ),
        (lambda r: r["categories"].append(r["categories"][0]), "unique category ids, got 1 again"),
        (
            lambda r: r["categories"][0].update(isthing=2),
            r"categories\[0\].isthing: expected an integer <= 1",
        ),
        (
            lambda r: r["categories"][0].update(color=[1, 2, 256]),
            r"color\[2\]: expected an integer <= 255",
        ),
        (lambda r: r["categories"][0].update(name="\x1b[31m"), "name: .* without control charac"),
        (lambda r: r["categories"][0].update(name="\ud800"), r"it is not valid JSON \(.*escape"),
        (lambda r: segments_of(r)[0].update(id=0), r"segments_info\[0\].id: expected an integer"),
        (lambda r: segments_of(r)[0].update(id=2**24), "id: expected an integer <= 16777215, got"),
        (lambda r: segments_of(r)[1].update(id=5), "unique segment ids in an image, got 5 again"),
        (lambda r: segments_of(r)[1].update(category_id=3), "category_id: expected the id of one"),
        (lambda r: segments_of(r)[1].update(area=-1), "area: expected an integer >= 0, got -1"),
        (lambda r: segments_of(r)[1].update(area=2**62), "area: expected an integer <= 46"),
        (lambda r: segments_of(r)[1].update(area=1e300), "area: expected a number <= 4"),
        (lambda r: segments_of(r)[1].update(iscrowd="no"), "iscrowd: expected 0 or 1, got 'no'"),
    ],
)
def test_rejects_json_of_another_layout(tmp_path, change, message):
    write_example(tmp_path)
    path = edit(tmp_path, change)
    with pytest.raises(DataError, match=message) as caught:
        read_panoptic(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[1]", b"\xff\xfe", b'{"a": NaN}', b"[" * 100_000, b"1" * 10_000, b"null"],
)
def test_rejects_files_that_are_no_json_object(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"x\.json: expected a COCO panoptic JSON"):
        read_panoptic(path)


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../x.png", "a/../../x.png", "", "..", "C:\\x.png"]
)
@pytest.mark.parametrize("place", ["images", "annotations"])
def test_rejects_paths_that_leave_the_folder(tmp_path, name, place):
    write_example(tmp_path)
    path = edit(tmp_path, lambda root: root[place][0].update(file_name=name))
    with pytest.raises(DataError, match=r"file_name: expected (a relative path|text)"):
        read_panoptic(path)


def test_rejects_links_that_leave_the_folder(tmp_path):
    dataset = write_example(tmp_path / "set")
    inside = dataset.mask_path(dataset.images[0])
    outside = tmp_path / "outside.png"
    inside.rename(outside)
    inside.symlink_to(outside)
    with pytest.raises(DataError, match="expected a file inside"):
        dataset.segment_map(dataset.images[0])
    with pytest.raises(DataError, match="expected a file inside"):
        write_example(tmp_path / "set")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_does_not_wait_for_a_pipe(tmp_path):
    dataset = write_example(tmp_path)
    path = dataset.mask_path(dataset.images[0])
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DataError, match="not an ordinary file"):
        dataset.segment_map(dataset.images[0])


def test_names_a_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"none\.json: expected a COCO .*No such file"):
        read_panoptic(tmp_path / "none.json")
    dataset = write_example(tmp_path)
    dataset.mask_path(dataset.images[0]).unlink()
    with pytest.raises(DataError, match=r"b\.png: expected a PNG of 4 x 3 pixels.*No such file"):
        dataset.segment_map(dataset.images[0])


def broken_map(tmp_path, content):
    dataset = write_example(tmp_path)
    path = dataset.mask_path(dataset.images[0])
    path.write_bytes(content(path.read_bytes()) if callable(content) else content)
    with pytest.raises(DataError) as caught:
        dataset.segment_map(dataset.images[0])
    assert str(path) in str(caught.value)
    return str(caught.value)


def encoded(pixels, tmp_path, **options):
    Image.fromarray(pixels).save(tmp_path / "encoded", **{"format": "PNG", **options})
    return (tmp_path / "encoded").read_bytes()


def test_rejects_maps_of_another_kind(tmp_path):
    rgb = np.zeros((3, 4, 3), np.uint8)
    assert "not a PNG" in broken_map(tmp_path, b"")
    assert "not a PNG" in broken_map(tmp_path, encoded(rgb, tmp_path, format="JPEG"))
    assert "8-bit RGB" in broken_map(tmp_path, encoded(rgb[..., 0], tmp_path))
    assert "8-bit RGB" in broken_map(tmp_path, encoded(np.dstack([rgb, rgb[..., :1]]), tmp_path))
    assert "got 4 x 2" in broken_map(tmp_path, encoded(rgb[:2], tmp_path))
    rgb[0, 0] = 9
    assert "every id to have a segment, got 592137" in broken_map(tmp_path, encoded(rgb, tmp_path))
    rgb[:] = 0
    assert "every segment, got none of 5" in broken_map(tmp_path, encoded(rgb, tmp_path))


def test_rejects_a_header_beyond_the_limit_without_decoding(tmp_path):
    def chunk(kind, content):
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    header = struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    assert "at most 16384 pixels a side" in broken_map(tmp_path, bomb)
    (tmp_path / "bomb.png").write_bytes(bomb)
    with pytest.raises(DataError, match=r"bomb\.png"):
        read_rgb(tmp_path / "bomb.png")


def test_limit_can_be_set(tmp_path):
    write_example(tmp_path)
    with pytest.raises(DataError, match=r"expected at most 9 pixels a side and 11 in all"):
        read_panoptic(tmp_path / "panoptic.json", limit=SizeLimit(9, 11))
    assert read_panoptic(tmp_path / "panoptic.json", limit=SizeLimit(9, 12)).limit.pixels == 12


@examples(200)
@given(data=st.data())
def test_damaged_maps_are_read_right_or_refused(tmp_path, data):
    dataset = write_example(tmp_path)
    path = dataset.mask_path(dataset.images[0])
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a warning would be a leak of Pillow's
        try:
            got = dataset.segment_map(dataset.images[0])
        except DataError:
            return
    # PNG's checksums make an unnoticed change of pixels a matter of 1 in 2^32.
    np.testing.assert_array_equal(got, IDS)


def test_refuses_to_write_what_could_not_be_read(tmp_path):
    def write(ids=IDS, segments=SEGMENTS, size=(3, 4), name="a.jpg"):
        item = (ImageRecord(1, name, *size), ids, segments)
        write_panoptic(tmp_path / "out.json", None, CATEGORIES, [item])

    with pytest.raises(DataError, match="expected every id to have a segment, got 70000"):
        write(segments=SEGMENTS[:2])
    with pytest.raises(DataError, match="expected pixels for every segment, got none of 9"):
        write(segments=(*SEGMENTS, Segment(9, 1)))
    with pytest.raises(DataError, match=r"unique segment ids in .* got 5"):
        write(segments=(*SEGMENTS, Segment(5, 1)))
    with pytest.raises(DataError, match="expected a known category, got 2"):
        write(segments=(*SEGMENTS[1:], Segment(5, 2)))
    with pytest.raises(DataError, match="segment map of 5 x 3 pixels, got shape"):
        write(size=(3, 5))
    with pytest.raises(DataError, match="relative path"):
        write(name="../a.jpg")
    assert not (tmp_path / "out.json").exists()


def test_a_failed_write_leaves_no_index_of_masks_that_are_not_there(tmp_path):
    write_example(tmp_path)

    def items():
        yield ImageRecord(42, "a/b.jpg", 3, 4), IDS, SEGMENTS
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_panoptic(tmp_path / "panoptic.json", None, CATEGORIES, items())
    assert not (tmp_path / "panoptic.json").exists()
    assert not list(tmp_path.rglob("*.tmp"))


def test_two_images_of_one_mask_name_are_refused(tmp_path):
    items = [(ImageRecord(i, f"a.{s}", 3, 4), IDS, SEGMENTS) for i, s in enumerate(("jpg", "png"))]
    with pytest.raises(DataError, match="unique image ids and names"):
        write_panoptic(tmp_path / "out.json", None, CATEGORIES, items)


def test_result_files_take_images_and_categories_from_the_truth(tmp_path):
    truth = write_example(tmp_path)
    path = edit(tmp_path, lambda root: [root.pop(key) for key in ("images", "categories")])
    with pytest.raises(DataError, match="categories: expected a list"):
        read_panoptic(path)
    assert read_panoptic(path, layout_of=truth).images[0].record == truth.images[0].record


def test_ids_of_images_may_be_strings(tmp_path):
    record = ImageRecord("frankfurt_000", "é.png", 3, 4)
    written = write_panoptic(tmp_path / "p.json", None, CATEGORIES, [(record, IDS, SEGMENTS)])
    assert read_panoptic(tmp_path / "p.json") == written


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".webp", ".jpg"])
def test_pictures_come_back(tmp_path, suffix):
    y, x = np.mgrid[:24, :32]
    pixels = np.stack([x * 8, y * 10, x + y], -1).astype(np.uint8)
    write_rgb(tmp_path / f"a{suffix}", pixels)
    got = read_rgb(tmp_path / f"a{suffix}", size=(24, 32))
    # Lossy at quality 95 is within a few grey levels on a smooth picture.
    assert np.abs(got.astype(int) - pixels).mean() < (0.1 if suffix in (".png", ".bmp") else 6)
    with pytest.raises(DataError, match="expected a picture of 31 x 24 pixels, got 32 x 24"):
        read_rgb(tmp_path / f"a{suffix}", size=(24, 31))


def test_rejects_pictures_that_are_none(tmp_path):
    (tmp_path / "a.jpg").write_text("no picture")
    with pytest.raises(DataError, match=r"a\.jpg: expected an image as JPEG or PNG"):
        read_rgb(tmp_path / "a.jpg")
    write_rgb(tmp_path / "c.jpg", np.zeros((40, 40, 3), np.uint8))
    (tmp_path / "c.jpg").write_bytes((tmp_path / "c.jpg").read_bytes()[:-30])
    with pytest.raises(DataError, match=r"c\.jpg: expected a complete image, but .* truncated"):
        read_rgb(tmp_path / "c.jpg")
    Image.fromarray(np.zeros((4, 4, 3), np.uint8), "LAB").save(tmp_path / "b.tiff")
    with pytest.raises(DataError, match="grey or colours, got pixels of type LAB"):
        read_rgb(tmp_path / "b.tiff")
    with pytest.raises(DataError, match="suffix such as"):
        write_rgb(tmp_path / "a.txt", np.zeros((4, 4, 3), np.uint8))
