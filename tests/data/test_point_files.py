"""What is common to all files of clicks, and the commands that read and write them."""

import json

import pytest
from click_files import CATEGORIES, HEAD, table

from point2mask.cli import main
from point2mask.data import Category, DataError, read_points, write_point_pngs, write_points
from point2mask.data.formats import Pictures, read_csv, to_labels


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
