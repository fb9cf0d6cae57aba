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

ClickedTarget = tuple[int, list[tuple[float, float]]]  # channel, and points x, y in pixels

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
    network: PointNetwork,
    output: NetworkOutput,
    targets: Sequence[Sequence[ClickedTarget]],
    most: int,
) -> list[Drawn]:
    """What a network draws of every picture of a batch.

    Args:
        network: which made ``output``.
        output: of the batch.
        targets: of every picture.
        most: as for the network's ``candidates``: those of the highest scores.
    """
    candidates = network.candidates(output.encoded, most).full_precision()
    drawn = []
    for image, clicked in enumerate(targets):
        score, label = candidates.score[image], candidates.label[image]
        wanted = torch.zeros(network.config.num_classes, dtype=torch.bool, device=label.device)
        wanted[sorted({channel for channel, points in clicked if points})] = True
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
    semantic: Tensor,
    drawn: Sequence[Drawn],
    targets: Sequence[Sequence[ClickedTarget]],
    crowds: Sequence[Sequence[bool]],
    num_things: int,
    confidence: float,
) -> Tensor:
    """Targets of the pixels of a batch, each thing by the query that draws it where there is one.

    Queries and things are matched one to one by class, by the masks at the clicks and by their
    overlap with what was grown. A thing becomes what its query draws if that holds the clicks,
    overlaps what was grown, and is more the thing's own at its clicks than what others become; else
    it keeps what was grown, as crowds do. What a thing gives up goes to the likeliest stuff that
    has a click, or to nobody.

    Args:
        grown: int ``[B, H, W]``, the target of every pixel, negative for none.
        semantic: ``[B, C, H, W]``, how likely the classes are.
        drawn: of the same pictures.
        targets: of them.
        crowds: which of those are crowds.
        num_things: classes that are things.
        confidence: below this likelihood of its class nobody has a pixel that was given up.

    Returns:
        int ``[B, H, W]``, as ``grown``.
    """
    result = grown.clone()
    every = zip(drawn, targets, crowds, strict=True)
    for image, (own, clicked, crowd) in enumerate(every):
        height, width = own.masks.shape[-2:]
        inside = (image, ..., slice(height), slice(width))
        kinds = [points and channel < num_things for channel, points in clicked]
        things = [k for k, is_thing in enumerate(kinds) if is_thing and not crowd[k]]
        if not things or not len(own.score):
            continue
        query, thing = _matched(grown[inside], own, [clicked[k] for k in things], things)
        stuff = _likeliest_stuff(semantic[inside], clicked, num_things, confidence)
        crowded = [k for k, is_thing in enumerate(kinds) if is_thing and crowd[k]]
        result[inside] = _painted(grown[inside], stuff, own.masks[query], thing, things + crowded)
    return result


def _matched(
    grown: Tensor, drawn: Drawn, clicked: Sequence[ClickedTarget], things: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Queries, and the things that become what those draw, as targets."""
    index = torch.tensor(things, device=grown.device)
    value = _at_clicks(drawn.masks, clicked)
    channel = torch.tensor([channel for channel, _ in clicked], device=grown.device)
    sure = value * drawn.score[:, None] * (drawn.label[:, None] == channel)
    soft, hard = (_overlap(masks, grown, index) for masks in (drawn.masks, drawn.masks > 0.5))
    cost = -(sure + 1e-4).log() - (soft + 1e-2).log()
    every = torch.ones(1, len(things), dtype=torch.bool, device=grown.device)
    matching = hungarian(cost[None, None], every)
    query, thing = matching.queries[0], matching.targets[0]
    fits = (sure > _LEAST_AT_CLICK) & (hard >= _LEAST_OVERLAP)
    query, thing = (pair[fits[query, thing]] for pair in (query, thing))

    # Two queries may draw the same: the second thing would vanish.
    rival = value[query][:, thing]
    own = rival.diagonal().clone()
    rival.fill_diagonal_(0)
    keeps = own > rival.amax(0) if len(own) else own > 0
    return query[keeps], index[thing[keeps]]


def _painted(
    grown: Tensor, stuff: Tensor, masks: Tensor, targets: Tensor, things: Sequence[int]
) -> Tensor:
    """Targets of pixels where some ``targets`` become what ``masks`` draw.

    ``things``: all of them; those that keep what was grown lose nothing of it.
    """
    changed = torch.isin(grown, targets)
    kept = torch.isin(grown, torch.tensor(things, device=grown.device)) & ~changed
    owner = torch.where(changed, stuff, grown)
    value = torch.where(kept, 1.0, 0.5)
    for target, mask in zip(targets, masks, strict=True):
        owner = torch.where(mask > value, target, owner)
        value = torch.maximum(mask, value)
    return owner.to(grown.dtype)


def _at_clicks(masks: Tensor, clicked: Sequence[ClickedTarget]) -> Tensor:
    """Mean values of masks under the clicks of targets, ``[Q, T]``."""
    height, width = masks.shape[-2:]
    values = []
    for _, points in clicked:
        x, y = torch.tensor(points, device=masks.device).long().unbind(1)
        values.append(masks[:, y.clamp(0, height - 1), x.clamp(0, width - 1)].mean(1))
    return torch.stack(values, 1)


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


def _likeliest_stuff(
    semantic: Tensor, clicked: Sequence[ClickedTarget], num_things: int, confidence: float
) -> Tensor:
    """The target of the likeliest stuff that has a click, int64 ``[H, W]``; -1 where none is
    likely."""
    first = {channel: k for k, (channel, points) in reversed([*enumerate(clicked)]) if points}
    channels = sorted(channel for channel in first if channel >= num_things)
    if not channels:
        return semantic.new_full(semantic.shape[-2:], -1).long()
    targets = torch.tensor([first[channel] for channel in channels], device=semantic.device)
    best, index = semantic[channels].max(0)
    return torch.where(best >= confidence, targets[index], -1)
