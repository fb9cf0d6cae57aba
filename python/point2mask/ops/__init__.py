"""Operators on images and points: ``torch.ops.point2mask`` with types, gradients and docs.

B images, N = H·W pixels in row-major order, K targets (point labels), C channels.
"""

from point2mask.ops.geodesic import geodesic_distance
from point2mask.ops.masks import MaskStatistics, mask_statistics
from point2mask.ops.pairs import neighbor_difference
from point2mask.ops.tree import SpanningTree, bottleneck_distance, spanning_tree, tree_filter

__all__ = [
    "MaskStatistics",
    "SpanningTree",
    "bottleneck_distance",
    "geodesic_distance",
    "mask_statistics",
    "neighbor_difference",
    "spanning_tree",
    "tree_filter",
]
