"""Masks of a folder of pictures with what a trained network knows: ``label --checkpoint``."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import runs
from PIL import Image
from safetensors.torch import load_file, save_file

from point2mask.checkpoint import DIGESTS, write_digests
from point2mask.cli import main
from point2mask.data import PointLabels, read_panoptic, sample_points, write_points
from point2mask.data.records import Category
from point2mask.hub import load_predictor, save_pretrained
from point2mask.label import LabelOptions, label_folder
from point2mask.label.network import TrainedNetwork
from point2mask.train.train import train


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two pictures with clicks, and a run of three steps: data set, root, points file, run."""
    root = tmp_path_factory.mktemp("data")
    runs.write_data(root)
    config = runs.config(root)
    config = replace(config, schedule=replace(config.schedule, epochs=1))
    train(config, root / "run", device="cpu", make_module=runs.Semantic)
    dataset = read_panoptic(root / "annotations" / "panoptic_val.json")
    write_points(root / "points.json", sample_points(dataset))
    return dataset, root


def label(root, out, *options, points="points.json"):
    images = ("--images", root / "images" / "val", "--points", root / points, "--out", out)
    return main([str(argument) for argument in ("label", *images, *options)])


def maps(out):
    made = read_panoptic(out / "panoptic.json")
    return {image.record.file_name: made.segment_map(image) for image in made.images}


def pictures(dataset, root):
    for image in dataset.images:
        with Image.open(root / "images" / "val" / image.record.file_name) as picture:
            yield image.record, np.array(picture.convert("RGB"))


def test_a_saved_folder_is_as_good_as_its_run(data, tmp_path):
    """The way masks are grown goes with the network."""
    _, root = data
    predictor = load_predictor(root / "run")
    options = replace(predictor.supervision.pseudo_masks, assigner="nearest")
    changed = replace(predictor.supervision, pseudo_masks=options, clicked_classes=True)
    save_pretrained(replace(predictor, supervision=changed), tmp_path / "model")
    again = TrainedNetwork(load_predictor(tmp_path / "model"))
    assert again.grower.supervision == changed
    assert again.options.assigner == "nearest"
    save_pretrained(predictor, tmp_path / "model")
    for number, options in enumerate(((), ("--assigner", "network"))):
        made = []
        for folder in (root / "run", tmp_path / "model"):
            out = tmp_path / f"{folder.name}_{number}"
            assert label(root, out, "--checkpoint", folder, *options) == 0
            made.append(maps(out))
        one, other = made
        assert one.keys() == other.keys()
        assert all(np.array_equal(one[name], other[name]) for name in one)


def test_learned_boundaries_are_the_edges(data, tmp_path):
    dataset, root = data
    assert label(root, tmp_path / "out", "--checkpoint", root / "run") == 0
    network = TrainedNetwork(load_predictor(root / "run"))
    (tmp_path / "edges").mkdir()
    for record, pixels in pictures(dataset, root):
        edges = network.prepare(pixels).edges()[0]
        assert edges.shape == (4, 6)  # cells of 8 pixels; padding is left out
        assert ((edges > 0) & (edges < 1)).all()
        strength = Image.fromarray(np.round(edges * 255).astype(np.uint8))
        strength.save((tmp_path / "edges" / record.file_name).with_suffix(".png"))
    assert label(root, tmp_path / "maps", "--edges", tmp_path / "edges") == 0
    assert label(root, tmp_path / "plain") == 0
    made, expected, plain = (maps(tmp_path / name) for name in ("out", "maps", "plain"))
    # 8 bits of an edge map may turn a pixel or two; the built-in edges alone give other masks.
    same = np.mean([made[name] == expected[name] for name in made])
    assert same > 0.97
    assert same > np.mean([made[name] == plain[name] for name in made])


def test_the_assigner_network_gives_its_pseudo_masks(data, tmp_path):
    dataset, root = data
    options = ("--checkpoint", root / "run", "--assigner", "network", "--network-side", 48)
    assert label(root, tmp_path / "out", *options) == 0
    made = maps(tmp_path / "out")
    network = TrainedNetwork(load_predictor(root / "run"), 48)
    clicks = dict(sample_points(dataset).images)
    for record, pixels in pictures(dataset, root):
        targets = clicks[record]
        index = network.prepare(pixels).label(targets, dataset.categories)
        ids = np.array([target.id for target in targets] + [0])[index]
        np.testing.assert_array_equal(made[record.file_name], ids)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["checkpoint"] == network.digest()
    assert (summary["assigner"], summary["network_side"]) == ("network", 48)


def test_a_run_that_went_on_is_read_again(data, tmp_path):
    dataset, root = data
    run = tmp_path / "run"
    shutil.copytree(root / "run", run)
    options = LabelOptions(checkpoint=run, overlays=False)
    for name, sign in (("one", 1.0), ("two", -1.0)):
        for path in run.rglob("*.safetensors"):
            tensors = load_file(path)
            for key in tensors:
                if ".boundary." in key:
                    tensors[key] *= sign
            save_file(tensors, path)
            (path.parent / DIGESTS).unlink()
            write_digests(path.parent)
        images = root / "images" / "val"
        label_folder(images, sample_points(dataset), tmp_path / name, options)
    one, two = maps(tmp_path / "one"), maps(tmp_path / "two")
    assert any((one[name] != two[name]).any() for name in one)


@pytest.mark.parametrize("assigner", ["merge", "network"])
def test_batches_change_nothing(data, tmp_path, assigner):
    _, root = data
    for batch in (1, 2):
        options = ("--checkpoint", root / "run", "--assigner", assigner, "--batch", batch)
        assert label(root, tmp_path / str(batch), *options) == 0
    one, two = maps(tmp_path / "1"), maps(tmp_path / "2")
    assert all((one[name] == two[name]).all() for name in one)
    summary = json.loads((tmp_path / "2" / "summary.json").read_text())
    assert summary["batch"] == 2


def test_half_precision_is_asked_for_by_name(data, tmp_path):
    _, root = data
    options = ("--checkpoint", root / "run", "--assigner", "network", "--network-side", 96)
    assert label(root, tmp_path / "float32", *options) == 0
    full = maps(tmp_path / "float32")
    for precision in ("bfloat16", "float16"):
        out = tmp_path / precision
        assert label(root, out, *options, "--precision", precision) == 0
        made = maps(out)
        assert np.mean([made[name] == full[name] for name in full]) > 0.95
        # Masks in another precision are made again, not kept.
        assert label(root, out, *options, "--resume") == 0
        assert all((maps(out)[name] == full[name]).all() for name in full)


@pytest.mark.slow
def test_processes_change_nothing(data, tmp_path):
    _, root = data
    for workers in (1, 2):
        out = tmp_path / str(workers)
        assert label(root, out, "--checkpoint", root / "run", "--workers", workers) == 0
    one, two = maps(tmp_path / "1"), maps(tmp_path / "2")
    assert all((one[name] == two[name]).all() for name in one)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--assigner", "network"), "need --checkpoint"),
        (("--network-side", "64"), "need --checkpoint"),
        (("--checkpoint", "run", "--edges", "edges"), "leave one of them out"),
        (("--checkpoint", "nowhere"), "nowhere"),
        (("--precision", "float16"), "--precision is for the network of --checkpoint"),
        (("--batch", "2"), "--batch is for the network of --checkpoint"),
    ],
)
def test_what_does_not_go_together_is_one_line(data, tmp_path, capsys, options, message):
    _, root = data
    assert label(root, tmp_path / "out", *options) != 0
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_options_are_checked():
    with pytest.raises(ValueError, match="need a checkpoint"):
        LabelOptions(assigner="network")


def test_an_unknown_category_is_named(data, tmp_path, capsys):
    dataset, root = data
    labels = sample_points(dataset)
    renamed = {
        key: Category(c.id, "unicorn", c.isthing, c.color) for key, c in labels.categories.items()
    }
    write_points(root / "unicorns.json", PointLabels(renamed, labels.images))
    options = ("--checkpoint", root / "run", "--assigner", "network")
    assert label(root, tmp_path / "out", *options, points="unicorns.json") != 0
    assert "does not know unicorn" in capsys.readouterr().err
