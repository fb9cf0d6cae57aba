"""Calls of the transport kernels; see ``kernels.py``."""

import math
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from simt.arrays import C_TYPES, garbage

OPERATORS = (
    "sinkhorn",
    "sinkhorn_backward",
    "sinkhorn_newton",
    "transport_labels",
    "transport_plan",
    "transport_plan_backward",
)
VARIANTS = ("resident", "streaming", "logarithmic")
# What costs are stored in; NumPy has no bfloat16, its bits stand for it.
COST_TYPES = C_TYPES | {np.dtype(np.float16): "Float16", np.dtype(np.uint16): "Bfloat16"}


def shared_bytes_for(
    variant: str, targets: int, pixels: int, dtype: Any, piece_tiles: int = 2
) -> int:
    """A device's shared memory: barely enough for the variant, as cuda/src/sinkhorn.cu lays it out.
    Streaming, it holds ``piece_tiles`` at a time.

    Whether a problem with less than a few tiles of 32 pixels can be anything but resident is
    another matter.
    """
    tiles = -(-pixels // 32)
    chunk_tiles = max(min(tiles, 8), -(-tiles // 128))
    warps = min(max(chunk_tiles, -(-targets // 32), 1), 16)
    threads, size = 32 * warps, np.dtype(dtype).itemsize
    logarithmic = 8 * warps + size * (warps + 2 * threads)
    columns, tile = max(threads, targets) + 3 * targets, 33 * targets + 33
    return {
        "resident": 1 << 20,
        "streaming": logarithmic + size * (columns + min(piece_tiles, chunk_tiles) * tile),
        "logarithmic": logarithmic,
    }[variant]


class TransportKernels:
    """Mixed into :class:`simt.kernels.Kernels`."""

    emulator: Any
    schedule: dict[str, int]
    _launch: Any

    def transport_labels(
        self, cost: NDArray[Any], potential: NDArray[Any], demand: NDArray[Any]
    ) -> NDArray[np.int32]:
        cost, potential, demand = map(np.ascontiguousarray, (cost, potential, demand))
        images, targets, pixels = cost.shape
        labels = garbage((images, pixels), np.int32)
        name = f"transport_labels_{COST_TYPES[cost.dtype]}"
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
        _check_parameters("transport_plan", epsilon, demand_relaxation=demand_relaxation)
        cost, potential, demand = map(np.ascontiguousarray, (cost, potential, demand))
        images, targets, pixels = cost.shape
        plan = garbage(cost.shape, potential.dtype)
        self._launch(
            f"transport_plan_{COST_TYPES[cost.dtype]}",
            *(cost, potential, demand, images, targets, pixels),
            *(float(epsilon), float(demand_relaxation), plan),
        )
        return plan

    def sinkhorn(
        self,
        cost: NDArray[Any],
        supply: NDArray[Any],
        demand: NDArray[Any],
        epsilon: float = 1e-3,
        max_iterations: int = 80,
        tolerance: float = 0.0,
        supply_relaxation: float = math.inf,
        demand_relaxation: float = math.inf,
        initial_potential: NDArray[Any] | None = None,
        variant: str | None = None,
        method: str = "sinkhorn",
    ) -> tuple[NDArray[Any], NDArray[np.int32], NDArray[Any]]:
        """``variant`` None: one of them, chosen by the cost's bytes."""
        if method == "newton":
            return self.sinkhorn_newton(
                cost, supply, demand, epsilon, max_iterations, tolerance, initial_potential
            )
        _check_parameters(
            "sinkhorn",
            epsilon,
            supply_relaxation=supply_relaxation,
            demand_relaxation=demand_relaxation,
        )
        if not 0 <= max_iterations < 2**31:
            raise ValueError(
                f"sinkhorn: max_iterations must lie in [0, 2^31), got {max_iterations}"
            )
        if not tolerance >= 0:
            raise ValueError(f"sinkhorn: tolerance must not be negative, got {tolerance}")
        cost = np.ascontiguousarray(cost)
        targets, pixels = cost.shape[1:]
        if variant is None:
            variant = VARIANTS[zlib.crc32(cost.tobytes()) % len(VARIANTS)]
        return self._solve(
            {
                "shared_bytes": shared_bytes_for(variant, targets, pixels, supply.dtype),
                "watchdog": 3_000_000 + 200_000 * max_iterations,
            },
            *("sinkhorn", cost, supply, demand, initial_potential),
            *(float(epsilon), max_iterations, float(tolerance)),
            *(float(supply_relaxation), float(demand_relaxation)),
        )

    def sinkhorn_newton(
        self,
        cost: NDArray[Any],
        supply: NDArray[Any],
        demand: NDArray[Any],
        epsilon: float,
        max_iterations: int,
        tolerance: float,
        initial_potential: NDArray[Any] | None,
    ) -> tuple[NDArray[Any], NDArray[np.int32], NDArray[Any]]:
        return self._solve(
            {"watchdog": self.schedule.get("watchdog", 30_000_000)},
            *("sinkhorn_newton", cost, supply, demand, initial_potential),
            *(float(epsilon), max_iterations, float(tolerance)),
        )

    def _solve(
        self,
        device: dict[str, int],
        name: str,
        cost: NDArray[Any],
        supply: NDArray[Any],
        demand: NDArray[Any],
        initial_potential: NDArray[Any] | None,
        *parameters: float,
    ) -> tuple[NDArray[Any], NDArray[np.int32], NDArray[Any]]:
        cost, supply, demand = map(np.ascontiguousarray, (cost, supply, demand))
        if initial_potential is not None:
            initial_potential = np.ascontiguousarray(initial_potential)
        images, targets, pixels = cost.shape
        potential = garbage((images, targets), supply.dtype)
        iterations = garbage((images,), np.int32)
        error = garbage((images,), supply.dtype)
        self._launch_on(
            device,
            f"{name}_{COST_TYPES[cost.dtype]}",
            *(cost, supply, demand, initial_potential, images, targets, pixels),
            *(*parameters, potential, iterations, error),
        )
        return potential, iterations, error

    def sinkhorn_backward(
        self,
        grad_potential: NDArray[Any],
        cost: NDArray[Any],
        supply: NDArray[Any],
        demand: NDArray[Any],
        potential: NDArray[Any],
        epsilon: float,
        supply_relaxation: float,
        demand_relaxation: float,
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        images, targets, pixels = cost.shape
        grads = [garbage(x.shape, cost.dtype) for x in (cost, supply, demand)]
        self._launch(
            f"sinkhorn_backward_{C_TYPES[cost.dtype]}",
            *map(np.ascontiguousarray, (grad_potential, cost, supply, demand, potential)),
            *(images, targets, pixels, float(epsilon)),
            *(float(supply_relaxation), float(demand_relaxation), *grads),
        )
        return grads[0], grads[1], grads[2]

    def transport_plan_backward(
        self,
        grad_plan: NDArray[Any],
        cost: NDArray[Any],
        potential: NDArray[Any],
        demand: NDArray[Any],
        epsilon: float,
        demand_relaxation: float,
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        images, targets, pixels = cost.shape
        grads = [garbage(x.shape, cost.dtype) for x in (cost, potential, demand)]
        self._launch(
            f"transport_plan_backward_{C_TYPES[cost.dtype]}",
            *map(np.ascontiguousarray, (grad_plan, cost, potential, demand)),
            *(images, targets, pixels, float(epsilon), float(demand_relaxation), *grads),
        )
        return grads[0], grads[1], grads[2]

    def sinkhorn_variant(
        self, variant: str, images: int, targets: int, pixels: int, dtype: Any
    ) -> str:
        """What the launcher chooses on a device with ``shared_bytes_for(variant, ...)``."""
        shared_bytes = shared_bytes_for(variant, targets, pixels, dtype)
        self.emulator.configure(0, **{**self.schedule, "shared_bytes": shared_bytes})
        name = f"sinkhorn_variant_{C_TYPES[np.dtype(dtype)]}"
        return VARIANTS[getattr(self.emulator.functions, name)(images, targets, pixels)]

    def _launch_on(self, device: dict[str, int], name: str, *arguments: Any) -> None:
        usual = self.schedule
        self.schedule = {**usual, **device}
        try:
            self._launch(name, *arguments)
        finally:
            self.schedule = usual


def _check_parameters(op: str, epsilon: float, **relaxations: float) -> None:
    """The binding's checks."""
    if not 0 < epsilon < math.inf:
        raise ValueError(f"{op}: epsilon must be positive and finite, got {epsilon}")
    for name, value in relaxations.items():
        if not value > 0:
            raise ValueError(f"{op}: {name} must be positive, got {value}")
