"""Labelling in parts, after interruptions, and beside other runs."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from commands import error_line
from label_folders import files, masks_and_index, run
from msgspec import structs
from PIL import Image

from point2mask.cli import main
from point2mask.data import Shard, read_points, write_points
from point2mask.data.panoptic import mask_name
from point2mask.data.results import WHOLE, ResultFolder, locked


def test_results_are_kept_unless_asked_to_go_on(shapes, tmp_path, capsys):
    _, images, points = shapes
    out = tmp_path / "out"
    assert run(images, points, out, "--workers", 1) == 0
    capsys.readouterr()
    before = files(out)
    assert run(images, points, out, "--workers", 1) == 2
    assert "holds results of an earlier run; go on with it by --resume" in error_line(capsys)
    assert files(out) == before


@pytest.mark.parametrize("suffix", [".bmp", ".tif"])
def test_a_picture_that_is_replaced_by_one_of_as_many_bytes(shapes, tmp_path, suffix):
    """As those without compression are; the file's times say nothing either."""
    _, folder, _ = shapes
    labels = read_points(shapes[2])
    images, points = tmp_path / "plain", tmp_path / "plain.json"
    images.mkdir()
    clicked = []
    for record, targets in labels.images:
        with Image.open(folder / record.file_name) as picture:
            picture.save((images / record.file_name).with_suffix(suffix))
        name = Path(record.file_name).with_suffix(suffix).name
        clicked.append((structs.replace(record, file_name=name), targets))
    write_points(points, replace(labels, images=clicked))
    out, fresh = tmp_path / "out", tmp_path / "fresh"
    assert run(images, points, out, "--workers", 1) == 0
    path = images / clicked[1][0].file_name
    before = path.stat()
    with Image.open(path) as picture:
        picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert run(images, points, out, "--workers", 1, "--resume") == 0
    assert run(images, points, fresh, "--workers", 1) == 0
    assert masks_and_index(out) == masks_and_index(fresh)


def test_what_is_up_to_date_is_not_made_again(shapes, tmp_path, capsys):
    dataset, images, points = shapes
    out = tmp_path / "out"
    assert run(images, points, out, "--workers", 1) == 0
    labels = read_points(points)
    record, targets = labels.images[1]
    clicked = [*labels.images]
    clicked[1] = record, targets[1:]  # a click is taken back
    write_points(points, replace(labels, images=clicked))
    times = {path: path.stat().st_mtime_ns for path in (out / "panoptic").iterdir()}
    (out / "panoptic" / mask_name(dataset.images[2].record)).write_bytes(b"cut")
    capsys.readouterr()
    assert run(images, points, out, "--workers", 1, "--resume") == 0
    assert "in 3 images, 1 of them kept," in capsys.readouterr().err
    changed = {p.name for p, time in times.items() if p.stat().st_mtime_ns != time}
    assert changed == {mask_name(dataset.images[i].record) for i in (1, 2)}
    fresh = tmp_path / "fresh"
    assert run(images, points, fresh, "--workers", 1) == 0
    assert masks_and_index(out) == masks_and_index(fresh)


@pytest.mark.parametrize("together", [True, False])
def test_parts_in_any_order_make_the_whole(shapes, tmp_path, capsys, together):
    _, images, points = shapes
    whole = tmp_path / "whole"
    assert run(images, points, whole, "--workers", 1) == 0
    outs = [tmp_path / ("parts" if together else f"part{k}") for k in (2, 1)]
    for k, out in zip((2, 1), outs, strict=True):
        assert run(images, points, out, "--workers", 1, "--shard", f"{k}/2") == 0
        assert not (out / "panoptic.json").exists()
        if k == 2:
            assert main(["gather", str(out)]) == 2
            assert "expected all 2 parts, got none of 1/2" in capsys.readouterr().err
    gathered = outs[0] if together else tmp_path / "gathered"
    out_option = [] if together else ["--out", str(gathered)]
    assert main(["gather", *map(str, dict.fromkeys(outs)), *out_option]) == 0
    assert "28 masks in 3 images" in capsys.readouterr().err

    def results(folder):
        return {p: c for p, c in masks_and_index(folder).items() if p.parts[0] != "runs"}

    assert results(gathered) == results(whole)


def test_parts_that_do_not_fit_are_named(shapes, tmp_path, capsys):
    _, images, points = shapes
    one, two = tmp_path / "one", tmp_path / "two"
    assert run(images, points, one, "--workers", 1, "--shard", "1/2") == 0
    assert run(images, points, two, "--shard", "2/2", "--assigner", "watershed") == 0
    capsys.readouterr()
    out = ["--out", str(tmp_path / "all")]
    assert main(["gather", str(one), str(two), *out]) == 2
    assert "its settings differ" in error_line(capsys)
    assert main(["gather", str(one), str(one), *out]) == 2
    assert "expected every folder once, got it twice" in error_line(capsys)
    assert run(images, points, one, "--workers", 1, "--shard", "1/3") == 2
    assert "expected parts of one number, got 1/3 beside 1/2" in error_line(capsys)
    third = tmp_path / "third"
    assert run(images, points, third, "--workers", 1, "--shard", "1/3") == 0
    capsys.readouterr()
    assert main(["gather", str(one), str(third), *out]) == 2
    assert f"third: expected parts of one number, got 1/3 beside 1/2 of {one}" in error_line(capsys)
    assert run(images, points, one, "--shard", "3/2") == 2
    assert "--shard: expected a part" in error_line(capsys)
    assert run(images, points, two, "--workers", 1, "--shard", "2/2", "--resume") == 0
    lost = next((two / "records").iterdir())
    lost.unlink()
    capsys.readouterr()
    assert main(["gather", str(one), str(two), *out]) == 2
    assert f"1 of 3 pictures are missing: {lost.stem}" in error_line(capsys)
    assert not (tmp_path / "all").exists()


def test_two_runs_do_not_share_a_folder(shapes, tmp_path, capsys):
    _, images, points = shapes
    out = tmp_path / "out"
    with locked(ResultFolder(out), WHOLE):
        assert run(images, points, out, "--workers", 1) == 2
        assert "another run is at work in this folder" in error_line(capsys)
    with locked(ResultFolder(out), Shard(1, 2)):
        assert run(images, points, out, "--workers", 1, "--shard", "1/2") == 2
        assert "another run is at work" in error_line(capsys)
        assert run(images, points, out, "--workers", 1, "--shard", "2/2") == 0


def test_a_folder_behind_a_link_is_refused(shapes, tmp_path, capsys):
    _, images, points = shapes
    out, mine = tmp_path / "out", tmp_path / "mine"
    mine.mkdir()
    (mine / "own.png").touch()
    out.mkdir()
    (out / "panoptic").symlink_to(mine)
    assert run(images, points, out, "--workers", 1) == 2
    assert "panoptic: expected a folder of results, but it is a file or a link" in error_line(
        capsys
    )
    assert [path.name for path in mine.iterdir()] == ["own.png"]


# At its worst moment: files are whole, and have not got their names.
KILLED = """
import os, signal, sys
replace, left = os.replace, [int(sys.argv.pop(1))]
def counted(*arguments):
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    left[0] -= 1
    return replace(*arguments)
os.replace = counted
from point2mask.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_killed_run_goes_on_to_the_same_bytes(shapes, tmp_path):
    _, images, points = shapes
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert run(images, points, whole, "--workers", 1) == 0
    arguments = ["label", "--images", images, "--points", points, "--out", out, "--workers", "1"]
    for renamed, resume in ((1, []), (3, ["--resume"])):
        command = [sys.executable, "-c", KILLED, str(renamed), *map(str, arguments), *resume]
        assert subprocess.run(command).returncode == -9
        assert not (out / "panoptic.json").exists()
    assert len(list(out.rglob(".*.tmp"))) == 2
    assert run(images, points, out, "--workers", 1, "--resume") == 0
    assert masks_and_index(out) == masks_and_index(whole)


def test_workers_end_with_their_parent(shapes, tmp_path):
    """A parent that is killed leaves nobody behind that works on unseen."""
    script = (
        "import os, sys, time, signal\n"
        "from point2mask.workers import spread\n"
        "if __name__ == '__main__':\n"
        "    for pid in spread(__import__('workers_of_tests').slow, range(2), 2):\n"
        "        print(pid, flush=True)\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    (tmp_path / "workers_of_tests.py").write_text(
        "import os, time\ndef slow(task):\n    time.sleep(100 * task)\n    return os.getpid()\n"
    )
    (tmp_path / "parent.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "parent.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == -9
    child = int(done.stdout)
    for _ in range(100):
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise AssertionError("the worker is still there")
