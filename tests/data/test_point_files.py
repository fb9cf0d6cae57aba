"""What is common to all files of clicks, and the commands that read and write them."""

import json

import pytest
from click_files import CATEGORIES, HEAD, HEIGHT, WIDTH, table

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
)
from point2mask.data.formats import Pictures, read_csv, to_labels
from point2mask.data.marks import Marks


def test_files_that_are_too_large(photos, tmp_path, monkeypatch):
    path = table(tmp_path, HEAD + "a.png,1,1,cat\n")
    monkeypatch.setattr("point2mask.data.formats.table.MAX_FILE", 10)
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
    assert said.err == f"2 points on 2 targets in 2 images: {out}\nread: 2 images, 2 clicks\n"
    assert json.loads(said.out) == {
        "out": str(out),
        "images": 2,
        "targets": 2,
        "points": 2,
        "categories": {"cat": 1, "sky": 2},
        "read": {"images": 2, "clicks": 2},
        "left_out": [],
        "notes": [],
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


def test_where_no_click_can_be_used_there_are_none(photos, tmp_path, capsys):
    clicks = table(tmp_path, HEAD + "a.png,99,2,cat\n")
    words = ["points", "import", "csv", clicks, "--images", photos, "--out", tmp_path / "p.json"]
    assert main([*map(str, words), "--skip-broken"]) == 2
    said = capsys.readouterr().err
    assert "expected points that can be used, got none; left out: 1 clicks that can" in said
    assert not (tmp_path / "p.json").exists()


def test_exports_say_what_comes_back_as_something_else(tmp_path, capsys):
    """Two targets of one stuff, two categories of one name, names with blanks."""
    names = {1: ("cat", True), 2: ("grass", False), 3: ("cat", True), 4: (" sky", False)}
    categories = {k: Category(k, name, thing, (k, 0, 0)) for k, (name, thing) in names.items()}
    targets = [PointTarget(k, 2, ((float(k), 0.0),)) for k in (1, 2)]
    images = [(ImageRecord(0, " 0.png", HEIGHT, WIDTH), targets)]
    write_points(tmp_path / "p.json", PointLabels(categories, images))
    for kind, blanks in (("csv", True), ("labelme", False)):
        words = ["--points", tmp_path / "p.json", "--out", tmp_path / f"out_{kind}"]
        assert main(["points", "export", kind, *map(str, words)]) == 0
        said = capsys.readouterr().err
        assert "left out: 2 categories of a name that another has: cat; cat" in said
        assert "left out: 2 targets of stuff that become one with others:  0.png: target 1" in said
        assert ("left out: 2 blanks at the ends of names: ' sky'; ' 0.png'" in said) == blanks


def test_exports_say_what_has_no_place_in_them(tmp_path, capsys):
    records = [ImageRecord(i, f"{i}.png", HEIGHT, WIDTH) for i in range(3)]
    targets = [
        PointTarget(1, 3, ((0.0, 0.0),), area=4),
        PointTarget(2, 3, ((1.0, 0.0),), iscrowd=1),
    ]
    images = [(records[0], targets), (records[1], []), (records[2], [])]
    write_points(tmp_path / "p.json", PointLabels(CATEGORIES, images, {1: Marks(status="done")}))
    for kind, more in (("csv", 1), ("labelme", 0)):
        words = ["--points", tmp_path / "p.json", "--out", tmp_path / f"out_{kind}"]
        assert main(["points", "export", kind, *map(str, words)]) == 0
        said = capsys.readouterr().err
        assert "left out: 1 areas of targets: 0.png: target 1" in said
        assert "left out: 1 marks of crowds: 0.png: target 2" in said
        assert "left out: 1 images' clicks on nothing, corrections or status: 1.png" in said
        assert ("left out: 2 images without clicks: 1.png; 2.png" in said) == bool(more)
