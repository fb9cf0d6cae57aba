"""Areas of things as the network sees them, to supply the transport with."""

import torch
from torch import Tensor

from point2mask.models import (
    Mask2FormerOutput,
    MaskDINOOutput,
    NetworkOutput,
    PanopticNetwork,
    PanopticOutput,
    PointNetwork,
)
from point2mask.models.boxes import box_corners
from point2mask.models.config import MASK_STRIDE, STRIDES
from point2mask.models.maskdino import drawing_features
from point2mask.models.matching import focal_class_cost, hungarian
from point2mask.models.precision import at_least_float32
from point2mask.models.segment_heads import draw
from point2mask.pseudo_masks.points import PointBatch

# Class cost, click outside the box, way to its centre, click outside the mask.
_CLASS, _OUTSIDE, _DISTANCE, _MASK = 2.0, 5.0, 5.0, 5.0


@torch.no_grad()
def network_areas(
    network: PointNetwork,
    output: NetworkOutput,
    points: PointBatch,
    is_thing: Tensor,
    image_size: Tensor,
) -> Tensor:
    """Pixels of the masks that the network draws for the clicked things, ``[B, K]``, at least 1.

    Queries and clicks are matched one to one, by class and by where the boxes lie: no mask is
    needed for it; those of Mask2Former, which has masks and no boxes, by class and by the mask at
    the clicks. Where there are more things than queries, the others get the mean of the image's.
    Entries of other targets are 1 and mean nothing.

    Args:
        network: which made ``output``.
        output: of the batch.
        points: the clicks, K >= 1 targets.
        is_thing: bool ``[C]``.
        image_size: int ``[B, 2]``, height and width, on the device of ``output``.
    """
    category = points.category
    things = points.things(is_thing)
    label = category.clamp(0, network.config.num_things - 1)  # of others it means nothing
    stride, threshold = MASK_STRIDE, 0.0  # a logit of 0 is a probability of 1/2
    if isinstance(output, Mask2FormerOutput):
        matching = hungarian(_mask_cost(output, points, label), things)
        drawn = output.queries.masks[-1]
        masks = [maps[queries] for maps, queries in zip(drawn, matching.queries, strict=True)]
    elif isinstance(output, MaskDINOOutput):
        said = output.predictions.last()
        cost = _box_cost(said.class_logits, said.boxes, points, label, image_size)
        matching = hungarian(cost, things)
        every = zip(
            at_least_float32(said.embedding[0]),
            at_least_float32(drawing_features(output.encoded)),
            matching.queries,
            strict=True,
        )
        masks = [draw(own[queries], features) for own, features, queries in every]
    else:
        assert isinstance(network, PanopticNetwork)
        assert isinstance(output, PanopticOutput)
        stride = STRIDES[0]
        if network.config.mask_activation == "relu":
            threshold = 0.5  # unactivated masks are inside above (published)
        logits, boxes = output.locations.class_logits[-1:], output.locations.boxes[-1:]
        matching = hungarian(_box_cost(logits, boxes, points, label, image_size), things)
        # Targets are made in full precision, whatever the network was run in.
        encoded = output.encoded._replace(memory=at_least_float32(output.encoded.memory))
        queries = at_least_float32(output.locations.queries)
        decoded = network.decode_things(encoded, queries, matching.queries, all_layers=False)
        masks = [maps[: len(k)] for maps, k in zip(decoded.masks[0], matching.targets, strict=True)]
    areas = torch.ones(category.shape, device=category.device)
    for b, (targets, maps) in enumerate(zip(matching.targets, masks, strict=True)):
        inside = output.geometry.image_to_pixels(b, maps, stride) > threshold
        drawn_areas = inside.sum((1, 2)).clamp(min=1).to(areas.dtype)
        if len(targets):
            areas[b, things[b]] = drawn_areas.mean()
        areas[b, targets] = drawn_areas
    return areas


def _box_cost(
    logits: Tensor, boxes: Tensor, points: PointBatch, label: Tensor, image_size: Tensor
) -> Tensor:
    """Of every query for every click, ``[1, B, Q, K]``: by class, and by where its box lies."""
    click = (points.xy[:, :, 0] + 0.5) / image_size.flip(1)[:, None]
    corners = box_corners(boxes)[..., None, :]
    outside = (click[:, None] < corners[..., :2]) | (click[:, None] > corners[..., 2:])
    distance = (click[:, None] - boxes[..., None, :2]).abs().sum(-1)
    cost = _CLASS * focal_class_cost(logits.float(), label)
    return cost + _OUTSIDE * outside.any(-1) + _DISTANCE * distance


def _mask_cost(output: Mask2FormerOutput, points: PointBatch, label: Tensor) -> Tensor:
    """The same by class and by the masks at the clicks."""
    logits, masks = output.queries.class_logits[-1].float(), output.queries.masks[-1].float()
    y, x = points.pixels(*output.geometry.canvas)
    cell = y[..., 0] // MASK_STRIDE * masks.shape[-1] + x[..., 0] // MASK_STRIDE  # [B, K]
    queries = masks.shape[1]
    at_click = masks.flatten(2).gather(2, cell[:, None].expand(-1, queries, -1))
    probability = logits.softmax(-1).gather(2, label[:, None].expand(-1, queries, -1))
    return (_CLASS * -probability + _MASK * (1 - at_click.sigmoid()))[None]
