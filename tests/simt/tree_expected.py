"""What the tree kernels must give: the CPU engine's results in float64, and how near."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from simt import tree_kernels

import point2mask.ops  # noqa: F401  (registers the operators)


def _expected(operator: str) -> Any:
    function = getattr(torch.ops.point2mask, operator).default

    def run(*arguments: Any) -> Any:
        def convert(value: Any) -> Any:
            if not isinstance(value, np.ndarray):
                return value
            return torch.from_numpy(value.astype(np.float64) if value.dtype.kind == "f" else value)

        result = function(*map(convert, arguments))
        return (
            result.numpy() if isinstance(result, torch.Tensor) else tuple(r.numpy() for r in result)
        )

    return run


EXPECTED = {operator: _expected(operator) for operator in tree_kernels.OPERATORS}


def rounding(operator: str, got: NDArray[Any], want: NDArray[Any]) -> float:
    """Absolute error of sums over a tree: an addition a pixel, of products that were rounded on
    their way up and down, relative to the largest entry. Trees and distances are exact."""
    if operator not in ("tree_filter", "tree_filter_backward", "bottleneck_distance_backward"):
        return 0.0
    epsilon = float(np.finfo(got.dtype).eps)
    return 6 * want.shape[-1] * epsilon * float(np.abs(want).max(initial=0.0))
