"""Calls of the deformable attention kernels; see ``kernels.py``."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from simt.arrays import C_TYPES, garbage

OPERATORS = ("deformable_attention", "deformable_attention_backward")


class DeformableKernels:
    """Mixed into :class:`simt.kernels.Kernels`."""

    def _launch(self, name: str, *arguments: Any) -> None:
        raise NotImplementedError

    def deformable_attention(
        self,
        value: NDArray[Any],
        where: NDArray[Any],
        weight: NDArray[Any],
        shapes: NDArray[np.int64],
    ) -> NDArray[Any]:
        value, where, weight, shapes = map(np.ascontiguousarray, (value, where, weight, shapes))
        images, cells, heads, channels = value.shape
        _, queries, _, levels, points, _ = where.shape
        output = garbage((images, queries, heads, channels), value.dtype)
        self._launch(
            f"deformable_attention_{C_TYPES[value.dtype]}",
            *(value, where, weight, shapes),
            *(images, cells, queries, heads, channels, levels, points, output),
        )
        return output

    def deformable_attention_backward(
        self,
        grad_output: NDArray[Any],
        value: NDArray[Any],
        where: NDArray[Any],
        weight: NDArray[Any],
        shapes: NDArray[np.int64],
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        arrays = map(np.ascontiguousarray, (grad_output, value, where, weight, shapes))
        grad_output, value, where, weight, shapes = arrays
        images, cells, heads, channels = value.shape
        _, queries, _, levels, points, _ = where.shape
        kind = C_TYPES[value.dtype]
        gradients = tuple(garbage(a.shape, a.dtype) for a in (value, where, weight))
        self._launch(
            f"deformable_attention_backward_{kind}",
            *(grad_output, value, where, weight, shapes),
            *(images, cells, queries, heads, channels, levels, points),
            *gradients,
        )
        return gradients
