"""Every operator once more in plain NumPy and float64, written to be read.

Same names, arguments and shapes as :mod:`point2mask.ops`; the tests hold all backends to these.
"""

from point2mask.ops.reference.masks import mask_statistics
from point2mask.ops.reference.transport import sinkhorn, transport_labels, transport_plan

__all__ = ["mask_statistics", "sinkhorn", "transport_labels", "transport_plan"]
