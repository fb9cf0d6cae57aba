"""Commands replace what commands have written, and no other file."""

import json
from pathlib import Path

import pytest
from click_files import HEAD, write_photos
from commands import fails

from point2mask.cli import main
from point2mask.data.shapes import write_shapes

POINTS = {
    "images": [{"id": 1, "file_name": "a.png", "height": 5, "width": 8}],
    "categories": [{"id": 1, "name": "cat", "isthing": 1}],
    "annotations": [
        {"image_id": 1, "segments_info": [{"id": 1, "category_id": 1, "points": [[1.5, 2.5]]}]}
    ],
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_photos(tmp_path / "photos")
    (tmp_path / "points.json").write_text(json.dumps(POINTS))
    return tmp_path


@pytest.mark.parametrize(
    "content",
    ["", "[1, 2]", '{"images": []}', '{"categories": []}', '{"format": "x"}', json.dumps(POINTS)],
)
def test_json_of_results(folder, capsys, content):
    words = ["points", "export", "csv", "--points", "points.json", "--out", "a.csv", "--json"]
    (folder / "mine.json").write_text(content)
    with pytest.raises(SystemExit, match="2"):
        main([*words, "mine.json"])
    assert "mine.json is there and holds no results of a command" in capsys.readouterr().err
    assert (folder / "mine.json").read_text() == content
    assert not (folder / "a.csv").exists()
    for _ in range(2):  # its own are replaced
        assert main([*words, "own.json"]) == 0


@pytest.mark.parametrize("content", ["", "my,own,table\n1,2,3\n", "image;x;y;category\n", "text"])
def test_tables(folder, capsys, content):
    words = ["points", "export", "csv", "--points", "points.json", "--out", "a.csv"]
    (folder / "a.csv").write_text(content)
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "--out a.csv: expected a new name, or a table of clicks to replace" in said
    assert (folder / "a.csv").read_text() == content
    (folder / "a.csv").write_text(HEAD)
    for _ in range(2):
        assert main(words) == 0
    assert (folder / "a.csv").read_text().endswith("\na.png,1.5,2.5,cat,1\n")


@pytest.mark.parametrize("name", ["a.csv", "annotations.XML"])
def test_clicks_of_other_tools_are_told_how_they_are_read(folder, capsys, name):
    (folder / name).write_text(f"{HEAD}a.png,1,1,cat\n")
    assert main(["label", "--images", "photos", "--points", name, "--out", "out"]) == 2
    said = capsys.readouterr().err
    assert f"{name}: expected point labels as JSON, " in said
    assert "'point2mask points import'" in said
    assert not (folder / "out").exists()


def test_a_run_is_not_among_the_photos(folder, capsys):
    (folder / "points.json").rename(folder / "photos/points.json")
    before = sorted(folder.rglob("*"))
    assert main(["train", "own_clicks", "data.root=photos", "--out", "photos"]) == 2
    assert "--out: photos is the folder of the pictures; choose another" in capsys.readouterr().err
    assert main(["train", "own_clicks", "data.root=photos", "--out", "photos/run"]) == 2
    said = capsys.readouterr().err
    assert "--out: photos/run is among the pictures of photos; choose another" in said
    assert sorted(folder.rglob("*")) == before


def test_sweeps(folder, capsys):
    (folder / "out").mkdir()
    (folder / "out/sweep.json").write_text("{}")
    assert main(["sweep", "shapes_tiny", "--table", "supervision", "--out", "out"]) == 2
    assert "out/sweep.json: expected a new name, or what an earlier" in capsys.readouterr().err
    assert (folder / "out/sweep.json").read_text() == "{}"


def test_pictures_of_clicks(folder, capsys):
    """Into a folder of photos of the same names they do not go, nor over other PNGs."""
    write_shapes(folder, "val", 2, (32, 48))
    annotations = folder / "annotations/panoptic_val.json"
    words = ["points", "sample", "--annotations", str(annotations), "--png-dir"]
    photos = {path: path.read_bytes() for path in (folder / "images/val").iterdir()}
    assert fails(capsys, *words, "images/val", "--out", "new.json").endswith(
        "images/val/000001.png: expected a new name, or what an earlier 'point2mask points sample' "
        "made; remove it or choose another folder\n"
    )
    assert photos == {path: path.read_bytes() for path in photos}
    assert not (folder / "new.json").exists()
    for seed in "12":  # its own are replaced
        assert main([*words, "own", "--seed", seed]) == 0
    assert {path.name for path in (folder / "own").glob("*.png")} == {p.name for p in photos}
    (folder / "own/another.png").write_bytes(b"of somebody else")
    assert main([*words, "own"]) == 0
    assert (folder / "own/another.png").read_bytes() == b"of somebody else"


def test_the_name_that_cannot_be_written(folder, capsys, monkeypatch):
    """And not that of the file beside it, which is renamed once it is whole."""
    real = Path.open

    def refuse(self, mode="r", *rest, **options):
        if mode == "xb":
            raise PermissionError(13, "Permission denied", str(self))
        return real(self, mode, *rest, **options)

    monkeypatch.setattr(Path, "open", refuse)
    words = ["points", "export", "csv", "--points", "points.json", "--out", "a.csv"]
    said = fails(capsys, *words)
    assert "a.csv: Permission denied" in said
    assert ".tmp" not in said
