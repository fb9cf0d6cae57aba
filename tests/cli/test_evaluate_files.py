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


def test_a_prediction_counts_for_one_image(files, capsys):
    """One that is found by its name is none for another image of its id."""
    truth, found = files
    root = json.loads((found / "panoptic.json").read_text())
    first, second = root["images"][:2]
    by_image = {a["image_id"]: a for a in root["annotations"]}
    by_image[first["id"]]["image_id"] = second["id"]
    root["annotations"].remove(by_image[second["id"]])
    root["images"].remove(second)
    name, first["id"] = second["file_name"], second["id"]
    (found / "panoptic.json").write_text(json.dumps(root))
    words = ("--truth", truth, "--predictions", found, "--json")
    assert evaluate(*words) == 2
    assert f"got none for image {second['id']} ({name})" in capsys.readouterr().err
    assert evaluate(*words, "--skip-broken") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["left_out"][0]["count"] == 1
    assert result["all"]["pq"] == 1


def test_a_category_that_the_truth_lacks(files, capsys):
    truth, found = files
    root = json.loads((found / "panoptic.json").read_text())
    root["categories"].append({"id": 99, "name": "unicorn", "isthing": 1})
    root["annotations"][1]["segments_info"][0]["category_id"] = 99
    (found / "panoptic.json").write_text(json.dumps(root))
    words = ("--truth", truth, "--predictions", found, "--json")
    assert evaluate(*words) == 2
    assert "expected categories of the truth, got 99 in image " in capsys.readouterr().err
    assert evaluate(*words, "--skip-broken") == 0
    said = capsys.readouterr()
    assert "left out: 1 images that cannot be used" in said.err
    assert json.loads(said.out)["all"]["pq"] == 1


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
