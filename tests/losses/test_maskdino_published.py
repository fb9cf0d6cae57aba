"""The losses of MaskDINO beside the published code: costs, matches, losses, gradients."""

from types import SimpleNamespace

import published_maskdino as published
import pytest
import torch
import torch.nn.functional as F

from point2mask.losses.maskdino import MaskDINOLosses
from point2mask.losses.segments import SegmentTargets, entropy_of_pairs
from point2mask.models.denoising import Denoising
from point2mask.models.matching import hungarian_pairs

LAYERS = ("interm", "aux0", "aux1", "aux2", "final")
# Theirs of our parts, and the ends of theirs for the layers of the queries and of noised targets.
NAMES = {"class": "ce", "entropy": "mask", "dice": "dice", "box": "bbox", "giou": "giou"}
MATCHED = ("_interm", "_0", "_1", "_2", "")
DENOISED = ("_dn_0", "_dn_1", "_dn_2", "_dn")
CONFIG = SimpleNamespace(
    **{
        f"{kind}_{part}": weight
        for kind in ("segment", "denoising")
        for part, weight in (
            ("class", 4.0),
            ("box", 5.0),
            ("giou", 2.0),
            ("dice", 5.0),
            ("entropy", 5.0),
        )
    }
)
ALL = 5  # classes with boxes where stuff has them too


@pytest.fixture
def golden():
    return published.golden()


def segments(config, boxed):
    made = MaskDINOLosses(CONFIG, config)
    made.boxed = boxed
    return made


def targets(golden, images=(0, 1)):
    """Of the images named; the others have none."""
    label = torch.zeros(2, 5, dtype=torch.int64)
    exists = torch.zeros(2, 5, dtype=torch.bool)
    boxes, coverage = torch.zeros(2, 5, 4), torch.zeros(2, 5, 32, 48)
    for b in images:
        own = golden.inputs[f"target{b}.labels"]
        label[b, : len(own)], exists[b, : len(own)] = own.long(), True
        boxes[b, : len(own)] = golden.inputs[f"target{b}.boxes"]
        coverage[b, : len(own)] = golden.inputs[f"target{b}.masks_cells"].float()
    return SegmentTargets(label, exists, boxes, list(coverage))


def given_denoising(golden):
    boxes, label = golden.train["dn.boxes"], golden.train["dn.labels"].long()
    slot = torch.arange(label.shape[1])
    target = torch.where(label >= 0, slot % 5, -1)
    return Denoising(label, boxes, target, (slot // 5).expand_as(label))


def first_name(name):
    """That of a shared head under which its weights are read."""
    return name.replace("decoder.bbox_embed.0", "_bbox_embed")


def named(losses, ends, total):
    return {
        f"loss_{theirs}{end}": losses[part][layer].sum() / total
        for part, theirs in NAMES.items()
        for layer, end in enumerate(ends)
    }


def compare(found, expected):
    assert found.keys() == expected.keys()
    for name, value in found.items():
        torch.testing.assert_close(value.item(), expected[name], rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_costs_and_matches(golden, monkeypatch):
    network = published.network(monkeypatch)
    output, aims = network(*published.images()), targets(golden)
    made = segments(network.config, ALL)
    cost = made.cost(output.predictions, aims, made._maps(output, aims))
    pairs = hungarian_pairs(cost, aims.exists)
    expected = golden.values["training"]["no_dn.grid"]["matches"]
    for layer, name in enumerate(LAYERS):
        for b in range(2):
            theirs = golden.train[f"no_dn.grid.cost.{name}.image{b}"]
            found = cost[layer, b][:, aims.exists[b]]
            torch.testing.assert_close(found, theirs, rtol=1e-5, atol=2e-5)
            match = [pairs.queries[b][layer].tolist(), pairs.targets[b][layer].tolist()]
            assert match == expected[name][b]


@torch.no_grad()
@pytest.mark.parametrize(
    ("variant", "boxed"),
    [("no_dn.grid", ALL), ("no_dn.grid.stuff_boxes_off_loss_and_cost", 3)],
)
def test_losses(variant, boxed, golden, monkeypatch):
    """Of all boxes as released, and of those of things alone as in the paper."""
    network = published.network(monkeypatch)
    output = network(*published.images())
    losses = segments(network.config, boxed).matched(output, targets(golden))
    compare(named(losses, MATCHED, 8), golden.values["training"][variant]["losses"])


@torch.no_grad()
@pytest.mark.parametrize("images", [(0,), ()])
def test_losses_of_images_without_targets(images, golden, monkeypatch):
    network = published.network(monkeypatch)
    output = network(*published.images())
    losses = segments(network.config, ALL).matched(output, targets(golden, images))
    name = "second_image_empty" if images else "both_images_empty"
    expected = golden.values["training"][f"dn.grid.{name}"]["losses"]
    expected = {name: value for name, value in expected.items() if "_dn" not in name}
    compare(named(losses, MATCHED, 5 if images else 1), expected)


def test_losses_of_noised_targets_and_all_gradients(golden, monkeypatch):
    network = published.network(monkeypatch)
    output, aims = network(*published.images()), targets(golden)
    denoising = given_denoising(golden)
    again = network.decode_denoising(output.encoded, output.states, denoising)
    made = segments(network.config, ALL)
    matched = made.matched(output, aims)
    denoised = made.denoised(output, aims, denoising, again)
    values = golden.values["training"]["dn.grid"]
    compare(named(matched, MATCHED, 8) | named(denoised, DENOISED, 8), values["losses"])
    losses, counts = made.compare(output, aims, denoising, again)
    assert counts.tolist() == [5, 3]
    total = sum(getattr(CONFIG, name) * loss.sum() for name, loss in losses.items())
    torch.testing.assert_close(total.item(), values["weighted_total"], rtol=1e-5, atol=0)
    total.backward()
    own = dict(network.named_parameters())
    compared = 0
    for theirs, norm in values["gradient_norms"].items():
        found = own[published.our_name(first_name(theirs))].grad.norm().item()
        torch.testing.assert_close(found, norm, rtol=1e-5, atol=1e-4)
        compared += 1
    assert compared == sum(not n.startswith(("semantic_", "pseudo_mask")) for n in own)
    for theirs, expected in golden.train.items():
        if theirs.startswith("dn.grid.gradient."):
            name = theirs.removeprefix("dn.grid.gradient.")
            if name == "res5":
                found = network.backbone.maps[3].grad
            else:
                found = own[published.our_name(first_name(f"predictor.{name}"))].grad
            scale = expected.abs().max()
            torch.testing.assert_close(found / scale, expected / scale, rtol=0, atol=1e-5)


def test_entropy_of_pairs_is_that_of_each():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 30, generator=generator, dtype=torch.float64)
    part = torch.rand(3, 30, generator=generator, dtype=torch.float64)
    for q in range(4):
        for m in range(3):
            expected = F.binary_cross_entropy_with_logits(x[q], part[m])
            torch.testing.assert_close(entropy_of_pairs(x, part)[q, m], expected)
