"""Runs any operator on NumPy arrays, whatever executes it: one test body, every backend.

``reference`` is plain NumPy in float64, ``cpu`` and ``cuda`` the torch operators, ``simt`` the CUDA
kernels run on the CPU (see ``simt/``). All share names, arguments and shapes; ``cuda`` and ``simt``
skip operators that have no kernel. Gradient operators run on all but ``reference``.
"""

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from simt import kernels

from point2mask import ops
from point2mask.ops import reference

# Positions of the arguments that stay on the CPU, on whatever device the others are.
ON_THE_CPU = {"deformable_attention": (3,), "deformable_attention_backward": (4,)}
BACKENDS = ("reference", "cpu", "simt", "cuda")
# Marks of tests that ask for what some backends have not: a device does not look at values, it
# would have to wait for the answer; the reference has no gradient operators.
values_are_checked = pytest.mark.backends("reference", "cpu")
has_gradient_operators = pytest.mark.backends("cpu", "simt", "cuda")


@cache
def _emulated_kernels() -> kernels.Kernels:
    return kernels.Kernels("plain")


class Backend:
    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, operator: str) -> Any:
        known = operator in reference.__all__
        if known and self.name in ("simt", "cuda") and operator not in kernels.OPERATORS:
            pytest.skip(f"{operator} has no CUDA kernel")
        if self.name == "simt":
            return getattr(_emulated_kernels(), operator)
        if self.name == "reference":
            return getattr(reference, operator)
        function = getattr(ops, operator, None) or getattr(torch.ops.point2mask, operator)

        def run(*args: Any, **kwargs: Any) -> Any:
            def to_device(value: Any) -> Any:
                if isinstance(value, np.ndarray):
                    return torch.from_numpy(np.ascontiguousarray(value)).to(self.name)
                return value

            stay = ON_THE_CPU.get(operator, ())
            result = function(
                *(torch.from_numpy(a) if i in stay else to_device(a) for i, a in enumerate(args)),
                **{key: to_device(value) for key, value in kwargs.items()},
            )
            if isinstance(result, torch.Tensor):
                return result.numpy(force=True)
            return tuple(part.numpy(force=True) for part in result)

        return run

    def stored(self, cost: np.ndarray, dtype: torch.dtype) -> Any:
        """Costs in another type, as this backend takes them; NumPy has no bfloat16."""
        tensor = torch.from_numpy(cost).to(dtype)
        if self.name in ("cpu", "cuda"):
            return tensor.to(self.name)
        if self.name == "reference":
            return tensor.double().numpy()
        return tensor.view(torch.uint16).numpy() if dtype == torch.bfloat16 else tensor.numpy()

    def __repr__(self) -> str:
        return self.name
