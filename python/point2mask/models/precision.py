"""Where half precision is not enough."""

import torch
from torch import Tensor

from point2mask.models.base import NetworkOutput


def at_least_float32(x: Tensor) -> Tensor:
    """At least float32: losses are not for half precision."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def full_precision(output: NetworkOutput) -> torch.autocast:
    """A block in which nothing is computed in half precision."""
    return torch.autocast(output.boundary_logits.device.type, enabled=False)
