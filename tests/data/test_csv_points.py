"""Clicks in tables: round trips, files by hand, and hostile ones."""

import pytest
from click_files import CATEGORIES, HEAD, HEIGHT, WIDTH, point_labels, table
from hypothesis import given

from point2mask.data import Category, DataError, ImageRecord, PointTarget
from point2mask.data.formats import Pictures, read_csv, to_labels, write_csv
from point2mask.data.records import default_color
from point2mask.data.report import Report


@given(labels=point_labels())
def test_csv_round_trip(photos, tmp_path, labels):
    write_csv(tmp_path / "clicks.csv", labels)
    images = read_csv(tmp_path / "clicks.csv", Pictures(photos))
    assert to_labels(images, "here", CATEGORIES) == labels


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
        (HEAD + "a.png,nan,1,cat\n", r"clicks\.csv:2: x: expected a number, got 'nan'"),
        (HEAD + "a.png,1_0,1,cat\n", r"clicks\.csv:2: x: expected a number, got '1_0'"),
        (HEAD + 'a.png,"1,5",1,cat\n', r"clicks\.csv:2: x: expected a number, got '1,5'"),
        ("image;x;y;category\na.png;1.234,5;1;cat\n", r"clicks\.csv:2: x: expected a number"),
        (
            HEAD + f"a.png,{'1' * 100_000}x,1,cat\n",
            r"clicks\.csv:2: x: expected a number, got '111",
        ),
        (HEAD + "a.png,8.1,1,cat\n", r"clicks\.csv:2: expected a point inside 8 x 5 pixels"),
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


@pytest.mark.parametrize(
    "content",
    [
        b"image;x;y;category\r\na.png;1,5;2.5;cat\r\n;;;\r\n",
        b"image\tx\ty\tcategory\na.png\t1,5\t2,5\tcat\n",
        "\ufeffimage\tx\ty\tcategory\r\na.png\t1.5\t2.5\tcat\r\n".encode("utf-16-le"),
        "\ufeffimage,x,y,category\na.png,1.5,2.5,cat\n".encode("utf-16-be"),
        b"image, x, y, category\na.png , +1.5, 25e-1, cat\n , , , \n",
        b"image,x,y,category\ra.png,1.5,2.5,cat\r",
    ],
)
def test_tables_as_spreadsheets_write_them(photos, tmp_path, content):
    (tmp_path / "clicks.csv").write_bytes(content)
    labels = to_labels(read_csv(tmp_path / "clicks.csv", Pictures(photos)), "here")
    assert [c.name for c in labels.categories.values()] == ["cat"]
    assert [targets for _, targets in labels.images] == [[PointTarget(1, 1, ((1.5, 2.5),))]]


@pytest.mark.parametrize("name", ["y/a.png", "y\\A", "x/y/a.png"])
def test_two_pictures_are_not_taken_for_one(photos, tmp_path, name):
    """Of folders that are not there."""
    rows = f"{HEAD}a.png,1,1,cat\nx/a.png,2,1,cat\n{name},3,1,cat\n"
    with pytest.raises(DataError, match=r"csv:4: expected a picture for each of 'x/a\.png' and "):
        read_csv(table(tmp_path, rows), Pictures(photos))
    left_out = Report(skip_broken=True)
    (image,) = read_csv(table(tmp_path, rows), Pictures(photos, report=left_out))
    assert len(image.clicks) == 2
    assert left_out.count("rows") == 1


def test_names_of_one_picture(photos, tmp_path):
    rows = [f"{name},{x},1,cat\n" for x, name in enumerate(["a.png", "p\\a.png", "q/p/A", ".//a"])]
    (image,) = read_csv(table(tmp_path, HEAD + "".join(rows)), Pictures(photos))
    assert [click.x for click in image.clicks] == [0, 1, 2, 3]
