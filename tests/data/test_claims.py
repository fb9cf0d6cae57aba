"""Commands replace what they made themselves, and nothing else."""

import fcntl
import json
import os
import subprocess
import sys

import pytest

from point2mask.cli import main
from point2mask.data import DataError, read_panoptic
from point2mask.data.claims import LOCK, claimed, one_writer

SHAPES = ["shapes", "--train", "0", "--val", "2", "--height", "32", "--width", "48"]


def claim(folder, command="convert", names=("a", "b.json")):
    with claimed(folder, command, names):
        pass


def test_own_files_are_replaced_and_others_are_not(tmp_path):
    out = tmp_path / "out"
    claim(out)
    (out / "a").mkdir()
    (out / "b.json").write_text("1")
    claim(out)
    claim(out, names=("a", "c"))
    claim(out)  # still its own
    (out / "mine.txt").write_text("1")
    for command, names in (("convert", ["mine.txt"]), ("shapes", ["a"]), ("shapes", ["b.json"])):
        with pytest.raises(DataError, match=r"expected a new name, or what an earlier 'point2mask"):
            claim(out, command, names)
    claim(out, "shapes", ["d"])


def test_what_a_killed_run_had_begun_is_removed(tmp_path):
    claim(tmp_path / "out")
    begun = [tmp_path / "out" / name for name in ("a/b", "a", "", "mine")]
    for folder in begun:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f".{'0f' * 8}.tmp").write_bytes(b"half")
        (folder / ".backup.tmp").write_bytes(b"mine")
    claim(tmp_path / "out")
    left = [folder for folder in begun if (folder / f".{'0f' * 8}.tmp").exists()]
    assert left == [tmp_path / "out/mine"]  # is not of the command
    assert all((folder / ".backup.tmp").exists() for folder in begun)


def test_links_are_not_written_through(tmp_path):
    (tmp_path / "photos").mkdir()
    out = tmp_path / "out"
    claim(out)
    (out / "a").symlink_to(tmp_path / "photos")
    with pytest.raises(DataError, match="a: expected a new name"):
        claim(out)


def test_two_runs_in_one_folder(tmp_path):
    with claimed(tmp_path, "convert", ["a"]):
        with pytest.raises(DataError, match="another run is at work in this folder"):
            claim(tmp_path, "convert", ["b"])
    claim(tmp_path, "convert", ["b"])
    with (tmp_path / LOCK).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_one_process_writes_a_file(tmp_path):
    path = tmp_path / "points.json"
    with one_writer(path, "taken") as certain:
        assert certain
        with pytest.raises(DataError, match=r"^taken$"), one_writer(path, "taken"):
            pass
        with one_writer(tmp_path / "other.json", "taken"):
            pass
    with one_writer(path, "taken"):
        pass
    assert not path.exists()


def test_the_right_to_write_ends_with_a_killed_process(tmp_path):
    program = f"""
import sys
from pathlib import Path
from point2mask.data.claims import one_writer
with one_writer(Path({str(tmp_path / "points.json")!r}), "taken"):
    print("held", flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(DataError, match="taken"), one_writer(tmp_path / "points.json", "taken"):
            pass
        holder.kill()
    with one_writer(tmp_path / "points.json", "taken"):
        pass


def test_where_there_are_no_locks_or_nothing_can_be_written(tmp_path, monkeypatch):
    path = tmp_path / "points.json"
    with monkeypatch.context() as patch:

        def refuse(*_):
            raise OSError(37, "No locks available")

        patch.setattr(fcntl, "flock", refuse)
        with one_writer(path, "taken") as certain:
            assert not certain
    for lock in tmp_path.iterdir():
        lock.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda *_: False)
        with one_writer(path, "taken") as certain:
            assert certain
    with one_writer(tmp_path / "none" / "points.json", "taken"):
        pass
    assert not list(tmp_path.iterdir())


def test_a_lock_that_somebody_else_has_made_can_be_had(tmp_path, monkeypatch):
    path = tmp_path / "points.json"
    with one_writer(path, "taken"):
        pass
    real = type(path).open

    def open_to_read(self, mode):
        if mode != "rb":
            raise PermissionError(13, "Permission denied", str(self))
        return real(self, mode)

    monkeypatch.setattr(type(path), "open", open_to_read)
    with (
        one_writer(path, "taken") as certain,
        pytest.raises(DataError, match="taken"),
        one_writer(path, "taken"),
    ):
        pass
    assert certain


def test_a_mark_that_is_damaged(tmp_path):
    (tmp_path / ".point2mask.json").write_text('{"convert": [1]}')
    with pytest.raises(DataError, match=r"\.point2mask\.json: .*: expected text"):
        claim(tmp_path)


def fails(capfd, *words):
    assert main([str(word) for word in words]) == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1, error
    return error


def test_commands_leave_the_files_of_others(tmp_path, capfd):
    (tmp_path / "images").mkdir()
    assert "images: expected a new name" in fails(capfd, *SHAPES, tmp_path)
    assert [path.name for path in (tmp_path / "images").iterdir()] == []
    out = tmp_path / "shapes"
    assert main([*SHAPES, str(out)]) == 0
    assert main([*SHAPES, str(out)]) == 0
    truth = out / "annotations" / "panoptic_val.json"
    before = truth.read_bytes()
    capfd.readouterr()
    sample = "points", "sample", "--annotations", truth, "--out"
    assert "expected a new name, or a JSON of point labels" in fails(capfd, *sample, truth)
    picture = out / "images" / "val" / "000001.png"
    assert "but there is another file" in fails(capfd, *sample, picture)
    assert truth.read_bytes() == before
    points = tmp_path / "points.json"
    assert main([str(word) for word in (*sample, points)]) == 0
    clicks = points.read_bytes()
    for number in (1, 2):
        again = [str(word) for word in (*sample, points, "--seed", number)]
        capfd.readouterr()
        assert main(again) == 0
        assert f"are in points.json.~{number}~ now" in capfd.readouterr().err
        assert main(again) == 0  # the same: nothing to keep
        assert "now" not in capfd.readouterr().err
    kept = sorted(path for path in tmp_path.iterdir() if path.name.startswith("points.json.~"))
    assert [path.name for path in kept] == ["points.json.~1~", "points.json.~2~"]
    assert kept[0].read_bytes() == clicks


def test_no_json_beside_masks_of_another_run(tmp_path, monkeypatch):
    """A run killed while it writes masks anew leaves no JSON that speaks of the old ones."""
    out = tmp_path / "shapes"
    assert main([*SHAPES, str(out)]) == 0
    truth = out / "annotations" / "panoptic_val.json"
    assert json.loads(truth.read_bytes())["images"]
    monkeypatch.setattr("point2mask.data.panoptic.write_ids", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main([*SHAPES, str(out)])
    assert not truth.exists()
    with pytest.raises(DataError):
        read_panoptic(truth)
