"""Clicks that commands write where others are: nothing of those is lost."""

import json

import msgspec
import numpy as np
import pytest
from commands import fails

from point2mask.cli import main
from point2mask.data import ImageRecord, PointTarget, read_points, write_rgb
from point2mask.data.journal import Journal, journal_path
from point2mask.data.records import image_to_json
from point2mask.data.targets import NO_MARKS, annotation_to_json


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A picture, a table of a click on it, and other clicks."""
    monkeypatch.chdir(tmp_path)
    write_rgb(tmp_path / "photos" / "a.png", np.zeros((5, 8, 3), np.uint8))
    (tmp_path / "clicks.csv").write_text("image,x,y,category\na.png,1,1,cat\n")
    points = {
        "images": [{"id": 1, "file_name": "a.png", "height": 5, "width": 8}],
        "annotations": [
            {"image_id": 1, "segments_info": [{"id": 1, "category_id": 1, "points": [[2, 2]]}]}
        ],
        "categories": [{"id": 1, "name": "dog", "isthing": 1}],
    }
    (tmp_path / "points.json").write_text(json.dumps(points))
    return tmp_path


IMPORT = ("points", "import", "csv", "clicks.csv", "--images", "photos", "--out")


def test_what_stays_has_the_changes_of_the_journal(folder, capsys):
    """The annotation page's last clicks, which are not in the file itself yet."""
    points = folder / "points.json"
    record = ImageRecord(1, "a.png", 5, 8)
    targets = [PointTarget(1, 1, ((2.0, 2.0), (3.0, 3.0), (4.0, 4.0)))]
    annotation = annotation_to_json(record, targets, NO_MARKS)
    journal = Journal(journal_path(points, points.read_bytes()))
    journal.append({"image": image_to_json(record), "annotation": annotation})
    before = read_points(points)
    assert [len(t.points) for _, found in before.images for t in found] == [3]
    assert main([*IMPORT, "points.json"]) == 0
    assert "are in points.json.~1~ now" in capsys.readouterr().err
    (folder / "points.json.~1~").rename(folder / "kept.json")
    kept = read_points(folder / "kept.json")
    assert [*kept.images] == [*before.images]
    assert kept.categories == before.categories
    assert [t.points for _, found in read_points(points).images for t in found] == [((1.0, 1.0),)]
    assert msgspec.json.decode(points.read_bytes())["categories"][0]["name"] == "cat"


@pytest.mark.parametrize("name", ["out.csv", "out.TSV", "out.xml"])
def test_names_that_no_reader_takes(folder, capsys, name):
    """They were written, as JSON, and not recognised afterwards."""
    said = fails(capsys, *IMPORT, name)
    assert f"--out {name}: expected the name of a JSON, JSON Lines or Parquet file" in said
    assert not (folder / name).exists()
