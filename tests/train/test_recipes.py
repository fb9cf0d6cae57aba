"""The recipes of the package: they load, and the published ones are as published."""

import json
from dataclasses import replace

import pytest
import torch

from point2mask import recipes
from point2mask.data.errors import DataError
from point2mask.losses import SegformerLossConfig, published_losses
from point2mask.models import MaskDINOConfig, NetworkConfig, make_network
from point2mask.pseudo_masks import PseudoMaskOptions
from point2mask.train.config import load_config, warm_ups
from point2mask.train.train import train

# batch, rate, epochs, milestones, OT_warmup_iters, quality, things, stuff
PUBLISHED = {
    "voc_r50": (8, 1e-4, 24, (15, 20), 12000, 0.25, 20, 1),
    "voc_r101": (8, 1e-4, 24, (15, 20), 12000, 0.25, 20, 1),
    "voc_swinl": (8, 1e-4, 24, (15, 20), 12000, 0.3, 20, 1),
    "coco_r50": (16, 2e-4, 15, (8, 12), 60000, 0.25, 80, 53),
    "coco_r101": (16, 2e-4, 15, (8, 12), 60000, 0.25, 80, 53),
    "coco_swinl": (8, 1e-4, 15, (8, 12), 60000, 0.25, 80, 53),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_schedules(name):
    config = load_config(name)
    schedule, merge = config.schedule, config.merge
    assert (
        schedule.batch_size,
        schedule.learning_rate,
        schedule.epochs,
        schedule.milestones,
        config.supervision.transport_warmup,
        merge.quality_things,
        config.network.num_things,
        config.network.num_stuff,
    ) == PUBLISHED[name]
    assert merge.quality_stuff == merge.quality_things
    common = (schedule.weight_decay, schedule.clip_norm, schedule.slow_factor)
    assert common == (1e-4, 0.1, 0.1)
    assert config.loss == SegformerLossConfig()  # whose defaults are the published ones
    assert config.supervision.pseudo_masks == PseudoMaskOptions()
    sides = (600,) if name.startswith("voc") else tuple(range(480, 801, 32))
    assert (config.augment.short_sides, config.augment.max_side) == (sides, 1333)
    assert config.augment.flip == 0.5
    assert config.augment.crop is None
    sizes = {"num_things": 20, "num_stuff": 1} if name.startswith("voc") else None
    expected = NetworkConfig(**(sizes or {"num_things": 80, "num_stuff": 53}))
    assert replace(config.network, backbone=expected.backbone) == expected
    assert "1pnt" in config.data.train.points
    ten = load_config(name, ["data.train.points=x_10pnt"])
    assert ten.data.train.points == "x_10pnt"


def test_published_backbones():
    names = {
        "r50": "resnet50.tv2_in1k",
        "r101": "resnet101.tv2_in1k",
        "swinl": "swin_large_patch4_window12_384.ms_in22k",
    }
    for name in PUBLISHED:
        backbone = load_config(name).network.backbone
        assert backbone.name == names[name.partition("_")[2]]
        assert (backbone.window, backbone.drop_path) == ((7, 0.3) if "swin" in name else (None, 0))
        assert backbone.freeze_stem == ("swin" not in name)


@pytest.mark.parametrize(("architecture", "queries"), [("mask2former", 100), ("maskdino", 300)])
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_recipes_take_the_other_networks(name, architecture, queries):
    network = load_config(name, [f"network.architecture={architecture}"]).network
    assert (network.architecture, network.queries) == (architecture, queries)


# things, stuff, batch, epochs, milestones
MASKDINO = {
    "voc_maskdino_r50": (20, 1, 8, 24, (20,)),
    "coco_maskdino_r50": (80, 53, 16, 24, (20,)),
    "coco_maskdino_swinl": (80, 53, 16, 24, (20,)),
}


@pytest.mark.parametrize("name", MASKDINO)
def test_recipes_of_maskdino(name):
    """Its published sizes, weights, optimiser and merge, and the clicks of the paper's recipes."""
    config = load_config(name)
    schedule, merge, network = config.schedule, config.merge, config.network
    things, stuff, *times = MASKDINO[name]
    expected = MaskDINOConfig(num_things=things, num_stuff=stuff)
    assert replace(network, backbone=expected.backbone) == expected
    assert not network.backbone.freeze_stem
    assert [schedule.batch_size, schedule.epochs, schedule.milestones] == times
    optimiser = (schedule.learning_rate, schedule.weight_decay, schedule.clip_norm)
    assert optimiser == (1e-4, 0.05, 0.01)
    assert config.loss == published_losses("maskdino")
    assert (merge.quality_things, merge.quality_stuff) == (0.25, 0.25)
    assert (merge.overlap_things, merge.overlap_stuff) == (0.2, 0.2)
    base = load_config(name.replace("_maskdino", ""))
    assert config.data == base.data
    assert config.augment == base.augment
    assert config.supervision == base.supervision


SMALL = {
    "shapes_lite0": (6, 4),
    "shapes_tiny": (6, 4),
    "penn_fudan_lite0": (1, 1),
    "nuclei_lite0": (1, 1),
    "coco_mini_lite0": (80, 53),
    "shapes_mask2former": (6, 4),
    "penn_fudan_mask2former": (1, 1),
    "shapes_maskdino": (6, 4),
    "penn_fudan_maskdino": (1, 1),
    "nuclei_maskdino": (1, 1),
}


def test_every_recipe_is_known_here():
    known = PUBLISHED.keys() | MASKDINO.keys() | SMALL.keys() | {"own_clicks"}
    assert recipes.summaries().keys() == known


def test_own_clicks_takes_the_classes_of_the_clicks(tmp_path):
    names = [("cat", 1), ("grass", 0), ("dog", 1), ("bird", 1)]
    categories = [{"id": k, "name": n, "isthing": t} for k, (n, t) in enumerate(names, start=1)]
    content = {"images": [], "annotations": [], "categories": categories}
    (tmp_path / "points.json").write_text(json.dumps(content))
    config = load_config("own_clicks", [f"data.root={tmp_path}"])
    assert (config.network.num_things, config.network.num_stuff) == (3, 1)
    given = load_config("own_clicks", [f"data.root={tmp_path}", "network.num_things=7"])
    assert (given.network.num_things, given.network.num_stuff) == (7, 1)
    # The run holds both warm-ups, however few the pictures are.
    assert all(2 * steps < config.schedule.steps for steps in warm_ups(config).values())
    assert config.data.val is None
    with pytest.raises(DataError, match=r"none/points\.json"):
        load_config("own_clicks", [f"data.root={tmp_path / 'none'}"])


@pytest.mark.parametrize("name", SMALL)
def test_small_recipes(name):
    config = load_config(name, ["network.backbone.pretrained=none"])
    assert (config.network.num_things, config.network.num_stuff) == SMALL[name]
    network = make_network(config.network)
    assert sum(p.numel() for p in network.parameters()) < 8e6


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("penn_fudan_lite0", "penn_fudan"),
        ("nuclei_lite0", "nuclei"),
        ("coco_mini_lite0", "coco_mini"),
        ("penn_fudan_mask2former", "penn_fudan"),
        ("penn_fudan_maskdino", "penn_fudan"),
        ("nuclei_maskdino", "nuclei"),
    ],
)
def test_two_steps_on_real_data(name, folder, data_root, tmp_path):
    """Real pictures, crowds and void through the whole path; nothing is said about quality."""
    config = load_config(
        name,
        [
            f"data.root={data_root / folder}",
            "data.val=null",
            "data.workers=0",
            "schedule.epochs=1",
            "schedule.milestones=[]",
            "schedule.batch_size=2",
            "augment.short_sides=[96]",
            "network.backbone.pretrained=none",
        ],
    )

    class Enough(Exception):
        pass

    from point2mask.train.build import build_module

    steps = []

    def make(config):
        module = build_module(config)

        def forward(batch, step, forward=module.forward):
            if step == 2:
                raise Enough
            losses, masks = forward(batch, step)
            steps.append({name: float(loss.detach()) for name, loss in losses.items()})
            return losses, masks

        module.forward = forward
        return module

    with pytest.raises(Enough):
        train(config, tmp_path, device="cpu", make_module=make)
    assert len(steps) == 2
    assert all(torch.isfinite(torch.tensor(list(step.values()))).all() for step in steps)


def test_recipes_are_found_by_name_or_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "own.yaml"
    own.write_text(recipes.find("shapes_lite0").read_text())
    assert load_config("shapes_lite0") == load_config(own) == load_config("own.yaml")
    (tmp_path / "shapes_lite0").mkdir()  # a folder of a run does not hide the recipe
    assert load_config("shapes_lite0") == load_config(own)
    with pytest.raises(DataError, match=r"voc_r5: expected the name of a recipe .* mean 'voc_r50'"):
        load_config("voc_r5")
    with pytest.raises(DataError, match=r"gone/voc_r50.yaml: .* mean 'voc_r50'"):
        load_config("gone/voc_r50.yaml")
    with pytest.raises(DataError, match=r"zzz: .*'point2mask recipes' lists"):
        load_config("zzz")


def test_every_recipe_says_what_it_is_for():
    for summary in recipes.summaries().values():
        assert summary.endswith(".")
        assert 20 < len(summary) <= 80


def test_masks_that_are_given_need_no_warm_up_of_transport():
    config = load_config("shapes_tiny", ["supervision.kind=masks"])
    assert list(warm_ups(config)) == ["loss.warmup_iterations"]
    assert "supervision.transport_warmup" in warm_ups(load_config("shapes_tiny"))
