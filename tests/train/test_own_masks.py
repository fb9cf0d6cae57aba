"""Runs that learn from clicks first, and then from masks that they have grown once."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import runs
import torch

from point2mask.data import DataError, read_panoptic, sample_points
from point2mask.train import own_masks
from point2mask.train.config import unfinished_warm_ups
from point2mask.train.errors import Stopped
from point2mask.train.train import train
from point2mask.trained import load_trained


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    runs.write_data(root)
    return root


def given(root, start=4, **schedule):
    """Three epochs of three steps; masks of its own from step 4 on, in the second."""
    config = runs.config(Path(root))
    return replace(
        config,
        supervision=replace(config.supervision, transport_warmup=1, own_masks_from=start),
        schedule=replace(config.schedule, ema_decay=0.5, **schedule),
    )


@pytest.fixture(scope="module")
def whole(root, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    return out, train(given(root), out, device="cpu")


def weights(out):
    return load_trained(out).network.state_dict()


def same(out, other):
    first, second = weights(out), weights(other)
    return all(torch.equal(first[name], second[name]) for name in first)


def test_every_click_has_its_mask_and_masks_are_learned_as_true_ones(root, whole):
    out, result = whole
    truth = read_panoptic(root / "annotations/panoptic_train.json")
    clicks = dict(sample_points(truth).images)
    grown = read_panoptic(out / "masks/panoptic.json")
    assert [image.record for image in grown.images] == [image.record for image in truth.images]
    for image in grown.images:
        ids = grown.segment_map(image)
        assert all(
            ids[y, x] == target.id for target in clicks[image.record] for x, y in target.pixels
        )
    assert result["steps"] == 9
    # Of the last two steps: colours do not speak where the classes of all cells are known.
    assert "semantic_point" in result["losses"]
    assert not {"semantic_lab", "semantic_tree"} & result["losses"].keys()


def test_until_then_nothing_differs(root, tmp_path):
    for name, start in (("without", None), ("with", 3)):
        train(given(root, start, epochs=1), tmp_path / name, device="cpu")
    assert same(tmp_path / "without", tmp_path / "with")
    assert not (tmp_path / "with/masks").exists()


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_run_goes_on_to_the_same_bits(epochs, root, whole, tmp_path):
    """Stopped before the masks were grown, and after."""
    train(given(root, epochs=epochs), tmp_path, device="cpu")
    assert (tmp_path / "masks").exists() == (epochs == 2)
    again = train(given(root), tmp_path, device="cpu", resume=True)
    assert again["losses"] == whole[1]["losses"]
    assert same(tmp_path, whole[0])


def test_a_run_that_was_stopped_while_it_grew_them_goes_on(root, whole, tmp_path, monkeypatch):
    grow = own_masks.label_folder

    def stopped(*arguments):
        *others, _progress, on_broken = arguments

        def progress(done, total):
            if done == 3:
                raise Stopped

        return grow(*others, progress, on_broken)

    monkeypatch.setattr(own_masks, "label_folder", stopped)
    with pytest.raises(Stopped, match=r"at step 4 of 9, of which there is a checkpoint"):
        train(given(root), tmp_path, device="cpu")
    assert not (tmp_path / "masks/panoptic.json").exists()
    monkeypatch.undo()
    train(given(root), tmp_path, device="cpu", resume=True)
    assert same(tmp_path, whole[0])


def test_masks_of_a_run_whose_checkpoints_are_gone_are_not_taken(root, whole, tmp_path):
    shutil.copytree(whole[0], tmp_path / "run")
    shutil.rmtree(tmp_path / "run/checkpoints")
    with pytest.raises(DataError, match=r"run/masks: masks of an earlier run"):
        train(given(root), tmp_path / "run", device="cpu")


def test_a_run_that_ends_before_says_so(root):
    said = "\n".join(unfinished_warm_ups(given(root), 4))
    assert "own_masks_from=4, but the run ends after 4 steps: it never learns from masks of" in said
    assert "own_masks_from" not in "\n".join(unfinished_warm_ups(given(root), 5))
    masks = replace(given(root), supervision=replace(given(root).supervision, kind="masks"))
    assert "own_masks_from" not in "\n".join(unfinished_warm_ups(masks, 4))


def test_only_such_a_run_minds_a_folder_of_that_name(root, tmp_path):
    (tmp_path / "masks").mkdir()
    assert train(given(root, None, epochs=1), tmp_path, device="cpu")["steps"] == 3
    assert not list((tmp_path / "masks").iterdir())


def test_another_module_has_to_know_how(root, tmp_path):
    with pytest.raises(AttributeError, match="learn_from_masks"):
        train(given(root), tmp_path, device="cpu", make_module=runs.Semantic)
    assert not (tmp_path / "checkpoints").exists()


def test_what_is_broken_is_left_out_where_it_may_be(root, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(root, data)
    images = [
        x.record.file_name for x in read_panoptic(data / "annotations/panoptic_train.json").images
    ]
    (data / "images/train" / images[0]).write_bytes(b"no picture")
    (data / "annotations/panoptic_train" / images[1]).with_suffix(".png").write_bytes(b"no mask")
    config = given(data, 1)
    with pytest.raises(DataError):
        train(config, tmp_path / "refused", device="cpu")
    config = replace(config, data=replace(config.data, skip_broken=True))
    out = tmp_path / "out"
    result = train(config, out, device="cpu")
    assert (result["images"], result["broken_images"].keys()) == (6, set(images[:2]))
    assert len(read_panoptic(out / "masks/panoptic.json").images) == 4
    again = train(config, out, device="cpu", resume=True)
    assert again["images"] == 6
