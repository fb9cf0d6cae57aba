"""The losses of the click branch."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from networks import shake, tiny
from training import CANVAS, IS_THING, SCENE, SIZES, make_batch, randn, take

from point2mask.losses import known_targets, mask_targets, point_targets, published_losses
from point2mask.losses.clicks import class_agreement
from point2mask.losses.criterion import Criterion
from point2mask.losses.targets import true_masks
from point2mask.models import make_network
from point2mask.models.mask_decoder import PADDING_LOGIT
from point2mask.pseudo_masks import PointBatch, SupervisionConfig
from point2mask.pseudo_masks.grower import Grower

NAMES = {"click_point", "click_mask", "click_lab", "click_tree", "click_class"}
LATE = 10**6


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = shake(make_network(tiny(click_layers=2)).double()).eval()
    network.backbone.mean.fill_(0.5)
    network.backbone.std.fill_(0.2)
    return network


def run(network, batch, complete=False, **weights):
    """The losses of the branch with the true masks in place of pseudo masks."""
    output = network(network.normalise(batch.images), batch.image_size)
    output = Grower(network, SupervisionConfig()).heed(output, batch)
    valid = output.geometry.finest
    made = mask_targets(batch, valid) if complete else None
    made = made or point_targets(batch, true_masks(batch), valid, 17)
    targets = replace(made, target=known_targets(batch, made, valid, 17))
    config = replace(published_losses(network.config.architecture), **weights)
    losses = Criterion(config, network.config)(network, output, targets, batch, LATE)
    return {name: loss for name, loss in losses.items() if name.startswith("click")}


def reference_agreement(logits, semantic, category, clicked, is_thing, valid):
    """Cell by cell."""
    p = np.exp(logits - logits.max(2, keepdims=True))
    p /= p.sum(2, keepdims=True)
    total = 0.0
    for layer in range(len(p)):
        for b, y, x in zip(*np.nonzero(valid), strict=True):
            things = {c for c in category[b, clicked[b]] if is_thing[c]}
            for c in things:
                share = p[layer, b, clicked[b] & (category[b] == c), y, x].sum()
                total -= semantic[b, c, y, x] * np.log(share)
            rest = [k for k in np.flatnonzero(clicked[b]) if category[b, k] not in things]
            if rest:
                unsure = 1 - sum(semantic[b, c, y, x] for c in np.flatnonzero(is_thing))
                total -= unsure * np.log(p[layer, b, rest, y, x].sum())
    return total / valid.sum()


def test_agreement_is_that_of_classes():
    """Targets that are padding or have no click have no part; an image may have things alone."""
    logits, semantic = randn(2, 4, 4, 3, 5), randn(4, 5, 3, 5, seed=1).softmax(1)
    category = torch.tensor([[0, 1, 0, 3], [2, 4, 3, -1], [1, 0, -1, -1], [0, 1, 4, 0]])
    clicked = category >= 0
    clicked[3, :3] = torch.tensor([True, False, False])
    logits = logits.masked_fill(~clicked[..., None, None], PADDING_LOGIT)
    valid = randn(4, 3, 5, seed=2) > -0.5
    arguments = (logits, semantic, category, clicked, IS_THING, valid)
    got = class_agreement(*arguments)
    assert got.shape == (4,)
    expected = reference_agreement(*(x.numpy() for x in arguments))
    np.testing.assert_allclose(float(got.sum()), expected, rtol=1e-12)


def test_agreement_does_not_see_how_many_targets_others_have():
    """An image of things alone, whose padding would else be the rest."""
    logits, semantic = randn(2, 1, 2, 3, 5), randn(1, 5, 3, 5, seed=1).softmax(1)
    category, valid = torch.tensor([[0, 2]]), torch.ones(1, 3, 5, dtype=torch.bool)
    alone = class_agreement(logits, semantic, category, category >= 0, IS_THING, valid)
    assert alone.item() < 50
    padding = torch.full((2, 1, 3, 3, 5), PADDING_LOGIT, dtype=logits.dtype)
    wide, more = torch.cat((logits, padding), 2), torch.tensor([[0, 2, -1, -1, -1]])
    padded = class_agreement(wide, semantic, more, more >= 0, IS_THING, valid)
    torch.testing.assert_close(padded, alone, rtol=1e-12, atol=0)


def test_agreement_is_least_where_both_agree():
    """Whatever the targets of a class have each, as long as they have its probability together."""
    category = torch.tensor([[0, 0, 1, 2, 3]])
    share = randn(1, 5, 4, 4).softmax(1)
    of_class = [share[:, category[0] == c].sum(1) for c in range(4)]
    semantic = torch.stack([*of_class, torch.zeros_like(of_class[0])], 1)
    valid = torch.ones(1, 4, 4, dtype=torch.bool)
    logits = share.log()[None].requires_grad_()
    clicked = category >= 0
    loss = class_agreement(logits, semantic, category, clicked, IS_THING, valid).sum()
    (gradient,) = torch.autograd.grad(loss, logits)
    assert gradient.abs().max() < 1e-12
    assert gradient.numel()
    for seed in range(5):
        other = (share.log() + randn(1, 5, 4, 4, seed=seed))[None]
        assert class_agreement(other, semantic, category, clicked, IS_THING, valid).sum() > loss


def test_clicks_say_where_targets_are_for_certain(network):
    batch = make_batch()
    output = network(network.normalise(batch.images), batch.image_size)
    valid = output.geometry.finest
    made = point_targets(batch, true_masks(batch), valid, 17)
    known = known_targets(batch, made, valid, 17)
    assert known.shape == valid.shape
    for b in range(2):
        assert set(known[b].unique().tolist()) == {-1, 0, 1, 2, 3}
        for target, (_, (x, y), _) in enumerate(SCENE):
            assert known[b, int(y) // 8, int(x) // 8] == target
        seen = known[b] >= 0
        assert torch.equal(made.label[b] >= 0, seen)
        assert torch.equal(batch.points.category[b][known[b][seen]], made.label[b][seen])
    whole = known_targets(batch, mask_targets(batch, valid), valid, 17)
    assert torch.equal(whole >= 0, valid)
    assert set(whole[0].unique().tolist()) == {-1, 0, 1, 2, 3}


def test_where_squares_of_two_targets_overlap_nothing_is_certain():
    scene = [(0, (20.0, 20.0), (0, 32, 0, 24)), (0, (28.0, 20.0), (0, 32, 24, 64))]
    batch = make_batch((scene,), ((32, 64),), (32, 64))
    valid = torch.ones(1, 4, 8, dtype=torch.bool)
    made = point_targets(batch, true_masks(batch), valid, 17)
    known = known_targets(batch, made, valid, 17)
    # The squares begin in columns 16 and 24 of pixels at the earliest, and end at 28 and 36.
    assert known[0, 2].tolist() == [-1, -1, 0, -1, 1, -1, -1, -1]
    batch = replace(batch, points=PointBatch.from_lists([[(0, [(20.0, 20.0), (28.0, 20.0)])]]))
    one = known_targets(batch, made, valid, 17)
    assert one[0, 2].tolist() == [-1, -1, 0, 0, 0, -1, -1, -1]  # two clicks of one target agree


def test_names_and_weights(network):
    batch = make_batch()
    losses = run(network, batch)
    assert set(losses) == NAMES
    assert set(run(network, batch, complete=True)) == {"click_point"}
    assert set(run(network, batch, click_lab=0.0, click_tree=0.0)) == NAMES - {
        "click_lab",
        "click_tree",
    }
    for name in NAMES:
        once, twice = (run(network, batch, **{name: weight})[name] for weight in (1.0, 2.0))
        torch.testing.assert_close(twice, 2 * once)
        assert once.sum() > losses[name].sum() > 0  # the default is less


@torch.no_grad()
def test_a_batch_costs_what_its_images_cost(network):
    """Sums over known cells and over all cells are divided by the counts of the batch."""
    batch = make_batch()
    whole = run(network, batch)
    output = network(network.normalise(batch.images), batch.image_size)
    cells = output.geometry.finest.sum((1, 2)).double()
    known = torch.full((2,), 16.0, dtype=torch.float64)
    weights = {
        "click_point": known / known.sum(),
        "click_lab": torch.full((2,), 0.5, dtype=torch.float64),
        "click_class": cells / cells.sum(),
    }
    for name, share in weights.items():
        alone = torch.cat([run(network, take(batch, b))[name] for b in range(2)])
        torch.testing.assert_close(whole[name], share * alone, rtol=1e-6, atol=1e-9)


def test_no_gradient_goes_to_the_semantic_map(network):
    losses = run(network, make_batch())
    network.zero_grad()
    sum(loss.sum() for loss in losses.values()).backward()
    for name, parameter in network.named_parameters():
        if name.startswith("semantic"):
            assert parameter.grad is None, name
        if name.startswith("click_decoder."):
            assert parameter.grad is not None, name
            assert parameter.grad.any(), name
    assert network.encoder.layers[0].feedforward.expand.weight.grad.any()
    network.zero_grad()


def test_padding_is_not_read(network):
    losses = [run(network, make_batch(fill=fill)) for fill in (0.0, float("nan"))]
    for name in NAMES:
        torch.testing.assert_close(losses[0][name], losses[1][name])
    assert CANVAS != SIZES[0]


@pytest.mark.parametrize("others", [1, 3])
def test_an_image_without_a_click_adds_nothing(network, others):
    """However many targets its neighbour has, for which its row is padded."""
    losses = run(network, make_batch(([], SCENE[:others])))
    assert losses.keys() == NAMES
    for name, loss in losses.items():
        assert float(loss[0].detach()) == pytest.approx(0, abs=1e-12), name
        assert loss[1] > 0 or others == 1, name
