"""The CUDA kernels on NumPy arrays, run by the emulator: names and shapes of ``point2mask.ops``.

Every call takes the next random schedule. What the emulator finds wrong is raised as
:class:`KernelError`.
"""

import ctypes
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
from simt.arrays import garbage

OPERATORS = (
    "mask_statistics",
    *deformable_kernels.OPERATORS,
    *geodesic_kernels.OPERATORS,
    *pairs_kernels.OPERATORS,
    *transport_kernels.OPERATORS,
    *tree_kernels.OPERATORS,
)


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
        area = garbage((images, targets), np.int64)
        centroid = garbage((images, targets, 2), np.float32)
        box = garbage((images, targets, 4), np.int32)
        self._launch("mask_statistics", labels, images, height, width, targets, area, centroid, box)
        return area, centroid, box
