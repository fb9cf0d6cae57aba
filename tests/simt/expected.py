"""What every kernel must give, and how near: the references or the CPU engine in float64."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from simt import deformable_kernels, pairs_kernels, tree_kernels

from point2mask.ops import reference
from point2mask.ops.reference.geodesic import geodesic_distance_backward

Expected = Callable[..., Any]
# Compared with the engine; neighbor_difference is with its reference.
PAIRS = tuple(name for name in pairs_kernels.OPERATORS if name != "neighbor_difference")


def labels(cost: NDArray[Any], potential: NDArray[Any], demand: NDArray[Any]) -> NDArray[Any]:
    value = cost - potential[..., None]
    if not cost.shape[1]:
        return np.full(demand.shape, -1)
    return np.where((demand > 0) & (value.min(1) < np.inf), value.argmin(1), -1)


def plan(
    cost: NDArray[Any],
    potential: NDArray[Any],
    demand: NDArray[Any],
    epsilon: float,
    demand_relaxation: float,
) -> NDArray[Any]:
    exponent = (potential.astype(np.float64)[..., None] - cost) / epsilon
    part = np.where(demand[:, None] > 0, np.exp(exponent), 0)
    total = part.sum(1, keepdims=True)
    scale = demand[:, None] * total ** (epsilon / (demand_relaxation + epsilon))
    return np.divide(scale * part, total, out=np.zeros_like(part), where=total > 0)


def in_float64(operator: str) -> Expected:
    """The CPU engine's result in float64."""

    def run(*arguments: Any) -> tuple[NDArray[Any], ...]:
        def convert(value: Any) -> Any:
            is_float = isinstance(value, np.ndarray) and value.dtype.kind == "f"
            return value.astype(np.float64) if is_float else value

        return engine(operator, [convert(value) for value in arguments])

    return run


def engine(operator: str, arguments: Any) -> tuple[NDArray[Any], ...]:
    """What the torch operator returns on the CPU, in the dtypes of its arguments."""
    tensors = [torch.from_numpy(a) if isinstance(a, np.ndarray) else a for a in arguments]
    result = getattr(torch.ops.point2mask, operator).default(*tensors)
    return tuple(t.numpy() for t in (result if isinstance(result, tuple) else (result,)))


def first_of_engine(operator: str) -> Expected:
    """The engine's first result: kernels do not return the numbers of pairs with the losses."""
    return lambda *arguments: engine(operator, arguments)[0]


def same_of_engine(operator: str) -> Expected:
    """The engine's results in the dtype of the arguments: it reads the same cells."""
    return lambda *arguments: engine(operator, arguments)


def sinkhorn(*arguments: Any) -> Any:
    *arguments, _variant = arguments
    return reference.sinkhorn(*arguments)


EXPECTED: dict[str, Expected] = {
    "geodesic_distance_backward": geodesic_distance_backward,
    "transport_labels": labels,
    "transport_plan": plan,
    "sinkhorn": sinkhorn,
    "sinkhorn_backward": in_float64("sinkhorn_backward"),
    "sinkhorn_newton": in_float64("sinkhorn_newton"),
    "transport_plan_backward": in_float64("transport_plan_backward"),
    **{name: same_of_engine(name) for name in deformable_kernels.OPERATORS},
    **{name: first_of_engine(name) for name in PAIRS},
    **{name: in_float64(name) for name in tree_kernels.OPERATORS},
    "tree_filter": lambda *arguments: in_float64("tree_filter")(*arguments)[0],
}
EXACT = ("geodesic_distance", "geodesic_distance_backward")  # the reference rounds like the kernel
# float32: the exponent (u - c) / epsilon reaches 20 and is off by 2 roundings, 20 * 2 * 6e-8.
TOLERANCE = {np.dtype(np.float32): 4e-6, np.dtype(np.float64): 1e-13}
# Sums of terms of both signs: within so many tolerances of the largest entry.
SIGNED = {
    "sinkhorn_backward": 5,
    "transport_plan_backward": 5,
    **dict.fromkeys(deformable_kernels.OPERATORS, 1),
    **{name: 1 for name in PAIRS if name.endswith("_backward")},
}


def expected(operator: str) -> Expected:
    """The function that gives what a kernel must give."""
    return EXPECTED.get(operator) or getattr(reference, operator)


def _tree_rounding(operator: str, got: NDArray[Any], want: NDArray[Any]) -> float:
    """Absolute error of sums over a tree: an addition a pixel, of products that were rounded on
    their way up and down, relative to the largest entry. Trees and distances are exact."""
    if operator not in ("tree_filter", "tree_filter_backward"):
        return 0.0
    epsilon = float(np.finfo(got.dtype).eps)
    return 6 * want.shape[-1] * epsilon * float(np.abs(want).max(initial=0.0))


def allowed(operator: str, got: NDArray[Any], want: NDArray[Any]) -> tuple[float, float]:
    """Relative and absolute error of a result."""
    if operator in EXACT:
        return 0.0, 0.0
    tolerance = TOLERANCE.get(got.dtype, 0.0)
    if operator in ("sinkhorn", "sinkhorn_newton"):  # potentials and marginal errors of about 1
        return tolerance, 5 * tolerance
    finite = np.abs(want[np.isfinite(want)])
    largest = float(finite.max(initial=0.0))
    absolute = SIGNED.get(operator, 0) * tolerance * largest
    return tolerance, max(absolute, 1e-30) + _tree_rounding(operator, got, want)
