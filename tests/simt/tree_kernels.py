"""Calls of the tree kernels; see ``kernels.py``."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from simt.arrays import C_TYPES, garbage

OPERATORS = ("spanning_tree",)


class TreeKernels:
    """Mixed into :class:`simt.kernels.Kernels`."""

    def _launch(self, name: str, *arguments: Any) -> None:
        raise NotImplementedError

    def spanning_tree(
        self, edge_weight: NDArray[Any]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], NDArray[Any]]:
        edge_weight = np.ascontiguousarray(edge_weight)
        images, directions, height, width = edge_weight.shape
        if directions not in (2, 4):
            raise ValueError(
                f"spanning_tree: edge_weight must have 2 or 4 directions, got {directions}"
            )
        order, parent, edge = (garbage((images, height * width), np.int32) for _ in range(3))
        weight = garbage((images, height * width), edge_weight.dtype)
        self._launch(
            f"spanning_tree_{C_TYPES[edge_weight.dtype]}",
            *(edge_weight, images, directions, height, width, order, parent, edge, weight),
        )
        return order, parent, edge, weight
