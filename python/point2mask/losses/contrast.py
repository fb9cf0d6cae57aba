"""Contrast between clicks and masks (InfoNCE; method b.8, ``loss_cl``)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from point2mask.losses.counts import divisor_of
from point2mask.pseudo_masks import PointBatch
from point2mask.pseudo_masks.cells import STRIDE

_ABSENT = -1e4  # logit of a mask without pixels; real ones are at most 1 / temperature


def point_to_mask_contrast(
    features: Tensor,
    points: PointBatch,
    instance: Tensor,
    semantic: Tensor,
    is_thing: Tensor,
    temperature: float = 0.07,
) -> Tensor:
    """-log exp(⟨f_i, m_own⟩ / τ) / Σ_j exp(⟨f_i, m_j⟩ / τ), mean over the batch's clicks i.

    m_j is the mean feature over mask j: the things and the stuff classes of the image. Published,
    stuff that is absent is a rival with logit 0; here it takes no part, nor do clicks whose own
    mask is empty.

    Args:
        features: ``[B, F, h, w]`` of length 1, at stride 8.
        points: the clicks, K targets.
        instance: int32 ``[B, H, W]``, thing target, -1 for none.
        semantic: int32 ``[B, H, W]``, class, -1 to ignore.
        is_thing: bool ``[C]``.
        temperature: τ.

    Returns:
        ``[B]``, the images' parts of the loss of the batch.
    """
    points = points.nonempty()
    targets = points.category.shape[1]
    height, width = features.shape[-2:]
    groups = targets + len(is_thing)  # things by target, then stuff by class
    known = semantic.clamp(min=0).long()
    stuff = (semantic >= 0) & ~is_thing[known]
    group = torch.where(instance >= 0, instance.long(), torch.where(stuff, targets + known, groups))
    share = cell_counts(group, groups, (height, width)).to(features.dtype)
    flat = features.flatten(2)
    area = share.sum(2)
    means = share @ flat.transpose(1, 2) / area.clamp(min=1)[..., None]

    cell = points.cells(height, width, STRIDE).flatten(1)
    index = cell.clamp(min=0).long()[:, None].expand(-1, flat.shape[1], -1)
    anchors = flat.gather(2, index).transpose(1, 2)
    channel = points.category.clamp(min=0)
    own = torch.where(
        is_thing[channel], torch.arange(targets, device=channel.device), targets + channel
    )
    own = own[..., None].expand(points.xy.shape[:3]).flatten(1)
    counted = (cell >= 0) & (area.gather(1, own) > 0)
    logits = anchors @ means.transpose(1, 2) / temperature
    logits = logits.masked_fill((area == 0)[:, None], _ABSENT)
    loss = F.cross_entropy(logits.transpose(1, 2), own, reduction="none")
    return torch.where(counted, loss, 0.0).sum(1) / divisor_of(counted.sum())


def cell_counts(group: Tensor, groups: int, shape: tuple[int, int]) -> Tensor:
    """How many pixels of each group every cell holds, float32 ``[B, G, h·w]``.

    Args:
        group: int64 ``[B, H, W]``; G is dropped.
        groups: G.
        shape: (h, w), cells of the canvas.
    """
    images, height, width = group.shape
    row = torch.arange(height, device=group.device) // STRIDE
    column = torch.arange(width, device=group.device) // STRIDE
    cells = shape[0] * shape[1]
    index = group * cells + row[:, None] * shape[1] + column
    counts = torch.zeros(images, (groups + 1) * cells, device=group.device)
    counts.scatter_add_(1, index.flatten(1), torch.ones_like(index.flatten(1), dtype=counts.dtype))
    return counts.view(images, groups + 1, cells)[:, :groups]
