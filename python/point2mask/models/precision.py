"""Half precision: where it is asked for, and where it is not enough."""

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

if TYPE_CHECKING:
    from point2mask.models.base import NetworkOutput

# In what a network's products are computed; its weights, and what is sensitive, stay in float32.
Precision = Literal["float32", "bfloat16", "float16"]


def mixed(precision: Precision, device: torch.device | str) -> torch.autocast:
    """A block in which a network computes in a precision by choice."""
    dtype = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}[precision]
    return torch.autocast(torch.device(device).type, dtype, enabled=dtype is not None)


def at_least_float32(x: Tensor) -> Tensor:
    """At least float32: losses are not for half precision."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def full_precision(output: "NetworkOutput") -> torch.autocast:
    """A block in which nothing is computed in half precision."""
    return torch.autocast(output.boundary_logits.device.type, enabled=False)
