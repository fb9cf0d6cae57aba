"""Operators on images and points: ``torch.ops.point2mask`` with types, gradients and docs.

B images, N = H·W pixels in row-major order, K targets (point labels), C channels.
"""

from point2mask.grid import OFFSETS as GRID_OFFSETS
from point2mask.ops.color import rgb_to_lab
from point2mask.ops.deformable import deformable_attention
from point2mask.ops.geodesic import geodesic_distance
from point2mask.ops.masks import MaskStatistics, mask_statistics
from point2mask.ops.pairs import boundary_loss, lab_affinity_loss, neighbor_difference
from point2mask.ops.transport import Transport, sinkhorn, transport_labels, transport_plan
from point2mask.ops.tree import (
    SpanningTree,
    minimum_spanning_tree,
    spanning_tree,
    tree_filter,
)

__all__ = [
    "GRID_OFFSETS",
    "MaskStatistics",
    "SpanningTree",
    "Transport",
    "boundary_loss",
    "deformable_attention",
    "geodesic_distance",
    "lab_affinity_loss",
    "mask_statistics",
    "minimum_spanning_tree",
    "neighbor_difference",
    "rgb_to_lab",
    "sinkhorn",
    "spanning_tree",
    "transport_labels",
    "transport_plan",
    "tree_filter",
]
