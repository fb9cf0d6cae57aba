"""``point2mask evaluate``: where masks lie, and images that cannot be used."""

import json
import shutil

import pytest

from point2mask.cli import main
from point2mask.data.shapes import write_shapes


@pytest.fixture
def files(tmp_path):
    """A data set of three images as truth, and its copy as predictions."""
    write_shapes(tmp_path, "val", 3, (32, 48))
    folder = tmp_path / "annotations"
    shutil.copytree(folder / "panoptic_val", tmp_path / "found" / "panoptic")
    shutil.copy(folder / "panoptic_val.json", tmp_path / "found" / "panoptic.json")
    return folder / "panoptic_val.json", tmp_path / "found"


def evaluate(*words):
    return main(["evaluate", *map(str, words)])


def test_predictions_whose_json_lies_among_its_pngs(files, capsys):
    truth, found = files
    shutil.move(found / "panoptic.json", found / "panoptic" / "results.json")
    words = ("--truth", truth, "--predictions", found / "panoptic" / "results.json")
    assert evaluate(*words) == 2
    said = capsys.readouterr().err
    assert "panoptic/results: expected the folder of the masks, but there is no such" in said
    assert "--predictions-masks says where" in said
    assert evaluate(*words, "--predictions-masks", found / "panoptic", "--json") == 0
    assert json.loads(capsys.readouterr().out)["all"]["pq"] == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_images_that_cannot_be_used_are_left_out_and_named(files, capsys, workers):
    truth, found = files
    (broken, missing, _) = sorted((found / "panoptic").iterdir())
    broken.write_bytes(broken.read_bytes()[:-30])
    root = json.loads((found / "panoptic.json").read_text())
    (gone,) = (i for i in root["images"] if i["file_name"].startswith(missing.stem))
    root["images"] = [i for i in root["images"] if i is not gone]
    root["annotations"] = [a for a in root["annotations"] if a["image_id"] != gone["id"]]
    (found / "panoptic.json").write_text(json.dumps(root))
    words = ("--truth", truth, "--predictions", found, "--workers", workers, "--json")
    assert evaluate(*words) == 2
    assert "expected a prediction for every image" in capsys.readouterr().err
    assert evaluate(*words, "--skip-broken", "--mask-quality") == 0
    said = capsys.readouterr()
    assert "left out: 2 images that cannot be used" in said.err
    assert gone["file_name"] in said.err
    assert str(broken) in said.err
    result = json.loads(said.out)
    assert result["left_out"][0]["count"] == 2
    assert result["all"]["pq"] == 1
    for mask in (found / "panoptic").iterdir():
        mask.write_bytes(b"")
    assert evaluate(*words, "--skip-broken") == 2
    assert "none of the 3 images can be used" in capsys.readouterr().err
