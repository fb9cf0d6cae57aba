"""Operators on images and points: ``torch.ops.point2mask`` with types, gradients and docs.

B images, N = H·W pixels in row-major order, K targets (point labels), C channels.
"""

from point2mask.ops.masks import MaskStatistics, mask_statistics
from point2mask.ops.transport import Transport, sinkhorn, transport_labels, transport_plan

__all__ = [
    "MaskStatistics",
    "Transport",
    "mask_statistics",
    "sinkhorn",
    "transport_labels",
    "transport_plan",
]
