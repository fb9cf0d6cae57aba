"""Operators on images and points: ``torch.ops.point2mask`` with types, gradients and docs.

B images, N = H·W pixels in row-major order, K targets (point labels), C channels.
"""

from point2mask.ops.color import rgb_to_lab
from point2mask.ops.geodesic import geodesic_distance
from point2mask.ops.masks import MaskStatistics, mask_statistics
from point2mask.ops.pairs import boundary_loss, lab_affinity_loss, neighbor_difference

__all__ = [
    "MaskStatistics",
    "boundary_loss",
    "geodesic_distance",
    "lab_affinity_loss",
    "mask_statistics",
    "neighbor_difference",
    "rgb_to_lab",
]
