"""The file of clicks: what else it holds stays, and who is killed while saving leaves it whole."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from PIL import Image

from point2mask.data import DataError, PointTarget, read_points

pytest.importorskip("fastapi", reason="needs point2mask[app]")

from point2mask.app import ConflictError, Project, storage
from point2mask.data.journal import Journal

# Saves without end; the number of clicks is the number of the save.
SAVER = """
import sys
from pathlib import Path
from point2mask.app import Project
from point2mask.data import PointTarget
project = Project(Path(sys.argv[1]))
project.add_category("thing", True)
print("saving", flush=True)
for revision in range(10**6):
    points = [(x + 0.5, y + 0.5) for y in range(20) for x in range(60)][: 900 + revision % 300]
    project.change(0, revision, [PointTarget(1, 1, tuple(points))])
"""


@pytest.fixture
def folder(tmp_path):
    Image.new("RGB", (60, 20)).save(tmp_path / "a.png")
    return tmp_path


@pytest.mark.parametrize("milliseconds", [5, 40, 90, 170])
def test_killed_while_saving(folder, milliseconds):
    saver = subprocess.Popen([sys.executable, "-c", SAVER, folder], stdout=subprocess.PIPE)
    assert saver.stdout.readline() == b"saving\n"
    time.sleep(milliseconds / 1000)
    saver.send_signal(signal.SIGKILL)
    saver.wait()
    saver.stdout.close()
    labels = read_points(folder / "points.json")  # whole, whatever the moment
    assert labels.categories[1].name == "thing"
    assert all(len(targets[0].points) >= 900 for _, targets in labels.images)
    project = Project(folder)
    clicks = project.clicks(0)
    project.change(0, clicks.revision, [PointTarget(1, 1, ((3.0, 3.0),))])
    assert read_points(folder / "points.json").images[0][1][0].points == ((3.0, 3.0),)


@pytest.mark.parametrize("moment", ["replace", "fsync", "unlink"])
def test_killed_while_the_file_is_written_anew(folder, moment):
    program = f"""
import os, sys
from pathlib import Path
from point2mask.app import Project
from point2mask.data import PointTarget
project = Project(Path(sys.argv[1]))
project.add_category("thing", True)
project.change(0, 0, [PointTarget(1, 1, ((1.0, 1.0),))])
project._storage.settle()
project.change(0, 1, [PointTarget(1, 1, ((2.0, 1.0),))])
os.{moment} = lambda *_: os.kill(os.getpid(), 9)
project.close()
"""
    saver = subprocess.run([sys.executable, "-c", program, folder], capture_output=True)
    assert saver.returncode == -signal.SIGKILL, saver.stderr
    for _ in range(2):
        ((_, (only,)),) = read_points(folder / "points.json").images
        assert only.points == ((2.0, 1.0),)
        Project(folder).close()  # reads, and tidies up
    assert not list(folder.glob("*.journal"))


def test_a_change_while_the_file_is_written_anew_is_not_lost(folder, monkeypatch):
    project = Project(folder)
    project.add_category("thing", True)
    replace = os.replace

    def late(*names):  # after the content was made, before it has its name
        replace(*names)

    encode = storage.encode_points

    def click_meanwhile(*args):
        content = encode(*args)
        project.change(0, 0, [PointTarget(1, 1, ((2.0, 1.0),))])
        return content

    monkeypatch.setattr(storage, "encode_points", click_meanwhile)
    monkeypatch.setattr(os, "replace", late)
    project._storage.settle()
    (journal,) = folder.glob("*.journal")
    assert len(journal.read_bytes().splitlines()) == 1
    ((_, (only,)),) = read_points(folder / "points.json").images
    assert only.points == ((2.0, 1.0),)
    monkeypatch.undo()
    project.close()
    assert not list(folder.glob("*.journal"))
    assert read_points(folder / "points.json").images[0][1] == [only]


def test_a_disk_that_is_full_while_the_file_is_written_anew_loses_nothing(folder, monkeypatch):
    """Clicks that come meanwhile, and later ones, are in the journal that is read."""
    project = Project(folder)
    project.add_category("thing", True)
    encode, append = storage.encode_points, Journal.append

    def full(*_):
        raise OSError(28, "No space left on device")

    def click_meanwhile(*args):
        content = encode(*args)
        project.change(0, 0, [PointTarget(1, 1, ((2.0, 1.0),))])
        monkeypatch.setattr(Journal, "append", full)
        return content

    monkeypatch.setattr(storage, "encode_points", click_meanwhile)
    with pytest.raises(OSError, match="No space left"):
        project._storage.settle()
    monkeypatch.setattr(Journal, "append", append)
    monkeypatch.setattr(storage, "encode_points", encode)
    assert not list(folder.glob(".*.tmp"))
    assert len(list(folder.glob("*.journal"))) == 1
    project.change(0, 1, [PointTarget(1, 1, ((3.0, 1.0),))])
    ((_, (only,)),) = read_points(folder / "points.json").images
    assert only.points == ((3.0, 1.0),)
    project.close()
    assert not list(folder.glob("*.journal"))
    assert read_points(folder / "points.json").images[0][1] == [only]


def test_half_a_line_does_not_count_and_a_broken_one_is_named(folder):
    project = Project(folder)
    project.add_category("thing", True)
    project.close()
    project = Project(folder)
    project.change(0, 0, [PointTarget(1, 1, ((2.0, 1.0),))])
    (journal,) = folder.glob("*.journal")
    line = journal.read_bytes()
    journal.write_bytes(line + line[:-20])
    assert read_points(folder / "points.json").images[0][1][0].points == ((2.0, 1.0),)
    journal.write_bytes(b"{\n" + line)
    with pytest.raises(DataError, match="line 1: expected a JSON object"):
        read_points(folder / "points.json")


def test_a_journal_of_another_file_is_left_alone(folder):
    project = Project(folder)
    project.add_category("thing", True)
    project.close()
    first = (folder / "points.json").read_bytes()
    project = Project(folder)
    project.change(0, 0, [PointTarget(1, 1, ((2.0, 1.0),))])
    (journal,) = folder.glob("*.journal")
    (folder / "points.json").write_bytes(first + b"\n")  # somebody else's
    assert read_points(folder / "points.json").images == []
    again = Project(folder)
    assert any(journal.name in note for note in again.notes)
    again.close()
    assert journal.exists()


def test_a_save_costs_the_same_in_a_large_folder(tmp_path):
    """The line that is written speaks of one image, whatever else there is."""
    for number in range(50):
        Image.new("RGB", (60, 20)).save(tmp_path / f"{number:02}.png")
    project = Project(tmp_path)
    project.add_category("thing", True)
    sizes = []
    for index in range(50):
        before = sum(path.stat().st_size for path in tmp_path.glob("*.journal"))
        project.change(index, 0, [PointTarget(1, 1, ((2.0, 1.0),))])
        sizes.append(sum(path.stat().st_size for path in tmp_path.glob("*.journal")) - before)
    assert max(sizes) < 300
    project.close()
    assert len(read_points(tmp_path / "points.json").images) == 50


def test_what_the_file_held_stays(folder):
    content = {
        "images": [
            {"id": "x", "file_name": "elsewhere/z.jpg", "height": 9, "width": 9},
            {"id": 7, "file_name": "a.png", "height": 20, "width": 60},
        ],
        "annotations": [
            {
                "image_id": "x",
                "segments_info": [{"id": 4, "category_id": 3, "points": [[1, 2]], "area": 30}],
            }
        ],
        "categories": [{"id": 3, "name": "cat", "isthing": 1}],
    }
    (folder / "points.json").write_text(json.dumps(content))
    project = Project(folder)
    assert project.notes == ["not in the folder: 1 image of points.json, kept as they are"]
    target = PointTarget(9, 3, ((5.0, 6.0),), area=12.5, iscrowd=True)
    project.change(0, 0, [target])
    (other, theirs), (mine, targets) = read_points(folder / "points.json").images
    assert (other.id, theirs) == ("x", [PointTarget(4, 3, ((1.0, 2.0),), 30)])
    assert (mine.id, targets) == (7, [target])
    project.change(0, 1, [])
    assert [record.id for record, _ in read_points(folder / "points.json").images] == ["x", 7]
    assert project.labels().images == []


def test_refuses_files_that_do_not_fit(folder):
    path = folder / "points.json"
    path.write_text("{}")
    with pytest.raises(DataError, match="annotations: expected an entry, got none"):
        Project(folder)
    image = {"id": 1, "file_name": "a.png", "height": 20, "width": 61}
    content = {"images": [image], "annotations": [], "categories": []}
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"a\.png: expected 61 x 20 pixels as noted"):
        Project(folder).clicks(0)
    content["images"].append({**image, "id": 2})
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"every picture once, got 'a\.png'"):
        Project(folder)
    path.unlink()
    path.symlink_to("/etc/hostname")
    with pytest.raises(DataError, match="leads to"):
        Project(folder)


def test_a_file_that_appears_later_is_not_overwritten(folder):
    project = Project(folder)
    (folder / "points.json").write_text('{"images": [], "annotations": [], "categories": []}')
    with pytest.raises(ConflictError, match="another program"):
        project.add_category("cat", True)


def test_no_folder_and_no_pictures(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        Project(tmp_path / "none")
    with pytest.raises(DataError, match="expected pictures to label"):
        Project(tmp_path)
    (tmp_path / ".hidden.png").touch()
    (tmp_path / "exports").mkdir()
    Image.new("RGB", (5, 5)).save(tmp_path / "exports" / "mask.png")
    with pytest.raises(DataError, match="expected pictures to label"):
        Project(tmp_path, without=tmp_path / "exports")
    assert os.listdir(tmp_path / "exports") == ["mask.png"]


@pytest.mark.parametrize("place", ["out/run", "."])
def test_pictures_of_a_training_run_are_not_to_be_labelled(tmp_path, place):
    Image.new("RGB", (5, 5)).save(tmp_path / "a.png")
    run = tmp_path / place
    (run / "pictures").mkdir(parents=True)
    (run / "checkpoints").mkdir()
    (run / "config.yaml").touch()
    Image.new("RGB", (5, 5)).save(run / "pictures" / "training_0.png")
    project = Project(tmp_path)
    assert project.names == ["a.png"]
    left_out = "out/run" if place != "." else "pictures"
    assert project.notes == [f"left out the folder {left_out}, which holds results"]


def test_a_folder_of_pictures_beside_results_is_labelled(tmp_path):
    for name in ("pictures/a.png", "panoptic/a.png", "overlays/a.png"):
        (tmp_path / name).parent.mkdir()
        Image.new("RGB", (5, 5)).save(tmp_path / name)
    (tmp_path / "panoptic.json").touch()
    project = Project(tmp_path)
    assert project.names == ["pictures/a.png"]
    assert project.notes == [
        "left out the folder panoptic, which holds results",
        "left out the folder overlays, which holds results",
    ]
