"""One-to-one matching of queries and things (method b.8)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from point2mask.models.boxes import box_corners, generalized_iou

ALPHA, GAMMA = 0.25, 2.0  # of the focal loss

_UNUSABLE = 1e6  # cost of a pair whose cost is not a number: the losses will tell


class Matching(NamedTuple):
    """Which query stands for which target."""

    assigned: Tensor  # int64 [L, B, Q], the query's target, -1 for none
    queries: list[Tensor]  # for every image, int64 [K_b]: those matched in the last layer
    targets: list[Tensor]  # and their targets


class Pairs(NamedTuple):
    """Queries and their targets, P of an image in every layer."""

    queries: list[Tensor]  # for every image, int64 [L, P_b]
    targets: list[Tensor]  # the same


def focal_class_cost(logits: Tensor, category: Tensor) -> Tensor:
    """Focal loss as a positive minus that as a negative of the target's class: ``[L, B, Q, K]``.

    Args:
        logits: ``[L, B, Q, T]``.
        category: int64 ``[B, K]``, in [0, T).
    """
    index = category[:, None].expand(*logits.shape[:3], -1)
    x = logits.gather(3, index)
    p = x.sigmoid()
    positive = ALPHA * (1 - p) ** GAMMA * -F.logsigmoid(x)
    negative = (1 - ALPHA) * p**GAMMA * -F.logsigmoid(-x)
    return positive - negative


@torch.no_grad()
def matching_cost(
    logits: Tensor,
    boxes: Tensor,
    category: Tensor,
    target_boxes: Tensor,
    weights: tuple[float, float, float] = (2.0, 5.0, 2.0),
) -> Tensor:
    """Class, L1 of the box and -GIoU, weighted: ``[L, B, Q, K]``.

    Args:
        logits: ``[L, B, Q, T]``.
        boxes: ``[L, B, Q, 4]``, centre and size in parts of the image.
        category: int64 ``[B, K]``, in [0, T).
        target_boxes: ``[B, K, 4]``, as ``boxes``.
        weights: of the three.
    """
    box, target = boxes[..., :, None, :], target_boxes[:, None]
    distance = (box - target).abs().sum(-1)
    overlap = generalized_iou(box_corners(box), box_corners(target))
    parts = (focal_class_cost(logits, category), distance, -overlap)
    return sum(
        (w * part for w, part in zip(weights, parts, strict=True)), torch.zeros_like(overlap)
    )


def hungarian(cost: Tensor, is_target: Tensor) -> Matching:
    """The cheapest one-to-one matching of every layer and image, by SciPy on the host.

    The one place where the losses wait for the device.

    Args:
        cost: ``[L, B, Q, K]``.
        is_target: bool ``[B, K]``; the others are matched to nothing.
    """
    assigned = _assigned(cost, is_target)
    queries = [np.flatnonzero(row >= 0) for row in assigned[-1]]
    chosen = [row[index] for row, index in zip(assigned[-1], queries, strict=True)]
    return Matching(
        torch.from_numpy(assigned).to(cost.device),
        _to_device(queries, cost.device),
        _to_device(chosen, cost.device),
    )


def hungarian_pairs(cost: Tensor, is_target: Tensor) -> Pairs:
    """The same matching as the pairs of every layer, in the order of the queries."""
    assigned = _assigned(cost, is_target)
    layers, images, _ = assigned.shape
    rows = [np.nonzero(assigned[:, b] >= 0)[1] for b in range(images)]
    queries = [row.reshape(layers, -1) for row in rows]
    targets = [np.take_along_axis(assigned[:, b], row, 1) for b, row in enumerate(queries)]
    shapes = [(layers, row.shape[1]) for row in queries]
    both = _to_device([row.ravel() for row in (*queries, *targets)], cost.device)
    shaped = [row.view(shape) for row, shape in zip(both, 2 * shapes, strict=True)]
    return Pairs(shaped[:images], shaped[images:])


def _assigned(cost: Tensor, is_target: Tensor) -> NDArray[np.int64]:
    """The target of every query, -1 for none, ``[L, B, Q]`` on the host."""
    from scipy.optimize import linear_sum_assignment

    host = torch.nan_to_num(cost, _UNUSABLE, _UNUSABLE, -_UNUSABLE).cpu().numpy()
    columns = [np.flatnonzero(row) for row in is_target.cpu().numpy()]
    assigned = np.full(host.shape[:3], -1, np.int64)
    for layer in range(host.shape[0]):
        for b, targets in enumerate(columns):
            query, column = linear_sum_assignment(host[layer, b][:, targets])
            assigned[layer, b, query] = targets[column]
    return assigned


def indices(mask: Tensor) -> list[Tensor]:
    """For every row of a bool ``[B, S]`` the true columns, on its device.

    Reads the mask on the host; after :func:`hungarian` nothing is left to wait for.
    """
    return _to_device([np.flatnonzero(row) for row in mask.cpu().numpy()], mask.device)


def _to_device(rows: Sequence[NDArray[np.int64]], device: torch.device) -> list[Tensor]:
    """Index lists in one copy."""
    joined = torch.from_numpy(np.concatenate(rows)).to(device)
    return list(torch.split(joined, [len(row) for row in rows]))
