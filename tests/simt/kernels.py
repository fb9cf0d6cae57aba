"""The CUDA kernels on NumPy arrays, run by the emulator: names and shapes of ``point2mask.ops``.

Every call takes the next random schedule. What the emulator finds wrong is raised as
:class:`KernelError`.
"""

import ctypes
import math
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray
from simt import (
    build,
    deformable_kernels,
    geodesic_kernels,
    pairs_kernels,
    transport_kernels,
    tree_kernels,
)
from simt.arrays import C_TYPES as _C_TYPES
from simt.arrays import garbage as _garbage

OPERATORS = (
    *("mask_statistics", "neighbor_difference", "transport_labels", "transport_plan"),
    *deformable_kernels.OPERATORS,
    *geodesic_kernels.OPERATORS,
    *pairs_kernels.OPERATORS,
    *transport_kernels.OPERATORS,
    *tree_kernels.OPERATORS,
)
NORMS = ("l1", "l2", "squared_l2")


class KernelError(AssertionError):
    """A race, a divergent barrier, a deadlock ... with file and line."""


class Kernels(
    deformable_kernels.DeformableKernels,
    geodesic_kernels.GeodesicKernels,
    pairs_kernels.PairKernels,
    transport_kernels.TransportKernels,
    tree_kernels.TreeKernels,
):
    """All operators that have a CUDA kernel, on one flavour of the emulator."""

    def __init__(self, flavour: build.Flavour) -> None:
        self.emulator = build.emulator(build.KERNELS, flavour)
        self.seeds = count()
        self.schedule: dict[str, int] = {}  # arguments of Emulator.configure

    def _launch(self, name: str, *arguments: Any) -> None:
        def to_c(value: Any) -> Any:
            if value is None:
                return ctypes.c_void_p()
            if isinstance(value, np.ndarray):
                assert value.flags.c_contiguous
                return ctypes.c_void_p(value.ctypes.data)
            return ctypes.c_double(value) if isinstance(value, float) else ctypes.c_int64(value)

        seed = next(self.seeds)
        self.emulator.configure(seed, **self.schedule)
        status = getattr(self.emulator.functions, name)(*map(to_c, arguments))
        if status or self.emulator.errors or self.emulator.races:
            raise KernelError(f"{name}, schedule {seed}: {'; '.join(self.emulator.errors)}")

    def mask_statistics(
        self, labels: NDArray[np.int32], targets: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int32]]:
        labels = np.ascontiguousarray(labels)
        images, height, width = labels.shape
        sums = _garbage((images, targets, 2), np.int64)
        area = _garbage((images, targets), np.int64)
        centroid = _garbage((images, targets, 2), np.float32)
        box = _garbage((images, targets, 4), np.int32)
        self._launch(
            "mask_statistics", labels, images, height, width, targets, sums, area, centroid, box
        )
        return area, centroid, box

    def transport_labels(
        self, cost: NDArray[Any], potential: NDArray[Any], demand: NDArray[Any]
    ) -> NDArray[np.int32]:
        cost, potential, demand = map(np.ascontiguousarray, (cost, potential, demand))
        images, targets, pixels = cost.shape
        labels = _garbage((images, pixels), np.int32)
        name = f"transport_labels_{_C_TYPES[cost.dtype]}"
        self._launch(name, cost, potential, demand, images, targets, pixels, labels)
        return labels

    def transport_plan(
        self,
        cost: NDArray[Any],
        potential: NDArray[Any],
        demand: NDArray[Any],
        epsilon: float,
        demand_relaxation: float = math.inf,
    ) -> NDArray[Any]:
        if not 0 < epsilon < math.inf:
            raise ValueError(f"transport_plan: epsilon must be positive and finite, got {epsilon}")
        if not demand_relaxation > 0:
            raise ValueError(
                f"transport_plan: demand_relaxation must be positive, got {demand_relaxation}"
            )
        cost, potential, demand = map(np.ascontiguousarray, (cost, potential, demand))
        images, targets, pixels = cost.shape
        plan = _garbage(cost.shape, cost.dtype)
        self._launch(
            f"transport_plan_{_C_TYPES[cost.dtype]}",
            *(cost, potential, demand, images, targets, pixels),
            *(float(epsilon), float(demand_relaxation), plan),
        )
        return plan

    def neighbor_difference(
        self, feature: NDArray[Any], directions: int = 8, norm: str = "l1"
    ) -> NDArray[Any]:
        if directions not in (2, 4, 8):
            raise ValueError(f"neighbor_difference: directions must be 2, 4 or 8, got {directions}")
        if norm not in NORMS:
            raise ValueError(f"neighbor_difference: norm must be l1, l2 or squared_l2, got {norm}")
        feature = np.ascontiguousarray(feature)
        images, channels, height, width = feature.shape
        difference = _garbage((images, directions, height, width), feature.dtype)
        self._launch(
            f"neighbor_difference_{_C_TYPES[feature.dtype]}",
            *(feature, images, channels, height, width),
            *(directions, NORMS.index(norm), difference),
        )
        return difference
