"""The losses of Panoptic SegFormer's queries, beside literal sums."""

import numpy as np
import torch
from networks import shake, tiny
from training import NUM_THINGS, SCENE, SIZES, make_batch

from point2mask.losses import (
    SegformerLossConfig,
    SegformerLosses,
    dice,
    point_targets,
    sigmoid_focal,
    true_masks,
)
from point2mask.models import PanopticNetwork
from point2mask.models.boxes import box_corners, generalized_iou


def run(config, batch):
    """Losses with the true masks in place of pseudo masks, and what they were made from."""
    network = shake(PanopticNetwork(config).double()).eval()
    output = network((batch.images - 0.5) / 0.2, batch.image_size)
    targets = point_targets(batch, true_masks(batch), output.geometry.finest, 17)
    segments = SegformerLosses(SegformerLossConfig(), config)
    assignment = segments.assign(output.locations, targets)
    queries = assignment.things.queries
    things = network.decode_things(output.encoded, output.locations.queries, queries)
    losses, counts = segments.compare(output, things, assignment, targets)
    assert counts.tolist() == [6, 2]
    return losses, output, things, assignment


@torch.no_grad()
def test_sets_are_summed_over_layers_and_divided_by_the_batchs_targets():
    batch = make_batch()
    losses, output, things, assignment = run(tiny(), batch)
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
    for name in names:
        # Boxes of masks are float32.
        own, divisor = (name, 2) if name.startswith("stuff") else (f"thing_{name}", 6)
        np.testing.assert_allclose(losses[own].detach(), expected[name] / divisor, rtol=1e-6)


def test_sigmoid_masks_have_an_entropy():
    losses, output, things, assignment = run(tiny(mask_activation="sigmoid"), make_batch())
    expected = 0.0
    full = output.geometry.to_pixels(things.masks)[:, 0]
    for layer, i in np.ndindex(len(full), 3):
        h, w = SIZES[0]
        p = full[layer, i, :h, :w].sigmoid().detach().numpy()
        aim = (make_batch().truth[0, :h, :w] == assignment.things.targets[0][i]).numpy()
        expected -= np.log(np.where(aim, p, 1 - p)).mean()
    # log(1 - p) of the literal loses digits near p = 1.
    np.testing.assert_allclose(losses["thing_entropy"][0].item(), expected / 6, rtol=1e-7)
