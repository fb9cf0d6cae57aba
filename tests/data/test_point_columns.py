"""What columns of many rows say at once is what the rows say one by one."""

import math

import numpy as np
import pytest

from point2mask.data import DataError, read_points
from point2mask.data import point_table as module
from point2mask.data.png import DEFAULT_LIMIT
from point2mask.data.point_columns import UnusualError, plain_rows, rows_of
from point2mask.data.records import Category

pa = pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
parquet = pytest.importorskip("pyarrow.parquet")

CATEGORIES = {1: Category(1, "cat", True, (1, 2, 3)), 7: Category(7, "grass", False, (4, 5, 6))}
HEAD = '[{"id": 1, "name": "cat", "isthing": 1}, {"id": 7, "name": "grass", "isthing": 0}]'
IMAGE = {
    "file_name": ["b/ü.png", "../a.jpg", "a\\b", "x\n.png", "", None],
    "height": [1, 0, -1, 16_384, 16_385, 2**40, None],
    "width": [1, 16_384, 2**62],
    "exif_frame": ["shown", "stored", "turned"],
}
TARGET = {
    "id": [1, 2**24 - 1, 0, 2**24, 9, None],
    "category_id": [7, 2, None],
    "iscrowd": [0, 1, 2, None],
    "area": [12.5, 0.0, -1.0, math.nan, math.inf, float(2**31 - 1) ** 2, 1e19],
    "points": [[], None, [[1.0]], [[1.0, None]], [[0.5, 0.5], [0.9, 0.9]], [[0.9, 4.1]] * 2]
    + [[[x, y]] for x in (0.0, 6.0, 6.005, -0.001, 9.0, math.nan, math.inf) for y in (0.0, 5.0)],
}
ROW = {
    "segments_info": [None, []],
    "rest": [[], [[4.0, 4.0]], [[9.0, 9.0]]],
    "status": ["", "done", "other"],
}
# Where a row is changed, and to what.
CHANGES = [
    (place, key, value)
    for place, changes in (("row", ROW), ("image", IMAGE), ("target", TARGET))
    for key, values in changes.items()
    for value in values
]


def rows(place, key, value):
    """Three rows as they are written here, the second of them changed."""
    found = []
    for _ in range(3):
        image = {"file_name": "a.jpg", "height": 5, "width": 6}
        targets = [
            {"id": 9, "category_id": 1, "points": [[0.5, 0.5]]},
            {"id": 10, "category_id": 7, "points": [[0.0, 4.9], [5.9, 4.0]]},
        ]
        found.append({"image": image, "segments_info": targets})
    parts = {"row": found[1], "image": found[1]["image"], "target": found[1]["segments_info"][1]}
    parts[place][key] = value
    return found


def table_of(rows):
    """The table of rows, whose columns have the types that are written here."""
    schema = module._schema(pa, pa.int64())
    numbered = [{**row, "image": {"id": n, **row["image"]}} for n, row in enumerate(rows)]
    try:
        return pa.Table.from_pylist(numbered, schema.with_metadata({"categories": HEAD}))
    except (pa.ArrowInvalid, OverflowError):  # numbers that its columns cannot hold
        return pa.Table.from_pylist(numbered).replace_schema_metadata({"categories": HEAD})


def outcome(path):
    """What is read, or the message of the error."""
    try:
        labels = read_points(path)
    except DataError as error:
        return str(error)
    return list(labels.images), labels.marks, labels.with_things().tolist(), list(labels.records)


@pytest.mark.parametrize("group", [1, 2, 5])
@pytest.mark.parametrize(("place", "key", "value"), CHANGES)
def test_columns_and_rows_say_the_same(tmp_path, monkeypatch, place, key, value, group):
    path = tmp_path / "points.parquet"
    parquet.write_table(table_of(rows(place, key, value)), path)
    monkeypatch.setattr(module, "GROUP", group)
    found = outcome(path)
    monkeypatch.setattr(module, "plain_rows", lambda rows, *_: np.zeros(rows.num_rows, np.bool_))
    monkeypatch.setattr(module, "rows_of", unusual)
    assert found == outcome(path)


def unusual(*arguments):
    raise UnusualError


def batch(**image):
    target = {"id": 9, "category_id": 1, "points": [[0.0, 0.0], [5.9, 4.9]]}
    image = {"id": 1, "file_name": "a.jpg", "height": 5, "width": 6, **image}
    return pa.RecordBatch.from_pylist([{"image": image, "segments_info": [target]}] * 3)


def test_ordinary_rows_are_plain():
    """Otherwise every row would be looked at on its own, which is right and slow."""
    assert plain_rows(batch(), CATEGORIES, DEFAULT_LIMIT).tolist() == [True] * 3
    assert plain_rows(batch(id="x"), CATEGORIES, DEFAULT_LIMIT).tolist() == [True] * 3
    assert plain_rows(batch(width=5), CATEGORIES, DEFAULT_LIMIT).tolist() == [False] * 3
    assert plain_rows(batch(height=5.0), CATEGORIES, DEFAULT_LIMIT).tolist() == [False] * 3
    assert plain_rows(batch(), {}, DEFAULT_LIMIT).tolist() == [False] * 3
    assert rows_of(batch(), {1, 3}).tolist() == [True] * 3
    assert rows_of(batch(), {3}).tolist() == [False] * 3
    with pytest.raises(UnusualError):
        rows_of(pa.RecordBatch.from_pylist([{"image": 1}]), {1})
