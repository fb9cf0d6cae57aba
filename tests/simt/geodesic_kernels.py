"""Calls of the geodesic kernels; see ``kernels.py``."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from simt.arrays import C_TYPES, garbage

FOREST_BYTES = 18  # a pixel and target, in the backward pass
OPERATORS = ("geodesic_distance", "geodesic_distance_backward")


class GeodesicKernels:
    """Mixed into :class:`simt.kernels.Kernels`."""

    _launch: Any
    _launch_on: Any
    # Whose forests the backward pass holds: few, so that it takes several rounds.
    targets_at_once = 2

    def geodesic_distance(self, edge_cost: NDArray[Any], seeds: NDArray[np.int32]) -> NDArray[Any]:
        edge_cost, seeds = map(np.ascontiguousarray, (edge_cost, seeds))
        images, _, height, width = edge_cost.shape
        targets, points = seeds.shape[1:]
        distance = garbage((images, targets, height, width), edge_cost.dtype)
        self._launch(
            f"geodesic_distance_{C_TYPES[edge_cost.dtype]}",
            *(edge_cost, seeds, images, height, width, targets, points, distance),
        )
        return distance

    def geodesic_distance_backward(
        self,
        grad_distance: NDArray[Any],
        edge_cost: NDArray[Any],
        distance: NDArray[Any],
        seeds: NDArray[np.int32],
    ) -> NDArray[Any]:
        arrays = map(np.ascontiguousarray, (grad_distance, edge_cost, distance, seeds))
        grad_distance, edge_cost, distance, seeds = arrays
        images, targets, height, width = distance.shape
        grad_edge_cost = garbage(edge_cost.shape, edge_cost.dtype)
        self._launch_on(
            {"scratch_limit": self.targets_at_once * images * height * width * FOREST_BYTES},
            f"geodesic_distance_backward_{C_TYPES[edge_cost.dtype]}",
            *(grad_distance, edge_cost, distance, seeds),
            *(images, height, width, targets, seeds.shape[2], grad_edge_cost),
        )
        return grad_edge_cost
