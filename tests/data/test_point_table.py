"""Point labels in Parquet: the same as in JSON, a group of images at a time."""

import base64
import json
import os
import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from compact_protocol import integer
from hypothesis import given
from hypothesis import strategies as st
from label_folders import masks_and_index, run

from point2mask.data import (
    Category,
    DataError,
    ImageRecord,
    PointLabels,
    PointTarget,
    parquet_footer,
    read_panoptic,
    read_points,
    sample_points,
    write_points,
)
from point2mask.data import parquet_groups as groups
from point2mask.data import point_table as module
from point2mask.data.marks import Marks, Stroke
from point2mask.data.shapes import write_shapes

pa = pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
parquet = pytest.importorskip("pyarrow.parquet")

UNCOUNTED = pa.default_memory_pool()
COUNTED = pa.proxy_memory_pool(UNCOUNTED)
KEPT = [COUNTED]  # they must outlive what is read

CATEGORIES = {
    1: Category(1, "cat", True, (220, 20, 60)),
    7: Category(7, "grass", False, (0, 128, 0)),
}
HEAD = json.dumps([{"id": 1, "name": "cat", "isthing": 1}])


def images(count, name=int):
    return [
        (
            ImageRecord(name(number), f"{number}.jpg", 5, 6, "shown" if number % 3 else "stored"),
            [
                PointTarget(900, 1, ((0.0, 0.0), (5.75, 4.5)), area=12.5),
                PointTarget(2, 7, ((3.0, 2.0),), iscrowd=True),
            ][: number % 3],
        )
        for number in range(count)
    ]


def row(identity, points=((0.0, 0.0),), **image):
    record = {"id": identity, "file_name": f"{identity!r}.jpg", "height": 5, "width": 6, **image}
    return {"image": record, "segments_info": [{"id": 9, "category_id": 1, "points": points}]}


def write_rows(path, *rows, categories=HEAD, **options):
    table = pa.Table.from_pylist(list(rows))
    if categories is not None:
        table = table.replace_schema_metadata({"categories": categories})
    parquet.write_table(table, path, **options)
    return path


@pytest.mark.parametrize("name", [int, str])
@pytest.mark.parametrize("count", [0, 1, 7, 8])
def test_tables_and_json_hold_the_same(tmp_path, monkeypatch, count, name):
    monkeypatch.setattr(module, "GROUP", 4)
    marks = {
        name(0): Marks(((1.0, 1.0),)),
        name(2): Marks((), (Stroke(2, "line", ((0.0, 0.0),), 1.5),), "review"),
    }
    marks = {key: value for key, value in marks.items() if int(key) < count}
    labels = PointLabels(CATEGORIES, images(count, name), marks)
    write_points(tmp_path / "points.parquet", labels)
    assert parquet.ParquetFile(tmp_path / "points.parquet").num_row_groups == -(-count // 4)
    again = read_points(tmp_path / "points.parquet")
    assert again.categories == CATEGORIES
    assert list(again.images) == labels.images
    assert again.marks == marks


@given(st.lists(st.integers(-30, 30)), st.slices(23))
def test_images_are_a_sequence(tmp_path_factory, order, part):
    path = tmp_path_factory.getbasetemp() / "sequence.parquet"
    expected = images(23)
    if not path.exists():
        write_points(path, PointLabels(CATEGORIES, expected))
    found = read_points(path).images
    assert len(found) == 23
    for index in order:
        if -23 <= index < 23:
            assert found[index] == expected[index]
        else:
            with pytest.raises(IndexError):
                found[index]
    assert list(found[part]) == expected[part]
    assert list(found[part][::-2]) == expected[part][::-2]


def test_labels_are_those_of_json(tmp_path):
    write_shapes(tmp_path, "val", 3, (48, 64))
    labels = sample_points(read_panoptic(tmp_path / "annotations" / "panoptic_val.json"))
    for suffix in ("json", "parquet"):
        write_points(tmp_path / f"points.{suffix}", labels)
        out = tmp_path / suffix
        assert run(tmp_path / "images" / "val", tmp_path / f"points.{suffix}", out) == 0
    assert masks_and_index(tmp_path / "json") == masks_and_index(tmp_path / "parquet")


@pytest.mark.parametrize("area", [float("inf"), float("nan"), 1e300])
def test_areas_are_finite(tmp_path, area):
    """JSON has no infinity: it would be written as none."""
    wrong = row(1)
    wrong["segments_info"][0]["area"] = area
    with pytest.raises(DataError, match=r"row 1: segments_info\[0\]\.area: expected a number"):
        read_points(write_rows(tmp_path / "points.parquet", wrong))


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([row(1), row(1)], {}, "row 2: expected unique image ids, got 1 again, as in row 1"),
        (
            [row(0), row(1, file_name="a.jpg"), row(2, file_name="./a.jpg")],
            {},
            "row 3: expected every picture once, got 'a.jpg' again, as in row 2",
        ),
        ([row(1, [[9.0, 0.0]])], {}, "row 1: target 9: expected a point inside 6 x 5"),
        ([row(1, [[0.0]])], {}, "row 1: segments_info"),
        ([row(1, file_name="../a.jpg")], {}, "row 1: image.file_name: expected a relative path"),
        ([row(1, height=-1)], {}, "row 1: image.height"),
        ([row(1, height=10**6)], {}, "row 1: expected at most 16384 pixels a side"),
        ([row(None)], {}, "row 1: image"),
        ([{"picture": 1}], {}, "row 1: image"),
        ([row(1)], {"categories": None}, "expected categories as JSON in the metadata"),
        ([row(1)], {"categories": "{"}, "not valid JSON"),
        ([row(1)], {"categories": "[]"}, "row 1"),
    ],
)
def test_wrong_rows_are_named(tmp_path, rows, options, message):
    with pytest.raises(DataError, match=r"points\.parquet: ") as error:
        read_points(write_rows(tmp_path / "points.parquet", *rows, **options))
    assert message in str(error.value)


def test_large_groups_are_refused(tmp_path, monkeypatch):
    path = write_rows(tmp_path / "points.parquet", *(row(number) for number in range(99)))
    assert len(read_points(path).images) == 99
    monkeypatch.setattr(groups, "MAX_GROUP", 1000)
    with pytest.raises(DataError, match="expected groups of rows of at most 1000 bytes"):
        read_points(path)


def test_repeated_texts_do_not_fill_the_memory(tmp_path):
    """A file of a few kilobytes, whose texts are 400 MB once each stands for itself."""
    name = pa.DictionaryArray.from_arrays(pa.array([0] * 400, pa.int32()), ["x" * 10**6 + ".jpg"])
    sides = pa.array([5] * 400)
    image = pa.StructArray.from_arrays(
        [pa.array(range(400)), name, sides, sides], ["id", "file_name", "height", "width"]
    )
    path = tmp_path / "points.parquet"
    parquet.write_table(pa.table({"image": image}, metadata={"categories": HEAD}), path)
    assert path.stat().st_size < 200_000
    pa.set_memory_pool(COUNTED)
    try:
        with pytest.raises(DataError, match=r"at most \d+ bytes of text, got one of 400001600"):
            read_points(path)
    finally:
        pa.set_memory_pool(UNCOUNTED)
    assert 0 < COUNTED.max_memory() < 50e6


def write_many_numbers(path):
    """A small file with as many coordinates, all 0, as may be read at once."""
    count = groups.MAX_VALUES // 2
    points = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(2 * count)), 2)
    rest = pa.ListArray.from_arrays(pa.array([0, count], pa.int32()), points)
    image = pa.array([row(1)["image"]])
    table = pa.table({"image": image, "rest": rest}, metadata={"categories": HEAD})
    parquet.write_table(table, path)
    assert path.stat().st_size < 200_000
    return path


def test_repeated_numbers_do_not_fill_the_memory(tmp_path):
    path = write_many_numbers(tmp_path / "points.parquet")
    with pytest.raises(DataError, match=f"at most {groups.MAX_VALUES} values, got one of"):
        read_points(path)


def lying(path, truth, lie):
    """The file with another number in place of one in its footer."""
    content = path.read_bytes()
    start = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    footer, said = content[start:], integer(truth)
    assert said in footer
    assert len(said) == len(integer(lie))
    path.write_bytes(content[:start] + footer.replace(said, integer(lie)))
    return path


def test_footers_that_do_not_tell_of_all_values_are_refused(tmp_path):
    path = write_many_numbers(tmp_path / "points.parquet")
    lying(path, groups.MAX_VALUES, 1_100_000)
    counted = pa.proxy_memory_pool(UNCOUNTED)
    KEPT.append(counted)
    pa.set_memory_pool(counted)
    try:
        with pytest.raises(DataError, match="of 1100000 values, as the footer says, got 8388608"):
            read_points(path)
    finally:
        pa.set_memory_pool(UNCOUNTED)
    assert counted.max_memory() < 1e6


def test_wrong_sizes_of_histograms_do_not_end_the_process(tmp_path):
    """Of the levels of ids: of a column that is read, and of one that is not."""
    for name, code in (("points", b"\x36\x00\x00\x0a"), ("note", b"\x26\x00\x0a")):
        rows = [row(number) | {"note": "x"} for number in range(5)]
        path = write_rows(tmp_path / f"{name}.parquet", *rows)
        content = path.read_bytes()
        start = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
        footer = content[start:-8]
        assert code in footer
        footer = footer.replace(code, bytes([code[0] - 16]) + code[2:])
        size = len(footer).to_bytes(4, "little")
        path.write_bytes(content[:start] + footer + size + b"PAR1")
    with pytest.raises(DataError, match=r"points\.parquet: .* histogram size mismatch"):
        read_points(tmp_path / "points.parquet")
    assert len(read_points(tmp_path / "note.parquet").images) == 5


@pytest.mark.parametrize(
    ("everything", "message"),
    [(True, "cannot be read .*encrypted"), (False, r"image\.id: .* that is not encrypted")],
)
def test_encrypted_tables_are_refused(tmp_path, everything, message):
    encryption = pytest.importorskip("pyarrow.parquet.encryption")

    class Keys(encryption.KmsClient):
        def __init__(self, connection):
            encryption.KmsClient.__init__(self)

        def wrap_key(self, key, name):
            return base64.b64encode(key)

    keys = encryption.EncryptionConfiguration(
        footer_key="a", column_keys={"b": ["image.id"]}, plaintext_footer=not everything
    )
    properties = encryption.CryptoFactory(Keys).file_encryption_properties(
        encryption.KmsConnectionConfig(), keys
    )
    path = write_rows(tmp_path / "points.parquet", row(1), encryption_properties=properties)
    with pytest.raises(DataError, match=message):
        read_points(path)


def test_large_footers_are_refused(tmp_path, monkeypatch):
    path = write_rows(tmp_path / "points.parquet", row(1))
    monkeypatch.setattr(parquet_footer, "MAX_FOOTER", 1000)
    with pytest.raises(DataError, match="expected a footer of at most 1000 bytes, got"):
        read_points(path)


def test_footers_that_tell_of_fewer_rows_are_refused(tmp_path):
    path = write_rows(tmp_path / "points.parquet", *(row(number) for number in range(300)))
    with pytest.raises(DataError, match=r"points\.parquet: "):
        read_points(lying(path, 300, 200))


@pytest.mark.parametrize("place", range(0, 40))
def test_broken_pages_are_one_error(tmp_path, place):
    """Of a file without checksums, one byte of whose first pages is another."""
    path = write_rows(tmp_path / "points.parquet", *(row(number) for number in range(9)))
    content = bytearray(path.read_bytes())
    for value in (0, 1, 0x1C, 0x7F, 0x80, 0xFF):
        content[4 + place] = value
        path.write_bytes(content)
        with suppress(DataError):
            assert len(read_points(path).images) == 9


def test_names_of_columns_are_shown_on_one_line(tmp_path):
    path = write_rows(tmp_path / "points.parquet", row(1))
    group = parquet.read_metadata(path).row_group(0)
    (column,) = (
        chunk
        for chunk in map(group.column, range(group.num_columns))
        if chunk.path_in_schema == "image.file_name"
    )
    content = bytearray(path.read_bytes())
    content[column.dictionary_page_offset or column.data_page_offset] = 0
    path.write_bytes(content.replace(b"file_name", b"file\x1fname"))
    with pytest.raises(DataError, match=r"image\.file\\x1fname: expected the header of a page"):
        read_points(path)


def test_texts_that_stand_for_more_than_they_take_are_refused(tmp_path):
    path = tmp_path / "points.parquet"
    for encoding in ("DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"):
        options = {"use_dictionary": False, "column_encoding": {"image.file_name": encoding}}
        message = rf"image\.file_name: expected .* got BYTE_ARRAY in .*{encoding}"
        with pytest.raises(DataError, match=message):
            read_points(write_rows(path, row(1), **options))
    image = {**row(1)["image"], "file_name": b"a.jp"}
    kind = pa.struct({"id": pa.int64(), "file_name": pa.binary(4)})
    parquet.write_table(pa.table({"image": pa.array([image], kind)}), path)
    with pytest.raises(DataError, match=r"image\.file_name: expected .* got FIXED_LEN_BYTE_ARRAY"):
        read_points(path)


def test_columns_of_others_are_not_looked_at(tmp_path):
    rows = [row(1) | {"note": "x"}]
    options = {"use_dictionary": False, "column_encoding": {"note": "DELTA_BYTE_ARRAY"}}
    assert len(read_points(write_rows(tmp_path / "points.parquet", *rows, **options)).images) == 1


def test_processes_and_threads_read_at_places_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "GROUP", 2)
    expected = images(200)
    write_points(tmp_path / "points.parquet", PointLabels(CATEGORIES, expected))
    found = read_points(tmp_path / "points.parquet").images

    def differing(seed):
        order = random.Random(seed).choices(range(200), k=400)
        return [index for index in order if found[index] != expected[index]]

    children = []
    for seed in range(3):
        child = os.fork()
        if not child:
            wrong = 1
            try:
                wrong = int(bool(differing(seed)))
            finally:
                os._exit(wrong)
        children.append(child)
    assert differing(9) == []
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(differing, range(4))) == [[]] * 4


def test_ids_of_two_types_are_refused(tmp_path):
    labels = PointLabels(CATEGORIES, images(2))
    other = replace(labels, images=[*labels.images, images(3, lambda number: f"x{number}")[2]])
    with pytest.raises(DataError, match="expected image ids all of one type, got 'x2' too"):
        write_points(tmp_path / "points.parquet", other)
    assert not list(tmp_path.iterdir())


def test_broken_files_are_one_error(tmp_path):
    path = write_rows(tmp_path / "points.parquet", *(row(number) for number in range(9)))
    whole = path.read_bytes()
    for content in (b"", b"PAR1", whole[:-9], whole[: len(whole) // 2], b"x" * 999):
        path.write_bytes(content)
        with pytest.raises(DataError, match="expected a Parquet table of point labels"):
            read_points(path)
