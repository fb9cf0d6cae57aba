"""What the killed page is held to: no save that was answered is ever lost."""

import subprocess
import sys

import killed_runs
import pytest
from killed_runs import check_saved

from point2mask.app import Project
from point2mask.data import PointTarget
from point2mask.data.shapes import write_shapes


def clicks(number):
    return ((number + 0.5, 0.5),)


def test_the_file_has_the_last_answered_save_or_the_next(tmp_path):
    write_shapes(tmp_path, "val", 1, (64, 96))
    folder = tmp_path / "images" / "val"
    path = folder / "points.json"
    check_saved(path, clicks, 0)
    with pytest.raises(SystemExit, match="save 1 was answered and is lost"):
        check_saved(path, clicks, 1)
    project = Project(folder)
    project.add_category("thing", True)
    check_saved(path, clicks, 0)
    project.change(0, project.clicks(0).revision, [PointTarget(1, 1, clicks(3))])
    project.close()
    for last in (2, 3):
        check_saved(path, clicks, last)
    for last in (0, 1, 4):
        with pytest.raises(SystemExit, match=f"save {last} was answered and is lost"):
            check_saved(path, clicks, last)


def test_a_page_that_is_killed_loses_nothing():
    command = [sys.executable, killed_runs.__file__, "page", "--kills", "3", "--pictures", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert "saves were answered" in done.stdout
