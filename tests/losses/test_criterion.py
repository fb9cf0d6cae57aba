"""The criterion: its sums, weights, shares and warm-up, and what must not change a loss."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from networks import shake, tiny
from training import CANVAS, NUM_THINGS, SCENE, SIZES, make_batch

from point2mask.losses import (
    LOSSES,
    Criterion,
    LossConfig,
    box_corners,
    check_finite,
    dice,
    generalized_iou,
    mask_targets,
    point_targets,
    sigmoid_focal,
    true_masks,
)
from point2mask.losses.counts import divisor, over_processes
from point2mask.models import PanopticNetwork
from point2mask.pseudo_masks import PointBatch

NETWORK = shake(PanopticNetwork(tiny()).double()).eval()
PUBLISHED = LossConfig()
LATE = 10**6
GUIDE = torch.tensor([[0.5] * 3, [0.2] * 3], dtype=torch.float64)


def run(batch, config=PUBLISHED, step=LATE, network=NETWORK, complete=False):
    """Losses with the true masks in place of pseudo masks, and what they were made from."""
    output = network((batch.images - 0.5) / 0.2, batch.image_size)
    valid = output.geometry.finest
    if complete:
        targets = mask_targets(batch, valid)
    else:
        targets = point_targets(batch, true_masks(batch), valid, 17)
    criterion = Criterion(config, network.config)
    assignment = criterion.segments.assign(output.locations, targets)
    queries = assignment.things.queries
    things = network.decode_things(output.encoded, output.locations.queries, queries)
    losses = criterion(network, output, targets, batch, GUIDE, step)
    return losses, output, things, assignment, targets


NAMES = [name for name in LOSSES if "entropy" not in name and not name.startswith("segment_")]


@pytest.fixture(scope="module")
def published():
    """The losses with published weights, and what they come from."""
    return run(make_batch())


def test_names_are_those_of_the_weights(published):
    assert set(published[0]) == set(NAMES) <= {field.name for field in fields(LossConfig)}


@torch.no_grad()
def test_sets_are_summed_over_layers_and_divided_by_the_batchs_targets(published):
    losses, output, things, assignment, _ = published
    batch = make_batch()
    assert [len(q) for q in assignment.things.queries] == [3, 3]
    names = ("class", "box", "giou", "dice", "stuff_class", "stuff_dice")
    expected = {name: np.zeros(2) for name in names}
    logits, boxes = output.locations.class_logits, output.locations.boxes
    for layer, b, q in np.ndindex(*assignment.things.assigned.shape):
        target = int(assignment.things.assigned[layer, b, q])
        one_hot = torch.zeros(NUM_THINGS, dtype=torch.float64)
        if target >= 0:
            category, _, (y0, y1, x0, x1) = SCENE[target]
            one_hot[category] = 1
            h, w = SIZES[b]
            aim = torch.tensor([x0 / w, y0 / h, x1 / w, y1 / h], dtype=torch.float64)
            own = boxes[layer, b, q]
            low, high = aim[:2], aim[2:]
            expected["box"][b] += (own - torch.cat(((low + high) / 2, high - low))).abs().sum()
            expected["giou"][b] += 1 - generalized_iou(box_corners(own), aim)
        expected["class"][b] += sigmoid_focal(logits[layer, b, q], one_hot).sum()
    full = output.geometry.to_pixels(things.masks)
    stuff = output.geometry.to_pixels(output.stuff.masks)
    for layer, b in np.ndindex(full.shape[:2]):
        h, w = SIZES[b]
        truth = batch.truth[b, :h, :w].flatten()
        for i, target in enumerate(assignment.things.targets[b]):
            mask = full[layer, b, i, :h, :w].flatten()
            expected["dice"][b] += dice(mask, (truth == target).double())
        mask = stuff[layer, b, 0, :h, :w].flatten()
        expected["stuff_dice"][b] += dice(mask, (truth == 3).double())
        seen = torch.tensor([1.0, 0.0], dtype=torch.float64)
        expected["stuff_class"][b] += sigmoid_focal(output.stuff.class_logits[layer, b], seen).sum()
    # Six things and two stuff masks: shares 3/4 and 1/4. rtol: shares are float32.
    for name, weight in (("class", 2), ("box", 5), ("giou", 2), ("dice", 2)):
        np.testing.assert_allclose(
            losses[f"thing_{name}"].detach(), weight * 0.75 * expected[name] / 6, rtol=1e-6
        )
    for name, weight in (("stuff_class", 4), ("stuff_dice", 2)):
        np.testing.assert_allclose(
            losses[name].detach(), weight * 0.25 * expected[name] / 2, rtol=1e-6
        )


def test_warm_up_spares_the_published_losses(published):
    half = run(make_batch(), step=PUBLISHED.warmup_iterations // 2)[0]
    share = (PUBLISHED.warmup_iterations // 2) / PUBLISHED.warmup_iterations
    warm = {"thing_box", "thing_giou", "thing_dice", "stuff_class", "stuff_dice"}
    warm |= {"semantic_tree", "boundary"}
    for name, loss in published[0].items():
        factor = share if name in warm else 1.0
        torch.testing.assert_close(half[name], factor * loss)
    with pytest.raises(ValueError, match=r"warmup_exempt must be of .*, got 'loss_cl'"):
        LossConfig(warmup_exempt=("contrast", "loss_cl"))
    first = run(make_batch(), replace(PUBLISHED, warmup_iterations=0), step=0)[0]
    torch.testing.assert_close(first, published[0])


@pytest.mark.parametrize("name", NAMES)
def test_weights_scale_their_loss_alone(name, published):
    scaled = run(make_batch(), replace(PUBLISHED, **{name: 3 * getattr(PUBLISHED, name)}))[0]
    for other, loss in published[0].items():
        torch.testing.assert_close(scaled[other], (3 if other == name else 1) * loss)


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
@pytest.mark.parametrize("complete", [True, False])
def test_padding_has_no_influence(activation, complete):
    network = shake(PanopticNetwork(tiny(mask_activation=activation)).double()).eval()
    small = run(make_batch(fill=float("nan")), network=network, complete=complete)[0]
    canvas = (CANVAS[0] + 13, CANVAS[1] + 24)
    large = run(make_batch(canvas=canvas, fill=float("nan")), network=network, complete=complete)[0]
    torch.testing.assert_close(small, large)


def test_order_of_targets_has_no_influence(published):
    order = [3, 1, 0, 2]
    batch = make_batch()
    points = PointBatch(batch.points.xy[:, order], batch.points.category[:, order])
    new_index = torch.tensor(order).argsort().int()
    truth = torch.where(batch.truth >= 0, new_index[batch.truth.clamp(min=0)], -1)
    permuted = replace(batch, points=points, truth=truth)
    torch.testing.assert_close(run(permuted)[0], published[0])


def test_images_parts_do_not_depend_on_their_order(published):
    swapped = run(make_batch((SCENE, SCENE), SIZES[::-1]))[0]
    torch.testing.assert_close({name: loss.flip(0) for name, loss in swapped.items()}, published[0])


STUFF_ONLY, THINGS_ONLY = SCENE[3:], SCENE[:3]


@pytest.mark.parametrize(
    "scenes", [(SCENE, STUFF_ONLY), (STUFF_ONLY, STUFF_ONLY), (THINGS_ONLY, SCENE), ([], [])]
)
@pytest.mark.parametrize("complete", [True, False])
def test_lacking_targets(scenes, complete):
    """Losses and gradients stay finite, and no parameter is left without a gradient."""
    network = shake(PanopticNetwork(tiny()).double())
    losses = run(make_batch(scenes), network=network, complete=complete)[0]
    sum(loss.sum() for loss in losses.values()).backward()
    assert all(loss.isfinite().all() for loss in losses.values())
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
    if not any(scenes):
        assert losses["thing_class"].sum() > 0, "absence is to be learned"


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


def test_sums_are_divided_by_the_mean_count_of_processes(monkeypatch, published):
    """Beside a process that has nothing to count, the mean of the two is the loss of the one."""
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda counts: None)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    shared = run(make_batch())[0]
    torch.testing.assert_close(shared, {name: 2 * loss for name, loss in published[0].items()})


def test_a_count_of_nothing_is_one_for_all_processes_together(monkeypatch):
    """A batch without a thing is the same split or whole, as is one with a single thing."""
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda counts: None)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 4)
    counts = torch.tensor([0, 1, 2])
    assert divisor(over_processes(counts)).tolist() == [0.25, 0.25, 0.5]
    assert counts.tolist() == [0, 1, 2]


def test_sigmoid_masks_have_an_entropy():
    network = shake(PanopticNetwork(tiny(mask_activation="sigmoid")).double()).eval()
    losses, output, things, assignment, _ = run(make_batch(), network=network)
    expected = 0.0
    full = output.geometry.to_pixels(things.masks)[:, 0]
    for layer, i in np.ndindex(len(full), 3):
        h, w = SIZES[0]
        p = full[layer, i, :h, :w].sigmoid().detach().numpy()
        aim = (make_batch().truth[0, :h, :w] == assignment.things.targets[0][i]).numpy()
        expected -= np.log(np.where(aim, p, 1 - p)).mean()
    # log(1 - p) of the literal loses digits near p = 1; shares are float32.
    np.testing.assert_allclose(
        losses["thing_entropy"][0].item(), 2 * 0.75 * expected / 6, rtol=1e-6
    )


def test_half_precision_output_gives_float32_losses():
    criterion_input = make_batch(dtype=torch.float32)
    network = shake(PanopticNetwork(tiny())).eval()
    with torch.autocast("cpu", torch.bfloat16):
        losses = run(criterion_input, network=network)[0]
    assert {loss.dtype for loss in losses.values()} == {torch.float32}


def test_check_finite_names_loss_and_image():
    losses = {"a": torch.ones(2), "b": torch.tensor([1.0, torch.nan])}
    check_finite({"a": losses["a"]}, ("first", "second"), 7)
    with pytest.raises(FloatingPointError, match=r"step 7: not finite: b of second$"):
        check_finite(losses, ("first", "second"), 7)
