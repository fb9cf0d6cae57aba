"""The criterion: its sums, weights, shares and warm-up, and what must not change a loss."""

from dataclasses import fields, replace

import pytest
import torch
from networks import TINY_MASK2FORMER, TINY_MASKDINO, shake, tiny
from training import CANVAS, NUM_THINGS, SCENE, SIZES, make_batch

from point2mask.losses import (
    Criterion,
    mask_targets,
    point_targets,
    published_losses,
    true_masks,
)
from point2mask.losses.counts import divisor, over_processes
from point2mask.models import make_network
from point2mask.pseudo_masks import PointBatch

CONFIGS = {
    "relu": tiny(),
    "sigmoid": tiny(mask_activation="sigmoid"),
    "mask2former": TINY_MASK2FORMER,
    "maskdino": TINY_MASKDINO,
}
NETWORKS = {name: shake(make_network(config).double()).eval() for name, config in CONFIGS.items()}
LATE = 10**6
for one in NETWORKS.values():
    one.backbone.mean.fill_(0.5)
    one.backbone.std.fill_(0.2)


def published(network, **changes):
    return replace(published_losses(network.config.architecture), **changes)


def run(batch, config=None, step=LATE, network=NETWORKS["relu"], complete=False):
    """Losses with the true masks in place of pseudo masks; published weights by default."""
    config = config or published(network)
    output = network((batch.images - 0.5) / 0.2, batch.image_size)
    valid = output.geometry.finest
    if complete:
        targets = mask_targets(batch, valid)
    else:
        targets = point_targets(batch, true_masks(batch), valid, 17)
    return Criterion(config, network.config)(network, output, targets, batch, step)


@pytest.fixture(scope="module", params=NETWORKS)
def network(request):
    return NETWORKS[request.param]


@pytest.fixture(scope="module")
def whole(network):
    """The losses with published weights."""
    return run(make_batch(), network=network)


def test_names_are_those_of_the_weights():
    names = {name: set(run(make_batch(), network=network)) for name, network in NETWORKS.items()}
    for architecture, own in (("mask2former", set()), ("maskdino", {"denoising"})):
        kinds = {name.partition("_")[0] for name in names[architecture]}
        assert kinds == {"segment", "semantic", "contrast", "boundary"} | own
    assert names["relu"] | {"thing_entropy", "stuff_entropy"} == names["sigmoid"]
    for name in ("sigmoid", "mask2former", "maskdino"):
        config = published(NETWORKS[name])
        named = set(config.names())
        assert names[name] == named - set(config.of_clicks)
        assert named <= {field.name for field in fields(config)}
    with pytest.raises(ValueError, match="losses must be those of mask2former, got those of pan"):
        Criterion(published(NETWORKS["relu"]), NETWORKS["mask2former"].config)


@torch.no_grad()
def test_losses_of_segments_have_their_weights_and_shares(network, whole):
    """Six things and two stuff masks: shares 3/4 and 1/4 where kinds are apart."""
    batch = make_batch()
    output = network((batch.images - 0.5) / 0.2, batch.image_size)
    targets = point_targets(batch, true_masks(batch), output.geometry.finest, 17)
    seeds = [f"{LATE}/{name}" for name in batch.names]
    segments = Criterion(published(network), network.config).segments
    found = segments(network, output, targets, seeds)
    assert found.counts.tolist() == [6, 2]
    weights = {
        **{"thing_class": 2, "thing_box": 5, "thing_giou": 2, "thing_dice": 2, "thing_entropy": 2},
        **{"stuff_class": 4, "stuff_dice": 2, "stuff_entropy": 2},
        **{"segment_class": 2, "segment_dice": 5, "segment_entropy": 5},
    }
    if network.config.architecture == "maskdino":
        of_parts = {"class": 4, "box": 5, "giou": 2, "dice": 5, "entropy": 5}
        kinds = ("segment", "denoising")
        weights = {f"{kind}_{part}": of_parts[part] for kind in kinds for part in of_parts}
    shares = {"thing": 0.75, "stuff": 0.25, "segment": 1.0, "denoising": 1.0}
    for name, loss in found.losses.items():
        share = shares[name.partition("_")[0]]
        torch.testing.assert_close(whole[name].detach(), weights[name] * share * loss)


def test_warm_up_spares_the_published_losses(network, whole):
    steps = published(network).warmup_iterations
    half = run(make_batch(), step=steps // 2, network=network)
    share = (steps // 2) / steps
    warm = {"thing_box", "thing_giou", "thing_dice", "thing_entropy"}
    warm |= {"stuff_class", "stuff_dice", "stuff_entropy", "segment_dice", "segment_entropy"}
    warm |= {"semantic_tree", "boundary", "segment_box", "segment_giou"}
    whole = {name: x for name, x in whole.items() if not name.startswith("denoising_")}
    for name, loss in whole.items():  # noise is of the step
        factor = share if name in warm else 1.0
        torch.testing.assert_close(half[name], factor * loss)
    with pytest.raises(ValueError, match=r"warmup_exempt\[1\]: expected one of .*, got 'loss_cl'"):
        published(network, warmup_exempt=("contrast", "loss_cl"))
    first = run(make_batch(), published(network, warmup_iterations=0), step=0, network=network)
    torch.testing.assert_close({name: first[name] for name in whole}, whole)


def test_weights_scale_their_loss_alone(network, whole):
    """Of one network whose weights do not decide what is matched."""
    for name in whole:
        if name.startswith("segment_") or name in ("thing_entropy", "stuff_entropy"):
            continue
        weights = {name: 3 * getattr(published(network), name)}
        scaled = run(make_batch(), published(network, **weights), network=network)
        for other, loss in whole.items():
            torch.testing.assert_close(scaled[other], (3 if other == name else 1) * loss)


@pytest.mark.parametrize("complete", [True, False])
def test_padding_has_no_influence(network, complete):
    small = run(make_batch(fill=float("nan")), network=network, complete=complete)
    canvas = (CANVAS[0] + 13, CANVAS[1] + 24)
    large = run(make_batch(canvas=canvas, fill=float("nan")), network=network, complete=complete)
    torch.testing.assert_close(small, large)


def test_order_of_targets_has_no_influence(network, whole):
    order = [3, 1, 0, 2]
    batch = make_batch()
    points = PointBatch(batch.points.xy[:, order], batch.points.category[:, order])
    new_index = torch.tensor(order).argsort().int()
    truth = torch.where(batch.truth >= 0, new_index[batch.truth.clamp(min=0)], -1)
    permuted = replace(batch, points=points, truth=truth)
    found = run(permuted, network=network)
    assert found.keys() == whole.keys()
    for name, loss in found.items():
        if not name.startswith("denoising_"):  # whose noise belongs to a place in the order
            torch.testing.assert_close(loss, whole[name])


def test_images_parts_do_not_depend_on_their_order(network, whole):
    batch = make_batch((SCENE, SCENE), SIZES[::-1])
    swapped = run(replace(batch, names=batch.names[::-1]), network=network)
    torch.testing.assert_close({name: loss.flip(0) for name, loss in swapped.items()}, whole)


def test_classes_count_alike_where_clicks_are_all_that_is_known(network, whole):
    by_class = published(network, point_by_class=True)
    clicks = run(make_batch(), by_class, network=network)
    assert not torch.allclose(clicks.pop("semantic_point"), whole["semantic_point"])
    torch.testing.assert_close(clicks, {name: whole[name] for name in clicks})
    masks = run(make_batch(), by_class, network=network, complete=True)
    torch.testing.assert_close(masks, run(make_batch(), network=network, complete=True))


STUFF_ONLY, THINGS_ONLY = SCENE[3:], SCENE[:3]


@pytest.mark.parametrize(
    "scenes", [(SCENE, STUFF_ONLY), (STUFF_ONLY, STUFF_ONLY), (THINGS_ONLY, SCENE), ([], [])]
)
@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("name", ["relu", "mask2former", "maskdino"])
def test_lacking_targets(scenes, complete, name):
    """Losses and gradients stay finite, and no parameter is left without a gradient."""
    network = shake(make_network(CONFIGS[name]).double())
    losses = run(make_batch(scenes), network=network, complete=complete)
    sum(loss.sum() for loss in losses.values()).backward()
    assert all(loss.isfinite().all() for loss in losses.values())
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
    if not any(scenes):
        learned = losses.get("thing_class", losses.get("segment_class"))
        assert learned.sum() > 0, "absence is to be learned"


def test_true_masks():
    batch = make_batch()
    masks = true_masks(batch)
    assert masks.area[0].tolist() == [1600, 45 * 40, 20 * 32, 0]
    assert masks.box[1, 1].tolist() == [70, 30, 110, 75]
    stuff = batch.truth == 3
    assert torch.equal(masks.instance == -1, stuff | (batch.truth < 0))
    assert torch.equal(masks.semantic == NUM_THINGS, stuff)
    with pytest.raises(ValueError, match=r"needs batch\.truth"):
        true_masks(replace(batch, truth=None))


def test_a_target_without_pixels_is_none_with_true_masks():
    batch = make_batch()
    batch.truth[batch.truth == 2] = -1
    targets = mask_targets(batch, torch.ones(2, 12, 16, dtype=torch.bool))
    assert targets.things.tolist() == [[True, True, False, False]] * 2
    assert targets.tags[0].tolist() == [True, True, False, True, False]


def test_sums_are_divided_by_the_mean_count_of_processes(monkeypatch, network, whole):
    """Beside a process that has nothing to count, the mean of the two is the loss of the one."""
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda counts: None)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    shared = run(make_batch(), network=network)
    torch.testing.assert_close(shared, {name: 2 * loss for name, loss in whole.items()})


def test_a_count_of_nothing_is_one_for_all_processes_together(monkeypatch):
    """A batch without a thing is the same split or whole, as is one with a single thing."""
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda counts: None)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 4)
    counts = torch.tensor([0, 1, 2])
    assert divisor(over_processes(counts)).tolist() == [0.25, 0.25, 0.5]
    assert counts.tolist() == [0, 1, 2]


@pytest.mark.parametrize("name", ["relu", "mask2former", "maskdino"])
def test_half_precision_output_gives_float32_losses(name):
    network = shake(make_network(CONFIGS[name])).eval()
    with torch.autocast("cpu", torch.bfloat16):
        losses = run(make_batch(dtype=torch.float32), network=network)
    assert {loss.dtype for loss in losses.values()} == {torch.float32}
