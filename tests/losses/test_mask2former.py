"""The losses of Mask2Former's queries, beside literal sums and transformers' own."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from networks import TINY_MASK2FORMER, shake
from scipy.optimize import linear_sum_assignment
from training import NUM_STUFF, NUM_THINGS, SCENE, SIZES, geometry, make_batch

from point2mask.losses import Mask2FormerLossConfig, Mask2FormerLosses, point_targets, true_masks
from point2mask.losses.segments import segment_targets
from point2mask.models import Mask2FormerNetwork

CONFIG = Mask2FormerLossConfig()
TARGETS = len(SCENE) + NUM_STUFF  # M
LABELS = [category for category, _, _ in SCENE] + [NUM_THINGS, NUM_THINGS + 1]
EXISTS = [True, True, True, False, True, False]  # stuff is found by class, not by click


def run(config=CONFIG):
    batch = make_batch()
    network = shake(Mask2FormerNetwork(TINY_MASK2FORMER).double()).eval()
    output = network((batch.images - 0.5) / 0.2, batch.image_size)
    targets = point_targets(batch, true_masks(batch), output.geometry.finest, 17)
    segments = Mask2FormerLosses(config, TINY_MASK2FORMER)
    return batch, output, targets, segments


def literal_coverage(truth):
    """The part of every 4 x 4 cell that each of the M targets has, by slices."""
    h, w = truth.shape
    masks = [truth == k for k in range(3)] + [np.zeros_like(truth, bool)]
    masks += [truth == 3, np.zeros_like(truth, bool)]
    rows, columns = -(-h // 4), -(-w // 4)
    cells = np.zeros((TARGETS, rows, columns))
    for k, y, x in np.ndindex(cells.shape):
        cells[k, y, x] = masks[k][4 * y : 4 * y + 4, 4 * x : 4 * x + 4].mean()
    return cells


def literal_pairs(x, cells):
    """Cross entropy and dice of masks ``[Q, h, w]`` (logits) with targets ``[M, h, w]``."""
    entropy, overlap = np.zeros((2, len(x), len(cells)))
    for q, m in np.ndindex(entropy.shape):
        p, t = 1 / (1 + np.exp(-x[q])), cells[m]
        entropy[q, m] = -(t * np.log(p) + (1 - t) * np.log1p(-p)).mean()
        overlap[q, m] = 1 - 2 * (p * t).sum() / ((p**2).sum() + (t**2).sum() + 2e-3)
    return entropy, overlap


@torch.no_grad()
@pytest.mark.parametrize("size", [(96, 120), (77, 102)])
def test_coverage_counts_pixels(size):
    batch, _, targets, _ = run()
    truth = batch.truth[0, : size[0], : size[1]]
    found = segment_targets(targets, geometry([size] * 2), NUM_THINGS, NUM_THINGS + NUM_STUFF)
    found = found.coverage[0]
    np.testing.assert_allclose(found, literal_coverage(truth.numpy()), rtol=1e-6)


@torch.no_grad()
def test_losses_are_those_of_the_cheapest_matching():
    batch, output, targets, segments = run()
    losses, counts = segments.compare(output, targets)
    assert counts.tolist() == [6, 2]
    logits, masks = output.queries
    layers, _, queries, _ = logits.shape
    assert layers == TINY_MASK2FORMER.decoder_layers + 1
    exists = np.flatnonzero(EXISTS)
    expected = {name: np.zeros(2) for name in losses}
    # Of every layer eight queries are matched and sixteen are not.
    weights = 2 * len(exists) + CONFIG.no_object * 2 * (queries - len(exists))
    for layer, b in np.ndindex(layers, 2):
        h, w = SIZES[b]
        cells = literal_coverage(batch.truth[b, :h, :w].numpy())
        x = masks[layer, b, :, : cells.shape[1], : cells.shape[2]].numpy()
        entropy, overlap = literal_pairs(x, cells)
        log_p = F.log_softmax(logits[layer, b], -1).numpy()
        cost = -2 * np.exp(log_p[:, LABELS]) + 5 * entropy + 5 * overlap
        rows, columns = linear_sum_assignment(cost[:, exists])
        label = np.full(queries, NUM_THINGS + NUM_STUFF)
        label[rows] = np.array(LABELS)[exists[columns]]
        weight = np.where(label < NUM_THINGS + NUM_STUFF, 1.0, CONFIG.no_object)
        expected["segment_class"][b] -= (weight * log_p[np.arange(queries), label]).sum() / weights
        for name, pairs in (("segment_entropy", entropy), ("segment_dice", overlap)):
            expected[name][b] += pairs[rows, exists[columns]].sum() / 8
    for name, loss in losses.items():
        np.testing.assert_allclose(loss, expected[name], rtol=1e-6, err_msg=name)


@torch.no_grad()
def test_cross_entropy_is_transformers_own():
    """Of masks that fill whole cells, where its pixels are our cells."""
    parts = pytest.importorskip("transformers.models.mask2former.modeling_mask2former")
    _, output, targets, segments = run()
    found = segment_targets(targets, output.geometry, NUM_THINGS, NUM_THINGS + NUM_STUFF)
    entropy, _ = segments.pairs(output, output.queries.masks, found)
    cells = found.coverage[1].double()
    rows, columns = cells.shape[1:]
    x = output.queries.masks[-1, 1, :, :rows, :columns].flatten(1)
    expected = parts.pair_wise_sigmoid_cross_entropy_loss(x, cells.flatten(1))
    torch.testing.assert_close(entropy[-1, 1], expected, rtol=1e-6, atol=1e-9)


def test_a_thing_without_pixels_is_no_target():
    """Panoptic SegFormer keeps it, with a box; a mask that shows nothing teaches nothing."""
    batch = make_batch()
    batch.truth[batch.truth == 2] = -1
    network = shake(Mask2FormerNetwork(TINY_MASK2FORMER).double()).eval()
    output = network((batch.images - 0.5) / 0.2, batch.image_size)
    targets = point_targets(batch, true_masks(batch), output.geometry.finest, 17)
    assert targets.things[:, 2].all()
    _, counts = Mask2FormerLosses(CONFIG, TINY_MASK2FORMER).compare(output, targets)
    assert counts.tolist() == [4, 2]


def test_more_targets_than_queries():
    batch = make_batch()
    config = type(TINY_MASK2FORMER)(**{**vars(TINY_MASK2FORMER), "queries": 2})
    network = shake(Mask2FormerNetwork(config).double()).eval()
    output = network((batch.images - 0.5) / 0.2, batch.image_size)
    targets = point_targets(batch, true_masks(batch), output.geometry.finest, 17)
    losses, counts = Mask2FormerLosses(CONFIG, config).compare(output, targets)
    assert counts.tolist() == [6, 2]
    assert all(loss.isfinite().all() for loss in losses.values())
