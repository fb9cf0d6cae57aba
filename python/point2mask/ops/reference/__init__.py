"""Every operator once more in plain NumPy and float64, written to be read.

Same names, arguments and shapes as :mod:`point2mask.ops`; the tests hold all backends to these.
"""

from point2mask.ops.reference.deformable import deformable_attention
from point2mask.ops.reference.geodesic import geodesic_distance
from point2mask.ops.reference.masks import mask_statistics
from point2mask.ops.reference.pairs import boundary_loss, lab_affinity_loss, neighbor_difference
from point2mask.ops.reference.regions import histogram_gradient, merge_regions
from point2mask.ops.reference.transport import sinkhorn, transport_labels, transport_plan
from point2mask.ops.reference.tree import spanning_tree, tree_filter
from point2mask.ops.reference.watershed import watershed

__all__ = [
    "boundary_loss",
    "deformable_attention",
    "geodesic_distance",
    "histogram_gradient",
    "lab_affinity_loss",
    "mask_statistics",
    "merge_regions",
    "neighbor_difference",
    "sinkhorn",
    "spanning_tree",
    "transport_labels",
    "transport_plan",
    "tree_filter",
    "watershed",
]
