"""Runs any operator on NumPy arrays, whatever executes it: one test body, every backend.

``reference`` is plain NumPy in float64, ``numpy`` the engine through ``_core``, ``cpu`` and
``cuda`` the torch operators. All share names, arguments and shapes.
"""

from typing import Any

import numpy as np
import torch

from point2mask import _core, ops
from point2mask.ops import reference

BACKENDS = ("reference", "numpy", "cpu", "cuda")


class Backend:
    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, operator: str) -> Any:
        if self.name == "reference":
            return getattr(reference, operator)
        if self.name == "numpy":
            return getattr(_core, operator)
        function = getattr(ops, operator)

        def run(*args: Any, **kwargs: Any) -> Any:
            def to_device(value: Any) -> Any:
                if isinstance(value, np.ndarray):
                    return torch.from_numpy(np.ascontiguousarray(value)).to(self.name)
                return value

            result = function(
                *map(to_device, args), **{key: to_device(value) for key, value in kwargs.items()}
            )
            if isinstance(result, torch.Tensor):
                return result.numpy(force=True)
            return tuple(part.numpy(force=True) for part in result)

        return run

    def __repr__(self) -> str:
        return self.name
