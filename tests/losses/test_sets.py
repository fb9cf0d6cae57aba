"""Losses of classes, boxes and masks, and the matching, against their definitions."""

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from training import randn

from point2mask.losses import dice, sigmoid_focal
from point2mask.models.boxes import box_corners, generalized_iou
from point2mask.models.matching import hungarian, indices, matching_cost

LOGIT = st.floats(-60, 60)
SIDE = st.integers(0, 6)
BOX = st.tuples(SIDE, SIDE, SIDE, SIDE).map(
    lambda b: (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3]))
)


@given(LOGIT, st.booleans())
def test_focal(logit, positive):
    x = torch.tensor(logit, dtype=torch.float64)
    value = sigmoid_focal(x, torch.tensor(float(positive), dtype=torch.float64)).item()
    z = np.longdouble(logit if positive else -logit)
    miss, entropy = 1 / (1 + np.exp(z)), np.log1p(np.exp(-z))
    expected = float((0.25 if positive else 0.75) * miss**2 * entropy)
    # 1 - p_t is a difference of numbers near 1: absolute rounding only.
    np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-13)


@given(BOX, BOX)
def test_generalized_iou_counts_unit_squares(a, b):
    def squares(box):
        return {(x, y) for x in range(box[0], box[2]) for y in range(box[1], box[3])}

    union = len(squares(a) | squares(b))
    hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    expected = len(squares(a) & squares(b)) / max(union, 1)
    expected -= (hull - union) / max(hull, 1)
    value = generalized_iou(torch.tensor(a).double(), torch.tensor(b).double())
    np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-15)


def test_box_corners():
    box = box_corners(torch.tensor([0.5, 0.4, 0.2, 0.6]))
    torch.testing.assert_close(box, torch.tensor([0.4, 0.1, 0.6, 0.7]))


def test_dice_is_the_published_one():
    mask, target = randn(2, 3, 20).relu(), (randn(2, 3, 20, seed=1) > 0).double()
    a = (mask * target).sum(-1)
    b, c = (mask**2).sum(-1) + 1e-3, (target**2).sum(-1) + 1e-3
    torch.testing.assert_close(dice(mask, target), 1 - 2 * a / (b + c))


def test_dice_of_empty_masks_is_finite():
    empty = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    loss = dice(empty, torch.zeros(5))
    loss.backward()
    assert loss.item() == 1
    assert empty.grad.isfinite().all()


def test_gradients():
    x, target = randn(3, 4).requires_grad_(), (randn(3, 4, seed=1) > 0).double()
    assert torch.autograd.gradcheck(lambda z: sigmoid_focal(z, target), x)
    assert torch.autograd.gradcheck(lambda z: dice(z, target), x)
    boxes = randn(5, 4).sigmoid().requires_grad_()
    aim = box_corners(randn(5, 4, seed=2).sigmoid())
    assert torch.autograd.gradcheck(lambda z: generalized_iou(box_corners(z), aim), boxes)


def test_matching_cost():
    layers, images, queries, targets, classes = 2, 1, 3, 2, 4
    logits, boxes = randn(layers, images, queries, classes), randn(layers, images, queries, 4)
    boxes, aim = boxes.sigmoid(), randn(images, targets, 4, seed=3).sigmoid()
    category = torch.tensor([[3, 1]])
    cost = matching_cost(logits, boxes, category, aim)
    for layer, b, q, k in np.ndindex(*cost.shape):
        x = logits[layer, b, q, category[b, k]]
        one, zero = torch.ones_like(x), torch.zeros_like(x)
        box = boxes[layer, b, q]
        expected = (
            2 * (sigmoid_focal(x, one) - sigmoid_focal(x, zero))
            + 5 * (box - aim[b, k]).abs().sum()
            - 2 * generalized_iou(box_corners(box), box_corners(aim[b, k]))
        )
        # The class cost is written without cancelled terms: 1e-9 for the difference of two losses.
        torch.testing.assert_close(cost[layer, b, q, k], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("queries", [2, 4])
def test_hungarian_finds_the_cheapest_matching(queries):
    cost = randn(3, 2, queries, 4)
    is_target = torch.tensor([[True, False, True, True], [False, False, True, False]])
    matching = hungarian(cost, is_target)
    for layer, b in np.ndindex(3, 2):
        columns = is_target[b].nonzero()[:, 0].tolist()
        table = cost[layer, b].numpy()
        # Every one-to-one matching, of as many pairs as possible.
        if queries >= len(columns):
            options = [
                list(zip(q, columns, strict=True))
                for q in permutations(range(queries), len(columns))
            ]
        else:
            options = [list(enumerate(c)) for c in permutations(columns, queries)]
        best = min(sum(table[pair] for pair in option) for option in options)
        row = matching.assigned[layer, b]
        pairs = [(q, int(k)) for q, k in enumerate(row) if k >= 0]
        assert len(pairs) == min(queries, len(columns))
        assert len({k for _, k in pairs}) == len(pairs)
        assert {k for _, k in pairs} <= set(columns)
        assert sum(table[pair] for pair in pairs) == pytest.approx(best, abs=1e-12)
    for b in range(2):
        row = matching.assigned[-1, b]
        assert matching.queries[b].tolist() == (row >= 0).nonzero()[:, 0].tolist()
        assert matching.targets[b].tolist() == row[row >= 0].tolist()


def test_hungarian_without_targets():
    matching = hungarian(randn(2, 2, 3, 1), torch.zeros(2, 1, dtype=torch.bool))
    assert (matching.assigned == -1).all()
    assert [len(queries) for queries in matching.queries] == [0, 0]


def test_hungarian_survives_nan():
    cost = randn(1, 1, 3, 2)
    cost[0, 0, 1] = torch.nan
    matching = hungarian(cost, torch.ones(1, 2, dtype=torch.bool))
    assert matching.queries[0].tolist() == [0, 2]


def test_permuted_targets_are_matched_to_the_same_queries():
    cost, order = randn(2, 1, 5, 4), torch.tensor([2, 0, 3, 1])
    is_target = torch.ones(1, 4, dtype=torch.bool)
    first = hungarian(cost, is_target)
    second = hungarian(cost[..., order], is_target)
    inverse = torch.cat((order.argsort(), torch.tensor([-1])))
    assert torch.equal(inverse[first.assigned], second.assigned)


def test_indices():
    rows = indices(torch.tensor([[True, False, True], [False, False, False]]))
    assert [row.tolist() for row in rows] == [[0, 2], []]
