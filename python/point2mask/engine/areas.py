"""Areas of things as the network sees them, to supply the transport with."""

import torch
from torch import Tensor

from point2mask.losses.matching import focal_class_cost, hungarian
from point2mask.losses.sets import box_corners
from point2mask.models import NetworkOutput, PanopticNetwork
from point2mask.pseudo_masks import PointBatch

_CLASS, _OUTSIDE, _DISTANCE = 2.0, 5.0, 5.0  # class cost, click outside the box, way to its centre


@torch.no_grad()
def network_areas(
    network: PanopticNetwork,
    output: NetworkOutput,
    points: PointBatch,
    is_thing: Tensor,
    image_size: Tensor,
) -> Tensor:
    """Pixels of the masks that the network draws for the clicked things, ``[B, K]``, at least 1.

    Queries and clicks are matched one to one by class and by where the boxes lie: no mask is
    needed for it. Entries of other targets are 1 and mean nothing.

    Args:
        network: which made ``output``.
        output: of the batch.
        points: the clicks, K >= 1 targets.
        is_thing: bool ``[C]``.
        image_size: int ``[B, 2]``, height and width, on the device of ``output``.
    """
    category = points.category
    things = points.is_point.any(-1) & is_thing[category.clamp(min=0)]
    logits, boxes = output.locations.class_logits[-1:], output.locations.boxes[-1:]
    click = (points.xy[:, :, 0] + 0.5) / image_size.flip(1)[:, None]
    corners = box_corners(boxes)[..., None, :]
    outside = (click[:, None] < corners[..., :2]) | (click[:, None] > corners[..., 2:])
    distance = (click[:, None] - boxes[..., None, :2]).abs().sum(-1)
    cost = focal_class_cost(logits.float(), category.clamp(0, logits.shape[-1] - 1))
    cost = _CLASS * cost + _OUTSIDE * outside.any(-1) + _DISTANCE * distance
    matching = hungarian(cost, things)
    decoded = network.decode_things(
        output.encoded, output.locations.queries, matching.queries, all_layers=False
    )
    # A logit of 0 is a probability of 1/2; unactivated masks are inside above 1/2 (published).
    threshold = 0.0 if network.config.mask_activation == "sigmoid" else 0.5
    areas = torch.ones(category.shape, device=category.device)
    for b, targets in enumerate(matching.targets):
        masks = output.geometry.image_to_pixels(b, decoded.masks[0, b, : len(targets)])
        areas[b, targets] = (masks > threshold).sum((1, 2)).clamp(min=1).to(areas.dtype)
    return areas
