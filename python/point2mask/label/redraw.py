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

Click = tuple[int, list[tuple[float, float]]]  # channel, and points x, y in pixels, of a target

_LEAST_SCORE = 0.1  # of a class: queries below draw nothing
_LEAST_AT_CLICK = 0.25  # score times value under the clicks, for a mask to be of their thing
_LEAST_OVERLAP = 0.3  # intersection over union with what was grown
_MOST_PIXELS = 2**25  # of grown masks that are apart at a time
_FLOOR = 1e-3  # value of all masks together below which the semantic map counts for more


class Drawn(NamedTuple):
    """What a network draws of a picture at the size it sees it in, of the classes clicked there."""

    masks: Tensor  # [Q, H, W] in [0, 1]
    score: Tensor  # [Q] of the class, in [0, 1]
    label: Tensor  # int64 [Q], things first


@torch.no_grad()
def draw_all(
    network: PointNetwork, output: NetworkOutput, clicks: Sequence[Sequence[Click]], most: int
) -> list[Drawn]:
    """What a network draws of every picture of a batch.

    Args:
        network: which made ``output``.
        output: of the batch.
        clicks: of every picture.
        most: queries of things that are looked at, those of the highest scores.
    """
    candidates = network.candidates(output.encoded, most).full_precision()
    drawn = []
    for image, targets in enumerate(clicks):
        score, label = candidates.score[image], candidates.label[image]
        clicked = torch.zeros(network.config.num_classes, dtype=torch.bool, device=label.device)
        clicked[sorted({channel for channel, _ in targets})] = True
        chosen = torch.nonzero((score >= _LEAST_SCORE) & clicked[label])[:, 0]
        masks = output.geometry.image_to_pixels(
            image, candidates.masks[image, chosen], candidates.stride
        )
        values = masks.sigmoid() if candidates.logits else masks
        drawn.append(Drawn(values.clamp(0, 1), score[chosen], label[chosen]))
    return drawn


def shared_map(semantic: Tensor, drawn: Sequence[Drawn]) -> Tensor:
    """The mean of a semantic map ``[B, C, H, W]`` and of the classes that queries draw.

    A class is drawn as strongly as the strongest of its masks, times its score. Where nothing is
    drawn the semantic map stays as it is.
    """
    shared = semantic.clone()
    for own, (masks, score, label) in zip(shared, drawn, strict=True):
        height, width = masks.shape[-2:]
        inside = own[:, :height, :width]
        painted = torch.zeros_like(inside)
        for mask, weight, channel in zip(masks, score, label.tolist(), strict=True):
            painted[channel] = torch.maximum(painted[channel], mask * weight)
        painted = painted + _FLOOR * inside
        inside.add_(painted / painted.sum(0)).mul_(0.5)
    return shared


def redraw(
    grown: Tensor,
    semantic: Tensor,
    drawn: Sequence[Drawn],
    clicks: Sequence[Sequence[Click]],
    num_things: int,
) -> Tensor:
    """Targets of the pixels of a batch, each thing by the query that draws it where there is one.

    Queries and things are matched one to one by class, by the masks at the clicks and by their
    overlap with what was grown. A thing keeps what was grown for it unless its query's mask holds
    the clicks and overlaps enough. What a thing gives up goes to the likeliest stuff with a click.

    Args:
        grown: int ``[B, H, W]``, the target of every pixel, negative for none.
        semantic: ``[B, C, H, W]``, how likely the classes are.
        drawn: of the same pictures.
        clicks: of their targets.
        num_things: classes that are things.

    Returns:
        int ``[B, H, W]``, as ``grown``.
    """
    result = grown.clone()
    for image, (own, targets) in enumerate(zip(drawn, clicks, strict=True)):
        height, width = own.masks.shape[-2:]
        inside = (image, ..., slice(height), slice(width))
        result[inside] = _redraw_picture(grown[inside], semantic[inside], own, targets, num_things)
    return result


def _redraw_picture(
    grown: Tensor, semantic: Tensor, drawn: Drawn, clicks: Sequence[Click], num_things: int
) -> Tensor:
    things = [target for target, (channel, _) in enumerate(clicks) if channel < num_things]
    if not things or not len(drawn.score):
        return grown
    index = torch.tensor(things, device=grown.device)
    at_click = _at_clicks(drawn, [clicks[target] for target in things])
    soft, hard = (_overlap(own, grown, index) for own in (drawn.masks, drawn.masks > 0.5))
    cost = -(at_click + 1e-4).log() - (soft + 1e-2).log()
    every = torch.ones(1, len(things), dtype=torch.bool, device=grown.device)
    matching = hungarian(cost[None, None], every)
    query, thing = matching.queries[0], matching.targets[0]
    fits = (at_click > _LEAST_AT_CLICK) & (hard >= _LEAST_OVERLAP)
    query, thing = (pair[fits[query, thing]] for pair in (query, thing))

    changed = torch.isin(grown, index[thing])
    owner = torch.where(changed, _likeliest_stuff(semantic, clicks, num_things), grown)
    value = torch.where(torch.isin(grown, index) & ~changed, 1.0, 0.5)
    for target, mask in zip(index[thing], drawn.masks[query], strict=True):
        owner = torch.where(mask > value, target, owner)
        value = torch.maximum(mask, value)
    return owner.to(grown.dtype)


def _at_clicks(drawn: Drawn, things: Sequence[Click]) -> Tensor:
    """Score times mean value under the clicks, ``[Q, T]``; 0 where the class is another."""
    height, width = drawn.masks.shape[-2:]
    at = drawn.masks.new_zeros(len(drawn.score), len(things))
    for thing, (channel, points) in enumerate(things):
        x, y = torch.tensor(points, device=at.device).long().unbind(1)
        value = drawn.masks[:, y.clamp(0, height - 1), x.clamp(0, width - 1)].mean(1)
        at[:, thing] = torch.where(drawn.label == channel, drawn.score * value, 0)
    return at


def _overlap(masks: Tensor, grown: Tensor, targets: Tensor) -> Tensor:
    """Intersection over union ``[Q, T]`` of masks with what was grown for some targets."""
    drawn = masks.flatten(1).float()
    step = max(1, _MOST_PIXELS // grown.numel())
    parts = []
    for chosen in targets.split(step):
        own = (grown.flatten() == chosen[:, None]).float()
        both = drawn @ own.T
        parts.append(both / (drawn.sum(1)[:, None] + own.sum(1) - both).clamp(min=1e-6))
    return torch.cat(parts, 1)


def _likeliest_stuff(semantic: Tensor, clicks: Sequence[Click], num_things: int) -> Tensor:
    """The target of the likeliest stuff that has a click, int64 ``[H, W]``; -1 if none has."""
    first = {channel: target for target, (channel, _) in reversed(list(enumerate(clicks)))}
    channels = sorted(channel for channel in first if channel >= num_things)
    if not channels:
        return semantic.new_full(semantic.shape[-2:], -1).long()
    targets = torch.tensor([first[channel] for channel in channels], device=semantic.device)
    return targets[semantic[channels].argmax(0)]
