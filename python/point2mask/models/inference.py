"""From the masks of a network to a panoptic map: the published merge."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from point2mask.bilinear import resize
from point2mask.models.base import Candidates, PointNetwork
from point2mask.models.config import MergeConfig
from point2mask.models.geometry import Geometry
from point2mask.models.precision import at_least_float32

VOID = 0  # id of pixels of no segment
# Masks that are at full resolution, as floats, at a time: so many, and of so many pixels together.
_CHUNK, _CHUNK_PIXELS = 16, 2**26


class MergedSegment(NamedTuple):
    """One segment of a panoptic map."""

    id: int  # its value in the map, from 1, best score first
    label: int  # class, things first
    score: float
    area: int  # pixels that it got


@dataclass(frozen=True)
class PanopticPrediction:
    """The result for one image, at its original size."""

    segment_map: Tensor  # int32 [H, W], ids of segments, 0 where there is none
    segments: tuple[MergedSegment, ...]
    semantic: Tensor | None  # int64 [H, W], the best class of the semantic map, if asked for


@torch.no_grad()
def predict(
    network: PointNetwork,
    images: Tensor,
    image_size: Tensor,
    original_size: list[tuple[int, int]] | None = None,
    config: MergeConfig | None = None,
    semantic: bool = False,
) -> list[PanopticPrediction]:
    """Panoptic maps of a batch. The result of an image does not depend on the others.

    Under autocast the network may compute in half precision; its masks are merged in full.

    Args:
        network: in evaluation mode, or its dropout acts.
        images: as for the network.
        image_size: as for the network.
        original_size: height and width that the result of every image should have; the image's own
            by default.
        config: thresholds; the published ones by default.
        semantic: whether the semantic decoder is run too.
    """
    config = config or MergeConfig()
    encoded = network.encode(images, image_size)
    geometry = encoded.geometry
    sizes = list(geometry.sizes) if original_size is None else original_size
    if len(sizes) != len(images):
        raise ValueError(f"original_size must have {len(images)} entries, got {len(sizes)}")
    candidates = network.candidates(encoded, config.max_things).full_precision()
    semantics = None
    if semantic:
        semantics = at_least_float32(network.decode_semantics(encoded, all_layers=False).logits[-1])
    predictions = []
    with torch.autocast(images.device.type, enabled=False):
        for b, size in enumerate(sizes):
            segment_map, segments = _merge_image(
                candidates, geometry, b, size, network.config.num_things, config
            )
            best_class = None
            if semantics is not None:
                best_class = _best_class(semantics[b], geometry, b, size)
            predictions.append(PanopticPrediction(segment_map, segments, best_class))
    return predictions


def _merge_image(
    candidates: Candidates,
    geometry: Geometry,
    image: int,
    size: tuple[int, int],
    num_things: int,
    config: MergeConfig,
) -> tuple[Tensor, tuple[MergedSegment, ...]]:
    """The merge of one image's masks, a few at full resolution at a time."""
    if candidates.weight is not None and config.share_out:
        return _share_out(candidates, candidates.weight, geometry, image, size, num_things, config)
    _, class_score, labels = (x[image] for x in candidates[:3])
    scores = [class_score[:0]]
    for chosen in _parts(len(labels), size):
        masks = _full_size(candidates, geometry, image, chosen, size)
        scores.append(score_masks(masks, class_score[chosen], config)[1])
        del masks
    score = torch.cat(scores)
    order = _painting_order(score, labels, num_things, config)

    # Once more, those that are painted alone: kept, they may be gigabytes together.
    painted = (
        mask
        for part in _parts(len(order), size)
        for mask in _full_size(candidates, geometry, image, order[part], size)
        > config.mask_threshold
    )
    return _paint(painted, size, score[order], labels[order], num_things, config)


def _parts(masks: int, size: tuple[int, int]) -> Iterator[slice]:
    """Which masks are at their full size at a time."""
    step = min(_CHUNK, max(1, _CHUNK_PIXELS // (size[0] * size[1])))
    return (slice(first, first + step) for first in range(0, masks, step))


def _best_class(semantics: Tensor, geometry: Geometry, image: int, size: tuple[int, int]) -> Tensor:
    """The class of the largest value at every pixel of the original size, int64 ``[H, W]``."""
    best = semantics.new_full(size, -torch.inf)
    owner = torch.zeros(size, dtype=torch.int64, device=semantics.device)
    for chosen in _parts(len(semantics), size):
        pixels = geometry.image_to_pixels(image, semantics[chosen])
        full = resize(pixels[None], *size)[0]
        top, index = full.max(0)
        owner = torch.where(top > best, index + chosen.start, owner)
        best = torch.maximum(top, best)
    return owner


def _full_size(
    candidates: Candidates,
    geometry: Geometry,
    image: int,
    chosen: slice | Tensor,
    size: tuple[int, int],
) -> Tensor:
    """Some of an image's masks at its original size, as values: ``[K, H, W]``."""
    masks = candidates.masks[image, chosen]
    if candidates.at_once:
        pixels = geometry.of_image(image, masks, candidates.stride)
    else:
        pixels = geometry.image_to_pixels(image, masks, candidates.stride)
    full = resize(pixels[:, None], *size)[:, 0]
    return full.sigmoid() if candidates.logits else full


def _share_out(
    candidates: Candidates,
    weight: Tensor,
    geometry: Geometry,
    image: int,
    size: tuple[int, int],
    num_things: int,
    config: MergeConfig,
) -> tuple[Tensor, tuple[MergedSegment, ...]]:
    """The merge of MaskDINO: each pixel goes to the mask of highest weight · probability.

    Masks of a class that scores below the quality asked for take no part. A mask has the pixels
    that it wins and that are inside of it. It is dropped if there are none, or if it wins fewer
    pixels than the part of its own that has to be left to it.
    """
    score, label = candidates.score[image], candidates.label[image]
    good = score >= _quality(label, num_things, config)
    best = torch.zeros(size, dtype=score.dtype, device=score.device)
    owner = torch.full(size, -1, device=score.device)
    inside = torch.zeros(size, dtype=torch.bool, device=score.device)  # of its owner's mask
    whole = torch.zeros_like(label)
    for chosen in _parts(len(score), size):
        full = _full_size(candidates, geometry, image, chosen, size)
        own = full >= config.mask_threshold
        whole[chosen] = own.sum((1, 2))
        top, index = (full * (weight[image, chosen] * good[chosen])[:, None, None]).max(0)
        better = top > best
        owner = torch.where(better, index + chosen.start, owner)
        inside = torch.where(better, own.gather(0, index[None])[0], inside)
        best = torch.maximum(top, best)
    area, kept = (_count(owner[pixels], len(score)) for pixels in (owner >= 0, inside))
    taken = torch.where(label < num_things, config.overlap_things, config.overlap_stuff)
    good &= (kept > 0) & (area >= (1 - taken) * whole)
    ids = torch.where(good, good.cumsum(0), VOID).int()
    segment_map = torch.where(inside, ids[owner.clamp(min=0)], VOID)
    columns = (ids[good], label[good], score[good], kept[good])
    table = zip(*(column.tolist() for column in columns), strict=True)
    return _one_segment_of_stuff(segment_map, [MergedSegment(*row) for row in table], num_things)


def _count(numbers: Tensor, count: int) -> Tensor:
    """How often each of ``range(count)`` is there."""
    return torch.zeros(count, dtype=torch.int64, device=numbers.device).index_add_(
        0, numbers, torch.ones_like(numbers)
    )


def score_masks(masks: Tensor, class_score: Tensor, config: MergeConfig) -> tuple[Tensor, Tensor]:
    """Binary masks ``[K, H, W]`` and their scores ``[K]``: class score · (mean inside)².

    The mean is over the pixels above ``mask_threshold``, with one more in the denominator (as
    published, so that an empty mask scores 0).
    """
    inside = masks > config.mask_threshold
    mean = (masks * inside).sum((1, 2)) / (inside.sum((1, 2)) + 1)
    return inside, class_score * mean**2


def merge_masks(
    masks: Tensor,
    scores: Tensor,
    labels: Tensor,
    num_things: int,
    config: MergeConfig | None = None,
) -> tuple[Tensor, tuple[MergedSegment, ...]]:
    """Paints masks from the best score down, each on the pixels still free.

    A mask is dropped if its score is below the quality asked for, if it is empty, or if more than
    the allowed part of it is taken already. Equal scores keep their order. Masks of the same stuff
    become one segment, with the score of the best.

    Args:
        masks: bool ``[K, H, W]``.
        scores: ``[K]``.
        labels: int ``[K]``, things first.
        num_things: labels below are things.
        config: thresholds.

    Returns:
        The map, int32 ``[H, W]`` with ids from 1 and 0 where no segment is, and its segments.
    """
    config = config or MergeConfig()
    order = _painting_order(scores, labels, num_things, config)
    size = masks.shape[1], masks.shape[2]
    return _paint(masks[order], size, scores[order], labels[order], num_things, config)


def _painting_order(scores: Tensor, labels: Tensor, num_things: int, config: MergeConfig) -> Tensor:
    """The masks of good enough scores, best first."""
    order = scores.argsort(descending=True, stable=True)
    return order[scores[order] >= _quality(labels[order], num_things, config)]


def _paint(
    masks: Iterable[Tensor],
    size: tuple[int, int],
    scores: Tensor,
    labels: Tensor,
    num_things: int,
    config: MergeConfig,
) -> tuple[Tensor, tuple[MergedSegment, ...]]:
    """As :func:`merge_masks`, of bool ``[H, W]`` masks in the order of :func:`_painting_order`."""
    segment_map = torch.zeros(size, dtype=torch.int32, device=scores.device)
    if not len(scores):
        return segment_map, ()
    overlap = torch.where(labels < num_things, config.overlap_things, config.overlap_stuff)
    count = torch.zeros((), dtype=torch.int32, device=segment_map.device)
    ids, areas = [], []
    for mask, limit in zip(masks, overlap, strict=True):  # nothing in here waits for the device
        new = mask & (segment_map == VOID)
        area, total = new.sum(), mask.sum()
        accepted = ((total - area) / total <= limit) & (area > 0)
        count = count + accepted
        segment_map = torch.where(new & accepted, count, segment_map)
        ids.append(count * accepted)
        areas.append(area)
    columns = (torch.stack(ids), labels, scores, torch.stack(areas))
    table = zip(*(column.tolist() for column in columns), strict=True)
    painted = [MergedSegment(*row) for row in table if row[0] != VOID]
    return _one_segment_of_stuff(segment_map, painted, num_things)


def _one_segment_of_stuff(
    segment_map: Tensor, painted: list[MergedSegment], num_things: int
) -> tuple[Tensor, tuple[MergedSegment, ...]]:
    """Joins the segments of a stuff class, of which a panoptic map has one, to the best of them."""
    new_id = [VOID]
    segments: list[MergedSegment] = []
    of_class: dict[int, int] = {}
    for segment in painted:
        known = of_class.get(segment.label)
        if known is None:
            segments.append(segment._replace(id=len(segments) + 1))
            if segment.label >= num_things:
                of_class[segment.label] = len(segments)
        else:
            area = segments[known - 1].area + segment.area
            segments[known - 1] = segments[known - 1]._replace(area=area)
        new_id.append(known or len(segments))
    if len(segments) < len(painted):
        table = torch.tensor(new_id, dtype=torch.int32, device=segment_map.device)
        segment_map = table[segment_map.long()]
    return segment_map, tuple(segments)


def _quality(labels: Tensor, num_things: int, config: MergeConfig) -> Tensor:
    return torch.where(labels < num_things, config.quality_things, config.quality_stuff)
