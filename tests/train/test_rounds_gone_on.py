"""Rounds that are stopped, moved, or given something else when they are taken up again."""

import os
import shutil
import signal
from dataclasses import replace

import fsspec
import pytest
import runs

from point2mask.data import DataError, read_panoptic
from point2mask.rounds import train_rounds
from point2mask.train import own_masks
from point2mask.train.errors import Stopped
from point2mask.train.train import train


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    runs.write_data(root, train=4)
    return root


@pytest.fixture(scope="module")
def two_rounds(root, tmp_path_factory):
    out = tmp_path_factory.mktemp("rounds") / "out"
    return out, train_rounds(runs.short(root), out, 2, device="cpu")


@pytest.mark.parametrize("number", [1, 2])
def test_another_configuration_is_refused(number, root, two_rounds, tmp_path):
    """Be the last round finished or not even begun: masks of one run are not another's."""
    out = tmp_path / "out"
    shutil.copytree(two_rounds[0], out)
    if number == 1:
        shutil.rmtree(out / "round_2")
        shutil.rmtree(out / "labels_2")
    config = runs.short(root)
    others = {
        "network.queries": replace(config, network=replace(config.network, queries=20)),
        "seed": replace(config, seed=7),
        "schedule.epochs": replace(config, schedule=replace(config.schedule, epochs=2)),
        "merge.overlap_things": replace(config, merge=replace(config.merge, overlap_things=0.1)),
    }
    for name, other in others.items():
        with pytest.raises(DataError, match=rf"{name}: the run to be taken up again has"):
            train_rounds(other, out, 2, resume=True, device="cpu")
    free = replace(config, data=replace(config.data, workers=1, skip_broken=True))
    again = train_rounds(free, out, number, resume=True, device="cpu")
    assert [entry.result for entry in again] == [e.result for e in two_rounds[1][:number]]


def test_a_folder_may_move(root, two_rounds, tmp_path):
    """The data, too; the second round still learns from its own labels."""
    shutil.copytree(root, tmp_path / "data")
    moved = tmp_path / "moved"
    shutil.copytree(two_rounds[0], moved)
    (moved / "round_2/result.json").unlink()
    config = runs.short(tmp_path / "data")
    again = train_rounds(config, moved, 2, resume=True, device="cpu")
    assert again[1].result["steps"] == 2
    shutil.rmtree(moved / "labels_2")
    with pytest.raises(DataError, match="labels_2"):
        train(
            own_masks.learning_from(config, moved / "labels_2"),
            moved / "round_2",
            resume=True,
            device="cpu",
        )


def test_labels_of_another_round_are_no_moved_ones(root, two_rounds, tmp_path):
    out = two_rounds[0]
    shutil.copytree(out / "labels_2", tmp_path / "labels_3")
    config = own_masks.learning_from(runs.short(root), tmp_path / "labels_3")
    with pytest.raises(DataError, match=r"data\.train\.annotations: the run to be taken up again"):
        train(config, out / "round_2", resume=True, device="cpu")


def test_broken_pictures_are_left_out_where_they_may_be(root, tmp_path):
    shutil.copytree(root, tmp_path / "data")
    (tmp_path / "data/images/train/000002.png").write_bytes(b"no picture")
    config = runs.short(tmp_path / "data")
    config = replace(config, data=replace(config.data, skip_broken=True))
    said = []
    train_rounds(config, tmp_path / "out", 2, device="cpu", say=said.append)
    assert len(read_panoptic(tmp_path / "out/labels_2/panoptic.json").images) == 3
    (line,) = [text for text in said if text.startswith("left out")]
    assert "left out, as they cannot be read: 1, such as " in line
    assert "000002.png: expected an image" in line


def test_a_signal_while_pictures_are_labelled(root, two_rounds, tmp_path):
    """Ends the work at once, and it goes on from there."""
    out = tmp_path / "out"
    shutil.copytree(two_rounds[0], out)
    shutil.rmtree(out / "round_2")
    shutil.rmtree(out / "labels_2")
    before = signal.getsignal(signal.SIGTERM)

    def progress(done, total):
        if done == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped, match=r"labels_2: stopped by SIGTERM; --resume goes on from there"):
        train_rounds(runs.short(root), out, 2, resume=True, device="cpu", progress=progress)
    assert signal.getsignal(signal.SIGTERM) == before
    assert not (out / "round_2").exists()
    kept = {path: path.stat().st_mtime_ns for path in (out / "labels_2/records").rglob("*.json")}
    assert 0 < len(kept) < 4
    again = train_rounds(runs.short(root), out, 2, resume=True, device="cpu")
    assert again[1].result["losses"] == two_rounds[1][1].result["losses"]
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())


@pytest.mark.parametrize("how", ["rounds", "own masks"])
def test_data_may_be_in_a_store(how, root, tmp_path):
    """Masks that are grown stay on this machine."""
    name = f"point2mask-{tmp_path.name}"
    fsspec.filesystem("memory").put(f"{root}/", f"/{name}/", recursive=True)
    config = runs.short(root)
    config = replace(config, data=replace(config.data, root=f"memory://{name}"))
    out = tmp_path / "a b"  # which a URL does not show as it is
    if how == "rounds":
        assert len(train_rounds(config, out, 2, device="cpu")) == 2
    else:
        own = replace(config.supervision, own_masks_from=1)
        train(replace(config, supervision=own), out, device="cpu")
    folder = out / ("labels_2" if how == "rounds" else "masks")
    assert len(read_panoptic(folder / "panoptic.json").images) == 4


def test_weights_to_start_from_may_be_gone(root, two_rounds, tmp_path):
    """A run that has a checkpoint needs neither them nor those of the backbone any more."""
    start = tmp_path / "start"
    shutil.copytree(two_rounds[0] / "round_1", start)
    config = runs.short(root)
    config = replace(config, network=replace(config.network, weights=str(start)))
    schedule = replace(config.schedule, epochs=2)
    longer = replace(config, schedule=schedule)
    whole = train(longer, tmp_path / "whole", device="cpu")
    train(config, tmp_path / "run", device="cpu")
    shutil.rmtree(start)
    again = train(longer, tmp_path / "run", device="cpu", resume=True)
    assert again["losses"] == whole["losses"]
    with pytest.raises(DataError, match="expected a checkpoint, or the folder of a run"):
        train(config, tmp_path / "new", device="cpu")
