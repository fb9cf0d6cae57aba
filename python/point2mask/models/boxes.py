"""Boxes: their two forms, and how far two of them agree."""

import torch
from torch import Tensor


def box_corners(box: Tensor) -> Tensor:
    """Centre x, y, width, height to x0, y0, x1, y1."""
    centre, half = box[..., :2], box[..., 2:] / 2
    return torch.cat((centre - half, centre + half), -1)


def generalized_iou(a: Tensor, b: Tensor, epsilon: float = 0.0) -> Tensor:
    """IoU - |hull without union| / |hull| of boxes x0, y0, x1, y1 (Rezatofighi et al., CVPR 2019).

    Broadcasts over the leading dimensions. 0 / 0 of boxes without extent counts as 0. ``epsilon``
    is added to both areas below the lines.
    """
    inner = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(0)
    outer = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    common, hull = inner.prod(-1), outer.prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - common
    tiny = torch.finfo(a.dtype).tiny
    below, of_hull = (area.clamp(min=tiny) + epsilon for area in (union, hull))
    return common / below - (hull - union) / of_hull
