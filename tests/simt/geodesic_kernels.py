"""Calls of the geodesic kernels; see ``kernels.py``."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from simt import build
from simt.arrays import C_TYPES, garbage, scratch_memory

OPERATORS = ("geodesic_distance", "geodesic_distance_backward")


class GeodesicKernels:
    """Mixed into :class:`simt.kernels.Kernels`."""

    emulator: build.Emulator
    schedule: dict[str, int]
    shared_bytes = 48000  # of the lists of tiles; longer ones lie in scratch memory
    # Whose forests the backward pass holds: few, so that it takes several rounds.
    targets_at_once = 2

    def _launch(self, name: str, *arguments: Any) -> None:
        raise NotImplementedError

    def geodesic_distance(self, edge_cost: NDArray[Any], seeds: NDArray[np.int32]) -> NDArray[Any]:
        edge_cost, seeds = map(np.ascontiguousarray, (edge_cost, seeds))
        images, _, height, width = edge_cost.shape
        targets, points = seeds.shape[1:]
        kind = C_TYPES[edge_cost.dtype]
        distance = garbage((images, targets, height, width), edge_cost.dtype)
        sizes = (images, targets, height, width, self.shared_bytes)
        self.emulator.configure(0, **self.schedule)
        scratch = scratch_memory(self.emulator, f"geodesic_distance_scratch_bytes_{kind}", *sizes)
        self._launch(
            f"geodesic_distance_{kind}",
            *(edge_cost, seeds, images, height, width, targets, points),
            *(scratch if scratch.size else 0, distance),
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
        kind = C_TYPES[edge_cost.dtype]
        at_once = max(1, min(targets, self.targets_at_once))
        sizes = (images, targets, height, width, at_once)
        scratch = scratch_memory(self.emulator, f"geodesic_gradient_scratch_bytes_{kind}", *sizes)
        grad_edge_cost = garbage(edge_cost.shape, edge_cost.dtype)
        self._launch(
            f"geodesic_distance_backward_{kind}",
            *(grad_distance, edge_cost, distance, seeds),
            *(images, height, width, targets, seeds.shape[2], at_once),
            *(scratch, grad_edge_cost),
        )
        return grad_edge_cost
