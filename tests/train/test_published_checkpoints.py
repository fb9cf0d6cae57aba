"""Published checkpoints: names and shapes of all of them, and what is refused."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
import runs
import torch
from networks import shake
from published_networks import shapes_of
from published_segformer import UNUSED, segformer_shapes

from point2mask.cli import main
from point2mask.data import DataError
from point2mask.data.augment import AugmentConfig
from point2mask.data.coco_categories import CATEGORIES as COCO
from point2mask.data.formats.voc import CATEGORIES as VOC
from point2mask.hub import load_predictor, save_pretrained
from point2mask.models import MergeConfig, make_network
from point2mask.models.published import from_published, published_config
from point2mask.train.config import load_config
from point2mask.train.published import convert_checkpoint

RECIPES = ("voc_r50", "voc_r101", "voc_swinl", "coco_r50")
LAST = "bbox_head.things_mask_head.model.layers.3."


@pytest.fixture
def state(data_root):
    """All names and shapes of VOC R50; a tensor has one value, so the file is small."""
    generator = torch.Generator().manual_seed(0)

    def tensor(name, shape):
        value = torch.empty(1).uniform_(0, 0.02, generator=generator)[0].expand(shape)
        return value.long() if name.endswith("num_batches_tracked") else value

    return {name: tensor(name, shape) for name, shape in shapes_of(data_root, "voc_r50").items()}


def convert(tmp_path, content):
    torch.save(content, tmp_path / "published.pth")
    return convert_checkpoint(tmp_path / "published.pth", tmp_path / "folder")


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_name_and_shape_of_the_published_networks(recipe, data_root):
    with torch.device("meta"):
        state = {k: torch.empty(shape) for k, shape in shapes_of(data_root, recipe).items()}
        expected = make_network(load_config(recipe, ["network.backbone.pretrained=none"]).network)
    found = replace(published_config(state), backbone=expected.config.backbone)
    assert found == expected.config
    tensors, left_over = from_published(state)
    assert {k: v.shape for k, v in tensors.items()} == {
        k: v.shape for k, v in expected.state_dict().items()
    }
    counted = {"bbox_head._iter", LAST + "norm1.weight", LAST + "mask_attn: its values"}
    assert counted <= set(left_over)
    assert all(
        name.startswith(LAST) or name.endswith(("_iter", "relative_position_index", "attn_mask"))
        for name in left_over
    )


def without_classes(shapes, part):
    """Those of a backbone and neck, or of the heads."""
    return {k: v for k, v in shapes.items() if k.startswith("bbox_head.") == (part == "heads")}


@pytest.mark.parametrize("backbone", ["r50", "r101", "swinl"])
def test_every_name_and_shape_of_panoptic_segformer(backbone, data_root):
    """Of its own checkpoints there are no lists: names follow from its code."""
    shapes = without_classes(shapes_of(data_root, f"voc_{backbone}"), "backbone")
    shapes |= without_classes(shapes_of(data_root, "coco_r50"), "heads")
    changes = ["network.backbone.pretrained=none", "network.original=true"]
    recipe = load_config(f"coco_{backbone}", [*changes, "network.thing_layers=5"]).network
    with torch.device("meta"):
        state = {k: torch.empty(shape) for k, shape in segformer_shapes(shapes).items()}
        expected = make_network(replace(recipe, semantic_layers=0))
    found = replace(published_config(state), backbone=expected.config.backbone)
    assert found == expected.config
    tensors, left_over = from_published(state)
    assert {k: v.shape for k, v in tensors.items()} == {
        k: v.shape for k, v in expected.state_dict().items()
    }
    assert UNUSED <= {name.split(".")[1] for name in left_over}
    assert all(
        name.split(".")[1] in UNUSED or name.endswith(("relative_position_index", "attn_mask"))
        for name in left_over
    )


def test_a_checkpoint_becomes_a_folder_that_predicts(state, tmp_path, capsys):
    file = {"meta": {"CLASSES": ("aeroplane",)}, "state_dict": state, "optimizer": {"lr": 1e-4}}
    torch.save(file, tmp_path / "voc.pth")
    folder, result = tmp_path / "folder", tmp_path / "result.json"
    arguments = ["convert", "checkpoint", str(tmp_path / "voc.pth"), "--out", str(folder)]
    assert main([*arguments, "--json", str(result)]) == 0
    assert "left over: bbox_head._iter" in capsys.readouterr().err
    values = json.loads(result.read_text())
    assert (values["recipe"], values["tensors"]) == ("voc_r50", 1028)
    predictor = load_predictor(folder)
    assert predictor.network.config.published
    assert predictor.supervision.published
    backbone = predictor.network.backbone
    torch.testing.assert_close(backbone.mean.flatten(), torch.tensor((0.485, 0.456, 0.406)))
    torch.testing.assert_close(backbone.std.flatten(), torch.tensor((0.229, 0.224, 0.225)))
    assert dict(predictor.categories) == VOC
    assert list(predictor.categories)[-1] == 21
    assert predictor.augmentation.test_short_side == 600
    assert predictor.merge.quality_things == 0.25
    found = predictor.network.state_dict()
    name = "encoder.layers.0.attention.value_proj.weight"
    theirs = "bbox_head.transformer.encoder.layers.0.attentions.0.value_proj.weight"
    assert torch.equal(found[name], state[theirs])
    pixels = np.zeros((40, 50, 3), np.uint8)
    small = replace(predictor, augmentation=AugmentConfig(test_short_side=40))
    assert small.predict(pixels)[0].shape == (40, 50)


def test_categories_of_coco():
    kinds = [category.isthing for category in COCO.values()]
    assert kinds == [True] * 80 + [False] * 53
    assert COCO[90].name == "toothbrush"
    assert COCO[187].name == "sky-other-merged"
    assert list(COCO) == sorted(COCO)


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_no_code_in_a_checkpoint_is_run(state, tmp_path):
    with pytest.raises(DataError, match=r"published\.pth: expected .* plain values alone, which"):
        convert(tmp_path, {"state_dict": state, "hook": Trap(str(tmp_path / "trapped"))})
    assert not (tmp_path / "trapped").exists()
    assert not (tmp_path / "folder").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("bbox_head.stuff_query.weight"), "one without stuff_query$"),
        (lambda s: s.pop("bbox_head.semantic_proj.bias"), "expected a tensor 'semantic_bias'"),
        (lambda s: s.pop("bbox_head.transformer.level_embeds"), "level_embeds', got none$"),
        (lambda s: s.update(x=torch.zeros(1)), "expected the tensors of a pub.* network, got 'x'$"),
        (
            lambda s: s.update({"neck.convs.0.gn.bias": torch.zeros(7)}),
            r"expected 'neck\.norms\.0\.bias' of shape \[256\], got \[7\]$",
        ),
        (
            lambda s: s.update({"bbox_head.stuff_query.weight": torch.zeros(2, 512)}),
            r"expected classes of things and stuff 20 and 1 \(VOC\) or 80 and 53 \(COCO\), got 20 ",
        ),
        (
            lambda s: [s.pop(k) for k in list(s) if "boundary_proj" in k or "memory_proj" in k],
            "one without boundary_proj, memory_proj",
        ),
        (
            lambda s: s.update({"bbox_head.cls_thing_branches.0.weight": torch.zeros(1)}),
            r"expected a tensor 'bbox_head\.stuff_mask_head\.blocks\.0\.attn\.linear_l1",
        ),
        (lambda s: s.update(a=3), "'a': expected a tensor, got int$"),
        (lambda s: s.clear(), "expected tensors, got none$"),
    ],
)
def test_other_checkpoints_are_refused(change, message, state, tmp_path):
    change(state)
    with pytest.raises(DataError, match=message) as error:
        convert(tmp_path, {"state_dict": state})
    assert str(error.value).startswith(str(tmp_path / "published.pth"))
    assert not (tmp_path / "folder").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (torch.zeros(3), "expected a state dict, got Tensor"),
        ({"conv1.weight": torch.zeros(3)}, r"expected a state dict of mmdet with bbox_head.*conv1"),
    ],
)
def test_files_of_something_else_are_refused(content, message, tmp_path):
    with pytest.raises(DataError, match=message):
        convert(tmp_path, content)
    (tmp_path / "text.pth").write_text("no checkpoint")
    with pytest.raises(DataError, match=r"text\.pth: expected tensors as .* a checkpoint of torch"):
        convert_checkpoint(tmp_path / "text.pth", tmp_path / "folder")
    with pytest.raises(DataError, match=r"none\.pth: expected a checkpoint.*cannot be read"):
        convert_checkpoint(tmp_path / "none.pth", tmp_path / "folder")


def test_every_command_takes_a_network_in_published_mode(tmp_path):
    """At 45 x 68 pixels, a multiple of no stride."""
    sizes, merge = AugmentConfig(test_short_side=45, max_side=80), MergeConfig(quality_things=0.0)
    plain = runs.predictor(tmp_path, sizes, merge)
    torch.manual_seed(0)
    network = shake(make_network(replace(runs.config(tmp_path).network, published=True))).eval()
    folder, points = str(tmp_path / "folder"), str(tmp_path / "points.json")
    save_pretrained(replace(plain, network=network), folder)
    truth = str(tmp_path / "annotations" / "panoptic_val.json")
    images = ["--images", str(tmp_path / "images" / "val")]
    predicted, labels = str(tmp_path / "predicted"), str(tmp_path / "labels")
    checkpoint = ["--checkpoint", folder]
    label = ["label", *checkpoint, *images, "--points", points, "--out"]
    commands = (
        ["points", "sample", "--annotations", truth, "--out", points],
        ["predict", *checkpoint, *images, "--annotations", truth, "--out", predicted],
        ["evaluate", "--truth", truth, "--predictions", predicted],
        [*label, labels],
        [*label, labels + "2", "--assigner", "network"],
        ["export", folder, "--out", str(tmp_path / "network.pt2"), "--size", "45x68"],
    )
    for command in commands:
        assert main(command) == 0, command
    program = torch.export.load(tmp_path / "network.pt2").module()
    pictures = torch.rand(1, 3, 45, 68)
    with torch.no_grad():
        output = network(network.normalise(pictures), torch.tensor([[45, 68]]))
        found = program(pictures)
    torch.testing.assert_close(found["boxes"], output.locations.boxes[-1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found["stuff_masks"], output.stuff.masks[-1], rtol=1e-4, atol=1e-4)
