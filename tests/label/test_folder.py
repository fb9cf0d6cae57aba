"""The command label, from clicks in a file to masks that can be measured; and real pictures."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from msgspec import structs
from PIL import Image

from point2mask.cli import label as command
from point2mask.cli import main
from point2mask.data import (
    PointLabels,
    Shard,
    read_panoptic,
    read_points,
    sample_points,
    write_points,
)
from point2mask.data.panoptic import mask_name
from point2mask.data.results import WHOLE, ResultFolder, locked
from point2mask.data.shapes import write_shapes
from point2mask.evaluation import mask_quality
from point2mask.label import ASSIGNERS, DEFAULT_ASSIGNER, label_folder
from point2mask.label.folder import NETWORK


@pytest.fixture
def shapes(tmp_path):
    """Three tiny pictures and clicks on them: data set, folder of pictures, points file."""
    root = tmp_path / "shapes"
    write_shapes(root, "val", 3, (64, 96))
    dataset = read_panoptic(root / "annotations" / "panoptic_val.json")
    write_points(tmp_path / "points.json", sample_points(dataset, 2, seed=1))
    return dataset, root / "images" / "val", tmp_path / "points.json"


def run(images, points, out, *options):
    arguments = ["label", "--images", images, "--points", points, "--out", out, *options]
    return main([str(argument) for argument in arguments])


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}


def test_writes_a_panoptic_data_set(shapes, tmp_path, capsys):
    dataset, images, points = shapes
    out = tmp_path / "out"
    assert run(images, points, out, "--workers", 1) == 0
    count = sum(len(image.segments) for image in dataset.images)
    assert f"{count} masks in 3 images" in capsys.readouterr().err
    made = read_panoptic(out / "panoptic.json")
    for true, image in zip(dataset.images, made.images, strict=True):
        assert [(s.id, s.category_id) for s in image.segments] == [
            (s.id, s.category_id) for s in true.segments
        ]
        ids = made.segment_map(image)
        assert (ids > 0).all()
        for target in dict(read_points(points).images)[image.record]:
            assert all(ids[y, x] == target.id for x, y in target.pixels)
        overlay = out / "overlays" / f"{os.path.splitext(image.record.file_name)[0]}.jpg"
        with Image.open(overlay) as picture:
            assert picture.size == (96, 64)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["segments"] == count
    assert summary["assigner"] == "merge"
    assert (
        main(["evaluate", "--truth", str(dataset.masks_dir) + ".json", "--predictions", str(out)])
        == 0
    )


def test_published_point_pngs_give_the_same_masks(shapes, tmp_path):
    dataset, images, points = shapes
    pngs = tmp_path / "pngs"
    truth = f"{dataset.masks_dir}.json"
    arguments = ["--annotations", truth, "--per-segment", "1", "--out", str(points)]
    assert main(["points", "sample", *arguments, "--png-dir", str(pngs)]) == 0
    assert run(images, points, tmp_path / "a", "--workers", 1) == 0
    assert run(images, truth, tmp_path / "b", "--point-pngs", pngs, "--workers", 1) == 0
    masks = [files(tmp_path / name / "panoptic") for name in ("a", "b")]
    assert len(masks[0]) == 3
    assert masks[0] == masks[1]


def test_processes_change_nothing_and_a_second_run_replaces_the_first(shapes, tmp_path):
    _, images, points = shapes
    one, two = tmp_path / "one", tmp_path / "two"
    assert run(images, points, one, "--workers", 1) == 0
    assert run(images, points, two, "--workers", 2, "--assigner", "watershed") == 0
    assert run(images, points, two, "--workers", 2, "--resume") == 0
    first, second = files(one), files(two)
    assert first.keys() == second.keys()
    for path in first.keys() - {next(p for p in first if p.name == "summary.json")}:
        assert first[path] == second[path]


def test_results_are_kept_unless_asked_to_go_on(shapes, tmp_path, capsys):
    _, images, points = shapes
    out = tmp_path / "out"
    assert run(images, points, out, "--workers", 1) == 0
    capsys.readouterr()
    before = files(out)
    assert run(images, points, out, "--workers", 1) == 2
    assert "holds results of an earlier run; go on with it by --resume" in error_line(capsys)
    assert files(out) == before


def test_what_is_up_to_date_is_not_made_again(shapes, tmp_path, capsys):
    dataset, images, points = shapes
    out = tmp_path / "out"
    assert run(images, points, out, "--workers", 1) == 0
    labels = read_points(points)
    record, targets = labels.images[1]
    labels.images[1] = record, targets[1:]  # a click is taken back
    write_points(points, labels)
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


def masks_and_index(out):
    """All bytes of a result but the seconds of its summary."""
    return {path: content for path, content in files(out).items() if path.name != "summary.json"}


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
    assert run(images, points, one, "--workers", 1, "--shard", "1/3") == 2
    assert "expected parts of one number, got 1/3 beside 1/2" in error_line(capsys)
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


KILLED = """
import os, signal, sys
from point2mask.data import results
put, left = results.ResultFolder.put, [int(sys.argv.pop(1))]
def counted(self, *arguments, **more):
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    left[0] -= 1
    return put(self, *arguments, **more)
results.ResultFolder.put = counted
from point2mask.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_killed_run_goes_on_to_the_same_bytes(shapes, tmp_path):
    _, images, points = shapes
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert run(images, points, whole, "--workers", 1) == 0
    arguments = ["label", "--images", images, "--points", points, "--out", out, "--workers", "1"]
    for resume in ([], ["--resume"]):
        command = [sys.executable, "-c", KILLED, "1", *map(str, arguments), *resume]
        assert subprocess.run(command).returncode == -9
        assert not (out / "panoptic.json").exists()
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


@pytest.mark.parametrize("assigner", ASSIGNERS)
def test_every_assigner_with_edges_and_areas(shapes, tmp_path, assigner):
    dataset, images, points = shapes
    labels = read_points(points)
    areas = {image.record.id: {s.id: s.area for s in image.segments} for image in dataset.images}
    write_points(
        points,
        PointLabels(
            labels.categories,
            [
                (record, [structs.replace(t, area=areas[record.id][t.id]) for t in targets])
                for record, targets in labels.images
            ],
        ),
    )
    edges = tmp_path / "edges"
    edges.mkdir()
    for image in dataset.images:
        ids = dataset.segment_map(image)
        contour = np.zeros(ids.shape, np.uint8)
        contour[:, 1:] |= (ids[:, 1:] != ids[:, :-1]) * np.uint8(255)
        contour[1:] |= (ids[1:] != ids[:-1]) * np.uint8(255)
        stem = os.path.splitext(image.record.file_name)[0]
        Image.fromarray(contour).resize((48, 32), Image.Resampling.BOX).save(edges / f"{stem}.png")
    out = tmp_path / "out"
    options = ("--assigner", assigner, "--edges", edges, "--no-overlays", "--workers", 1)
    assert run(images, points, out, *options) == 0
    assert not (out / "overlays").exists()
    # Nearest clicks have 0.27 here, the weakest assigner 0.53.
    assert mask_quality(dataset, out).all.mean_iou > 0.4


def test_pictures_without_clicks_are_void(shapes, tmp_path):
    _, images, points = shapes
    labels = read_points(points)
    labels.images[1] = (labels.images[1][0], [])
    label_folder(images, labels, tmp_path / "out")
    made = read_panoptic(tmp_path / "out" / "panoptic.json")
    assert made.images[1].segments == ()
    assert not made.segment_map(made.images[1]).any()


def test_errors_are_one_line(shapes, tmp_path, capsys):
    dataset, images, points = shapes
    name = dataset.images[2].record.file_name
    (tmp_path / "edges").mkdir()
    for message, options in (
        ("expected a picture of edges for every image", ("--edges", tmp_path / "edges")),
        ("--max-side", ("--max-side", 0)),
        ("--assigner", ("--assigner", "nearest")),
    ):
        try:
            code = run(images, points, tmp_path / "out", "--resume", *options)
        except SystemExit as stop:
            code = stop.code
        err = capsys.readouterr().err
        assert code == 2
        assert message in err
        assert err.count("\n") == 1
    (images / name).unlink()
    for workers in (1, 2):
        assert run(images, points, tmp_path / "out", "--workers", workers, "--resume") == 2
        err = capsys.readouterr().err
        assert name in err
        assert err.count("\n") == 1
    assert not (tmp_path / "out" / "panoptic.json").exists()
    assert not list((tmp_path / "out").rglob("*.tmp"))


def error_line(capsys):
    err = capsys.readouterr().err
    assert err.startswith("point2mask: error: ")
    assert err.count("\n") == 1
    return err


def test_the_folder_of_pictures_is_named(shapes, tmp_path, capsys):
    _, _, points = shapes
    assert run(tmp_path / "none", points, tmp_path / "out") == 2
    assert f"{tmp_path}/none: expected the folder of the pictures, but there" in error_line(capsys)
    assert run(points, points, tmp_path / "out") == 2
    assert f"{points}: expected the folder of the pictures, but it is not" in error_line(capsys)
    assert not (tmp_path / "out").exists()


def test_results_of_an_earlier_run_do_not_stay(shapes, tmp_path):
    _, images, points = shapes
    out = tmp_path / "out"
    assert run(images, points, out, "--workers", 1) == 0
    (out / "panoptic" / "notes.txt").touch()
    (out / "mine.png").touch()
    labels = read_points(points)
    write_points(points, PointLabels(labels.categories, labels.images[1:2]))
    stem = os.path.splitext(labels.images[1][0].file_name)[0]
    assert run(images, points, out, "--workers", 1, "--resume") == 0
    kept = {path.name for path in files(out) if not path.name.startswith(".")}
    own = {f"{stem}.png", f"{stem}.jpg", f"{stem}.json", "panoptic.json", "summary.json"}
    assert kept == own | {"1-of-1.json", "1-of-1.lock", "notes.txt", "mine.png"}
    assert run(images, points, out, "--workers", 1, "--no-overlays", "--resume") == 0
    assert not list((out / "overlays").iterdir())


def test_results_of_others_are_left_alone(shapes, tmp_path, capsys):
    dataset, images, points = shapes
    truth = dataset.masks_dir.parent
    (truth / "panoptic.json").write_text("{}")
    before = files(truth)
    for resume in ([], ["--resume"]):
        assert run(images, points, truth, *resume) == 2
        assert "got panoptic.json; choose another" in error_line(capsys)
        assert files(truth) == before
    out = tmp_path / "out"
    (out / "panoptic").mkdir(parents=True)
    (out / "panoptic" / "other.png").touch()
    assert run(images, points, out) == 2
    assert "got panoptic/other.png; choose another" in error_line(capsys)


@pytest.mark.parametrize("workers", [1, 2])
def test_broken_pictures_can_be_left_out(shapes, tmp_path, capsys, workers):
    dataset, images, points = shapes
    names = [image.record.file_name for image in dataset.images]
    (images / names[1]).write_bytes((images / names[1]).read_bytes()[:100])
    out = tmp_path / "out"
    assert run(images, points, out, "--workers", workers) == 2
    err = error_line(capsys)
    assert names[1] in err
    assert "--skip-broken" in err
    assert run(images, points, out, "--workers", workers, "--skip-broken", "--resume") == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[1] == "left out 1 of 3 images:"
    assert f"{names[1]}: expected a complete image" in lines[2]
    assert [image.record.file_name for image in read_panoptic(out / "panoptic.json").images] == [
        names[0],
        names[2],
    ]
    assert json.loads((out / "summary.json").read_text())["left_out"] == 1
    for name in names:
        (images / name).unlink()
    assert run(images, points, tmp_path / "new", "--workers", workers, "--skip-broken") == 2
    assert "none of the 3 pictures can be used" in error_line(capsys)
    assert not (tmp_path / "new" / "panoptic.json").exists()


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_picture_of_the_size_that_viewers_show_is_turned(shapes, tmp_path, capsys, orientation):
    dataset, images, points = shapes
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (64, 96)).save(images / dataset.images[0].record.file_name, exif=exif)
    turned = orientation == 6
    assert run(images, points, tmp_path / "out", "--workers", 1) == (0 if turned else 2)
    if not turned:
        assert "expected a picture of 96 x 64 pixels, got 64 x 96" in error_line(capsys)


def test_labelling_needs_no_torch():
    script = "import sys, point2mask.label; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_command_offers_what_there_is():
    assert (*ASSIGNERS, NETWORK) == command.ASSIGNERS
    assert command.ASSIGNERS[0] == DEFAULT_ASSIGNER


@pytest.mark.data
def test_real_pictures(data_root, tmp_path):
    root = data_root / "coco_mini"
    dataset = read_panoptic(root / "annotations" / "panoptic_train.json")
    few = replace(dataset, images=dataset.images[:3])
    label_folder(root / "images" / "train", sample_points(few), tmp_path)
    # Flat (nearest click) masks have 0.2 over the whole set, these 0.4: a floor well between, for
    # what three pictures vary by.
    assert mask_quality(few, tmp_path).all.mean_iou > 0.28
