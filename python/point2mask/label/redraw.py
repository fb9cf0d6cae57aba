"""Things that were grown from clicks, drawn anew by the queries that have learned from such masks.

A finished network draws finer masks than those that it learned from, but does not know which clicks
they belong to, and overlooks some. Masks that are grown know every click.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from point2mask.models import NetworkOutput, PointNetwork
from point2mask.models.matching import hungarian
from point2mask.pseudo_masks.points import PointBatch, class_presence

_LEAST_SCORE = 0.1  # of a class: queries below draw nothing
_LEAST_AT_CLICK = 0.25  # score times value under the clicks, for a mask to be of their thing
_LEAST_OVERLAP = 0.3  # intersection over union with what was grown
_MOST_PIXELS = 2**25  # of grown masks that are apart at a time


class Drawn(NamedTuple):
    """What a network draws of a picture at the size it sees it in, of the classes clicked there."""

    masks: Tensor  # [Q, H, W] in [0, 1]
    score: Tensor  # [Q] of the class, in [0, 1]
    label: Tensor  # int64 [Q], things first


@torch.no_grad()
def draw_all(
    network: PointNetwork, output: NetworkOutput, points: PointBatch, most: int
) -> list[Drawn]:
    """What a network draws of every picture of a batch.

    Args:
        network: which made ``output``.
        output: of the batch.
        points: the clicks.
        most: as for the network's ``candidates``: those of the highest scores.
    """
    candidates = network.candidates(output.encoded, most).full_precision()
    drawn = []
    for image, wanted in enumerate(class_presence(points, network.config.num_classes)):
        score, label = candidates.score[image], candidates.label[image]
        chosen = torch.nonzero((score >= _LEAST_SCORE) & wanted[label])[:, 0]
        masks = output.geometry.image_to_pixels(
            image, candidates.masks[image, chosen], candidates.stride
        )
        values = masks.sigmoid_() if candidates.logits else masks.clamp_(0, 1)
        drawn.append(Drawn(values, score[chosen], label[chosen]))
    return drawn


def shared_map(semantic: Tensor, drawn: Sequence[Drawn]) -> Tensor:
    """The mean of a semantic map ``[B, C, H, W]`` and of the classes that queries draw.

    A class is drawn as strongly as the strongest of its masks, times its score. As far as the
    classes drawn do not make up 1 at a pixel, the semantic map says the rest.
    """
    shared = semantic.clone()
    for own, (masks, score, label) in zip(shared, drawn, strict=True):
        height, width = masks.shape[-2:]
        inside = own[:, :height, :width]
        painted = torch.zeros_like(inside)
        for mask, weight, channel in zip(masks, score, label.tolist(), strict=True):
            painted[channel] = torch.maximum(painted[channel], mask * weight)
        painted += (1 - painted.sum(0)).clamp(min=0) * inside
        inside.add_(painted / painted.sum(0)).mul_(0.5)
    return shared


def redraw(
    grown: Tensor,
    stuff: Tensor,
    drawn: Sequence[Drawn],
    points: PointBatch,
    crowds: Sequence[Sequence[int]],
    is_thing: Tensor,
) -> Tensor:
    """Targets of the pixels of a batch, each thing by the query that draws it where there is one.

    Queries and things are matched one to one by class, by the masks at the clicks and by their
    overlap with what was grown. A thing becomes what its query draws if that holds the clicks,
    overlaps what was grown, and is more the thing's own at its clicks than what others become; else
    it keeps what was grown, as crowds do. What a thing gives up goes to stuff.

    Args:
        grown: int ``[B, H, W]``, the target of every pixel, negative for none.
        stuff: int ``[B, H, W]``, the target that a pixel goes to that is given up, negative for
            none.
        drawn: of the same pictures.
        points: the clicks.
        crowds: of every picture the targets that are crowds.
        is_thing: bool ``[C]``.

    Returns:
        int ``[B, H, W]``, as ``grown``.
    """
    result = grown.clone()
    things = points.things(is_thing)
    for image, (own, crowd) in enumerate(zip(drawn, crowds, strict=True)):
        height, width = own.masks.shape[-2:]
        inside = (image, slice(height), slice(width))
        free = things[image].clone()
        free[list(crowd)] = False
        query, thing = _matched(grown[inside], own, points.of([image]), free)
        every = torch.nonzero(things[image])[:, 0]
        result[inside] = _painted(grown[inside], stuff[inside], own.masks[query], thing, every)
    return result


def _matched(
    grown: Tensor, drawn: Drawn, points: PointBatch, is_target: Tensor
) -> tuple[Tensor, Tensor]:
    """Queries, and the targets of ``is_target [K]`` that become what those draw."""
    category, is_point = points.category[0], points.is_point[0]
    y, x = (at[0] for at in points.pixels(*grown.shape))
    value = (drawn.masks[:, y, x] * is_point).sum(-1) / is_point.sum(-1).clamp(min=1)  # [Q, K]
    sure = value * drawn.score[:, None] * (drawn.label[:, None] == category)
    soft, hard = (
        _overlap(masks, grown, len(category)) for masks in (drawn.masks, drawn.masks > 0.5)
    )
    cost = -(sure + 1e-4).log() - (soft + 1e-2).log()
    matching = hungarian(cost[None, None], is_target[None])
    query, thing = matching.queries[0], matching.targets[0]
    fits = (sure > _LEAST_AT_CLICK) & (hard >= _LEAST_OVERLAP)
    query, thing = (pair[fits[query, thing]] for pair in (query, thing))

    # Two queries may draw the same: the second thing would vanish.
    rival = value[query][:, thing]
    own = rival.diagonal().clone()
    keeps = (rival.fill_diagonal_(0) < own).all(0)
    return query[keeps], thing[keeps]


def _painted(grown: Tensor, stuff: Tensor, masks: Tensor, targets: Tensor, every: Tensor) -> Tensor:
    """Targets of pixels where some ``targets`` become what ``masks`` draw.

    ``every``: all things; those that keep what was grown lose nothing of it.
    """
    changed = torch.isin(grown, targets)
    owner = torch.where(changed, stuff, grown)
    value = torch.where(torch.isin(grown, every) & ~changed, 1.0, 0.5)
    for target, mask in zip(targets, masks, strict=True):
        owner = torch.where(mask > value, target, owner)
        value = torch.maximum(mask, value)
    return owner.to(grown.dtype)


def _overlap(masks: Tensor, grown: Tensor, count: int) -> Tensor:
    """Intersection over union ``[Q, K]`` of masks with what was grown for ``count`` targets."""
    drawn, targets = masks.flatten(1).float(), torch.arange(count, device=grown.device)
    step = max(1, _MOST_PIXELS // grown.numel())
    parts = []
    for chosen in targets.split(step):
        own = (grown.flatten() == chosen[:, None]).float()
        both = drawn @ own.T
        parts.append(both / (drawn.sum(1)[:, None] + own.sum(1) - both).clamp(min=1e-6))
    return torch.cat(parts, 1)
