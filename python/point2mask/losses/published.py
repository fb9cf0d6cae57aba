"""Contrast and boundary to the letter of the published code (``loss.published``).

Where they differ from :mod:`~point2mask.losses.contrast` and :mod:`~point2mask.losses.boundary`,
those are mends; docs/fidelity.md says of what.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from point2mask.bilinear import resize
from point2mask.models import Geometry
from point2mask.models.config import STRIDES
from point2mask.models.geometry import cells
from point2mask.pseudo_masks import PointBatch

_NO_MASK = -1e4  # logit of a target that is no thing: it has no mask to be compared with
_EPSILON = 1e-5
# One of every two opposite neighbours: pairs are counted once and stand for both orders.
_NEIGHBOURS = ((0, 1), (1, -1), (1, 0), (1, 1))


def published_contrast(
    features: Tensor,
    geometry: Geometry,
    points: PointBatch,
    instance: Tensor,
    semantic: Tensor,
    is_thing: Tensor,
    temperature: float = 0.07,
) -> Tensor:
    """-log exp(⟨f_i, m_own⟩ / τ) / Σ_j exp(⟨f_i, m_j⟩ / τ), mean over the clicks of every image.

    m_j is the mean feature over mask j resized to cells; of a mask without pixels, be it of a
    click's own thing or of stuff that is not there, it is 0, a rival with logit 0.

    Args:
        features: ``[B, F, h, w]`` of length 1, at stride 8.
        geometry: of the batch.
        points: the clicks, K targets.
        instance: int32 ``[B, H, W]``, thing target, -1 for none.
        semantic: int32 ``[B, H, W]``, class, -1 to ignore.
        is_thing: bool ``[C]``.
        temperature: τ.

    Returns:
        ``[B]``, the images' parts of the mean over the images of this process.
    """
    points = points.nonempty()
    targets = torch.arange(points.category.shape[1], device=features.device)
    stuff = is_thing.logical_not().nonzero()[:, 0]
    losses = []
    for b, (height, width) in enumerate(geometry.sizes):
        h, w = cells(height, STRIDES[0]), cells(width, STRIDES[0])
        category, is_point = points.category[b], points.is_point[b]
        thing = (category >= 0) & is_thing[category.clamp(min=0)]
        of_image = [m[b, None, :height, :width] for m in (instance, semantic)]
        own_pixels = of_image[0] == targets[:, None, None], of_image[1] == stuff[:, None, None]
        masks = resize(torch.cat(own_pixels)[None].float(), h, w)[0].to(features.dtype)
        flat, masks = features[b, :, :h, :w].flatten(1), masks.flatten(1)
        means = masks @ flat.T / masks.sum(1, keepdim=True).clamp(min=1)
        y, x = (c[b] for c in points.pixels(height, width))
        cell = (y * (h / height)).long() * w + (x * (w / width)).long()
        own = torch.where(
            thing, targets, len(targets) + torch.searchsorted(stuff, category.clamp(min=0))
        )
        logits = flat.T[cell.flatten()] @ means.T / temperature
        is_mask = torch.cat((thing, torch.ones_like(stuff, dtype=torch.bool)))
        logits = logits.masked_fill(~is_mask, _NO_MASK)
        own = own[:, None].expand(cell.shape).flatten().clamp(max=len(is_mask) - 1)
        loss = F.cross_entropy(logits, own, reduction="none")
        counted = is_point.flatten()
        losses.append(torch.where(counted, loss, 0.0).sum() / counted.sum().clamp(min=1))
    return torch.stack(losses) / len(losses)


def published_separation(
    logits: Tensor, geometry: Geometry, instance: Tensor, semantic: Tensor, is_thing: Tensor
) -> Tensor:
    """¼ mean -log a over pairs of one thing + ¼ mean over pairs of one stuff class + ½ mean
    -log(1 - a) over the pairs apart, with a_ij = 1 - max(b_i, b_j) over 3 x 3 neighbours.

    Neighbours outside the image are of no thing, of class 0 and no boundary: pairs with them are
    apart where the pixel is of a thing or of another class.

    Args:
        logits: ``[B, h, w]`` at stride 8.
        geometry: of the batch.
        instance: int32 ``[B, H, W]``, thing target, -1 for none.
        semantic: int32 ``[B, H, W]``, class, -1 to ignore.
        is_thing: bool ``[C]``.

    Returns:
        ``[B]``, the images' parts of the mean over the images of this process.
    """
    losses = []
    for b, (height, width) in enumerate(geometry.sizes):
        boundary = geometry.image_to_pixels(b, logits[b : b + 1]).sigmoid()[0]
        things, classes = (m[b, :height, :width] for m in (instance, semantic))
        losses.append(_separation(boundary, things, classes, is_thing))
    return torch.stack(losses) / len(losses)


def _separation(boundary: Tensor, instance: Tensor, semantic: Tensor, is_thing: Tensor) -> Tensor:
    """The loss of one image, of maps ``[H, W]``."""
    stuff = (semantic >= 0) & ~is_thing[semantic.clamp(min=0).long()]
    sums, counts = [boundary.new_zeros(3)], [boundary.new_zeros(3)]
    for dy, dx in _NEIGHBOURS:
        here, there = _pair(boundary, dy, dx)
        affinity = 1 - torch.maximum(here, there)
        i, j = _pair(instance, dy, dx)
        s, t = _pair(semantic, dy, dx)
        apart = (i != j) | ((s != t) & (s >= 0) & (t >= 0))
        kinds = ((i == j) & (i >= 0), (s == t) & _pair(stuff, dy, dx)[0], apart)
        together = -(affinity + _EPSILON).log()
        parts = (together, together, -(1 + _EPSILON - affinity).log())
        sums.append(
            2 * torch.stack([(x * kind).sum() for x, kind in zip(parts, kinds, strict=True)])
        )
        counts.append(2 * torch.stack([kind.sum() for kind in kinds]))
    outside = _neighbours_outside(boundary) * ((instance >= 0) | (semantic > 0))
    sums.append(F.pad((outside * -(boundary + _EPSILON).log()).sum()[None], (2, 0)))
    counts.append(F.pad(outside.sum()[None], (2, 0)))
    mean = torch.stack(sums).sum(0) / (torch.stack(counts).sum(0) + _EPSILON)
    return (mean[0] + mean[1]) / 4 + mean[2] / 2


def _pair(map_: Tensor, dy: int, dx: int) -> tuple[Tensor, Tensor]:
    """Two views of ``[H, W]``: pixels that have such a neighbour, and the neighbours."""
    height, width = map_.shape
    rows, below = slice(0, height - dy), slice(dy, height)
    columns = slice(max(-dx, 0), width - max(dx, 0))
    beside = slice(max(dx, 0), width - max(-dx, 0))
    return map_[rows, columns], map_[below, beside]


def _neighbours_outside(map_: Tensor) -> Tensor:
    """How many of the eight neighbours of every pixel of ``[H, W]`` lie outside."""
    inside = F.conv2d(torch.ones_like(map_)[None, None], map_.new_ones(1, 1, 3, 3), padding=1)
    return 9 - inside[0, 0]
