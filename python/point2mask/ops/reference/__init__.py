"""Every operator once more in plain NumPy and float64, written to be read.

Same names, arguments and shapes as :mod:`point2mask.ops`; the tests hold all backends to these.
"""

from point2mask.ops.reference.geodesic import geodesic_distance
from point2mask.ops.reference.masks import mask_statistics
from point2mask.ops.reference.pairs import neighbor_difference
from point2mask.ops.reference.tree import bottleneck_distance, spanning_tree, tree_filter

__all__ = [
    "bottleneck_distance",
    "geodesic_distance",
    "mask_statistics",
    "neighbor_difference",
    "spanning_tree",
    "tree_filter",
from point2mask.ops.reference.pairs import (
    boundary_loss,
    lab_affinity_loss,
    neighbor_difference,
)

__all__ = [
    "boundary_loss",
    "geodesic_distance",
    "lab_affinity_loss",
    "mask_statistics",
    "neighbor_difference",

__all__ = ["bottleneck_distance", "boundary_loss", "geodesic_distance", "lab_affinity_loss", "mask_statistics", "neighbor_difference", "spanning_tree", "tree_filter"]
]
