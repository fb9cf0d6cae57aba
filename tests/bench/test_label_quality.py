"""The script that scores masks from clicks, on little: what areas are told, and what follows."""

import json
import sys

import label_quality
import numpy as np
import pytest
import runs

from point2mask.data import Segment, read_panoptic, segment_areas


@pytest.fixture
def data(tmp_path):
    runs.write_data(tmp_path, train=2)
    return tmp_path


def told(data, row, monkeypatch):
    """Areas that the assigner is told of the first picture, by target, and the true ones."""
    dataset = read_panoptic(data / "annotations/panoptic_train.json")
    image, seen = dataset.images[0], {}

    def spy(pixels, targets, **named):
        seen.update({target.id: target.area for target in targets})
        return np.zeros(pixels.shape[:2], np.int32)

    monkeypatch.setattr(label_quality, "label_image", spy)
    label_quality.measure_image(dataset, data / "images/train", None, row, 3, image)
    return seen, segment_areas(dataset.segment_map(image))


def test_areas_are_true_or_off_as_the_row_says(data, monkeypatch):
    assert set(told(data, "merge", monkeypatch)[0].values()) == {None}
    seen, areas = told(data, label_quality.TRUE_AREAS, monkeypatch)
    assert seen == {key: areas[key] for key in seen}
    errors = []
    for error in (0.3, 0.6):
        seen, areas = told(data, f"transport{label_quality.ROUGH_AREAS}{error}", monkeypatch)
        errors.append([np.log(seen[key] / areas[key]) for key in seen])
    assert np.abs(errors[0]).min() > 0
    np.testing.assert_allclose(np.array(errors[1]), 2 * np.array(errors[0]), rtol=1e-9)


def test_what_touches_is_told_apart():
    truth = np.array([[1, 1, 0, 3, 3], [1, 2, 0, 4, 5], [0, 0, 0, 6, 0], [7, 0, 6, 0, 8]])
    kinds = {1: 1, 2: 1, 3: 1, 4: 2, 5: 1, 6: 1, 7: 1, 8: 1}
    things = [Segment(identity, kind) for identity, kind in kinds.items()]
    # 3 and 5 are neighbours, 5 and 6 across a corner, 6 and 8 too; 4 is of another class.
    assert label_quality.touching(truth, things) == {1, 2, 3, 5, 6, 8}
    assert label_quality.touching(truth, things[1:4]) == set()


def test_a_table_is_made_and_kept(data, monkeypatch, capsys):
    out, row = data / "quality.json", f"transport{label_quality.ROUGH_AREAS}0.3"
    arguments = [str(data), "--rows", row, "merge", "--seeds", "0", "--workers", "1"]
    monkeypatch.setattr(sys, "argv", ["label_quality.py", *arguments, "--out", str(out)])
    label_quality.main()
    assert row in capsys.readouterr().out
    rows = json.loads(out.read_text())["rows"]
    assert [one["name"] for one in rows] == [row, "merge"]
    assert all(value is None or 0 <= value <= 100 for one in rows for value in one["mean"])
