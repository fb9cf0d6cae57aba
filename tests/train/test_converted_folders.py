"""A published checkpoint of full size, random, from its file to all that takes its folder."""

import json
import urllib.request
from urllib.parse import urlencode

import numpy as np
import pytest
import torch
import voc_trees
from published_networks import random_state, shapes_of
from published_segformer import segformer_shapes

from point2mask.cli import main
from point2mask.data import DataError, read_panoptic
from point2mask.hub import load_predictor
from point2mask.label.network import TrainedNetwork
from point2mask.train.config import load_config
from point2mask.train.start import start_network

pytestmark = [pytest.mark.data, pytest.mark.slow]
VAL = "2007_000003"


def convert(state, folder):
    """By the command; pictures of the folder's network are smaller then, for the sake of time."""
    file = folder.with_suffix(".pth")
    torch.save({"meta": {}, "state_dict": state}, file)
    assert main(["convert", "checkpoint", str(file), "--out", str(folder)]) == 0
    file.unlink()
    config = json.loads((folder / "config.json").read_text())
    config["augment"]["test_short_side"] = 48
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def published(data_root, tmp_path_factory):
    """The folder of ``voc_r50``."""
    state = random_state(shapes_of(data_root, "voc_r50"))
    return convert(state, tmp_path_factory.mktemp("voc_r50") / "folder")


@pytest.fixture(scope="module")
def segformer(data_root, tmp_path_factory):
    """The folder of Panoptic SegFormer itself."""
    state = random_state(segformer_shapes(shapes_of(data_root, "coco_r50")))
    return convert(state, tmp_path_factory.mktemp("segformer") / "folder")


@pytest.fixture(scope="module")
def voc(tmp_path_factory):
    """A small VOC 2012, converted, with a click a segment."""
    root = tmp_path_factory.mktemp("voc")
    tree = voc_trees.write_voc(root / "VOC2012", val=(VAL,))
    out = root / "data"
    assert main(["convert", "voc", "--voc", str(tree), "--out", str(out), "--points", "1"]) == 0
    return out


def predict(folder, voc, out, *more):
    images = ["--images", str(voc / "val"), *more]
    assert main(["predict", "--checkpoint", str(folder), *images, "--out", str(out)]) == 0


def test_predict_and_evaluate(published, voc, tmp_path):
    truth = str(voc / "voc_panoptic_val.json")
    predict(published, voc, tmp_path / "out", "--quality", "0", "--annotations", truth)
    found = read_panoptic(tmp_path / "out" / "panoptic.json")
    assert found.images[0].segments
    result = tmp_path / "quality.json"
    arguments = ["--predictions", str(tmp_path / "out"), "--json", str(result)]
    assert main(["evaluate", "--truth", truth, *arguments]) == 0
    assert 0 <= json.loads(result.read_text())["all"]["pq"] <= 1


@pytest.mark.parametrize("assigner", ["merge", "transport", "network"])
def test_label(published, voc, tmp_path, assigner):
    points = tmp_path / "points.json"
    truth = str(voc / "voc_panoptic_val.json")
    sample = ["points", "sample", "--annotations", truth, "--out", str(points)]
    assert main(sample) == 0
    images = ["--images", str(voc / "val"), "--points", str(points)]
    arguments = ["--checkpoint", str(published), *images, "--assigner", assigner]
    assert main(["label", *arguments, "--out", str(tmp_path / "labels")]) == 0
    assert read_panoptic(tmp_path / "labels" / "panoptic.json").images[0].segments


def test_annotate(published, voc):
    pytest.importorskip("uvicorn", reason="needs point2mask[app]")
    from annotate_page import served

    with served(voc / "val", "--checkpoint", str(published)) as (url, _):
        with urllib.request.urlopen(f"{url}api/state") as answer:
            state = json.load(answer)
        assert state["cues"] == ["built-in", "checkpoint"]
        assert len(state["categories"]) == 21
        clicks = [{"id": 1, "category_id": 8, "points": [[8.0, 5.0]]}]
        request = urllib.request.Request(
            f"{url}api/images/0/marks",
            json.dumps({"revision": 0, "segments_info": clicks}).encode(),
            {"content-type": "application/json"},
            method="PUT",
        )
        with urllib.request.urlopen(request) as answer:
            revision = json.load(answer)["revision"]
        how = urlencode({"revision": revision, "cue": "checkpoint"})
        with urllib.request.urlopen(f"{url}api/images/0/masks?{how}") as answer:
            assert np.frombuffer(answer.read(), "<u4")[:2].tolist() == [*voc_trees.SIZE]


def test_export(published, tmp_path):
    path = tmp_path / "network.pt2"
    assert main(["export", str(published), "--out", str(path), "--size", "45x68"]) == 0
    program = torch.export.load(path).module()
    network = load_predictor(published).network
    picture = torch.rand(1, 3, 45, 68, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        encoded = network.encode(network.normalise(picture), torch.tensor([[45, 68]]))
        for name, expected in network.last_outputs(encoded).items():
            torch.testing.assert_close(program(picture)[name], expected, rtol=1e-4, atol=1e-4)


def test_train_from_it(published, voc, tmp_path):
    """One step in published mode, whose learning rate is so small that the weights stay."""
    changes = [
        *(f"data.root={voc}", "data.train.annotations=voc_panoptic_train.json"),
        *("data.train.points=voc_panoptic_train_1pnt_uniform", "data.workers=0", "data.val=null"),
        *("augment.short_sides=[48]", f"network.weights={published}", "published=true"),
        *("schedule.steps=1", "schedule.epochs=1", "schedule.milestones=[]"),
        *("schedule.batch_size=1", "schedule.learning_rate=1e-12", "schedule.weight_decay=0"),
    ]
    out = tmp_path / "run"
    command = ["train", "voc_r50", "--device", "cpu", "--out", str(out), *changes]
    assert main(command) == 0
    before, after = (load_predictor(folder).network.state_dict() for folder in (published, out))
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        torch.testing.assert_close(after[name], tensor, rtol=0, atol=1e-9)


def test_panoptic_segformer_finds_segments(segformer, voc, tmp_path):
    network = load_predictor(segformer).network
    assert (network.config.original, network.config.semantic_layers) == (True, 0)
    predict(segformer, voc, tmp_path / "out", "--quality", "0")
    found = read_panoptic(tmp_path / "out" / "panoptic.json")
    assert len(found.categories) == 133
    assert found.images[0].segments


def test_panoptic_segformer_has_no_maps(segformer, voc, tmp_path, capsys):
    with pytest.raises(DataError, match="only finds segments: it has no semantic map"):
        TrainedNetwork(load_predictor(segformer))
    assert main(["annotate", str(voc / "val"), "--checkpoint", str(segformer)]) == 2
    assert "predict takes it, and train as network.weights" in capsys.readouterr().err


def test_training_starts_from_panoptic_segformer(segformer):
    """All but the maps and what depends on the classes."""
    changes = ["network.backbone.pretrained=none", f"network.weights={segformer}"]
    changes += ["network.original=true", "network.thing_layers=5", "published=true"]
    network = start_network(load_config("voc_r50", changes).network)
    given = load_predictor(segformer).network.state_dict()
    found = network.state_dict()
    anew = {name for name in found if name not in given or found[name].shape != given[name].shape}
    assert {name.partition(".")[0] for name in anew} == {
        *("location_decoder", "stuff_decoder", "pseudo_mask_heads"),
        *("semantic_decoder", "semantic_scale", "semantic_bias"),
    }
    for name in found.keys() - anew:
        assert torch.equal(found[name], given[name]), name


def test_a_network_without_maps_is_not_trained(capsys):
    assert main(["train", "voc_r50", "network.semantic_layers=0", "--out", "none"]) == 2
    assert "network.semantic_layers: expected at least 1 to train with" in capsys.readouterr().err
