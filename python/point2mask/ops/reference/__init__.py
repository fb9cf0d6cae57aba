"""Every operator once more in plain NumPy and float64, written to be read.

Same names, arguments and shapes as :mod:`point2mask.ops`; the tests hold all backends to these.
"""

from point2mask.ops.reference.masks import mask_statistics
from point2mask.ops.reference.pairs import neighbor_difference
from point2mask.ops.reference.tree import bottleneck_distance, spanning_tree, tree_filter

__all__ = [
    "bottleneck_distance",
    "mask_statistics",
    "neighbor_difference",
    "spanning_tree",
    "tree_filter",
]
