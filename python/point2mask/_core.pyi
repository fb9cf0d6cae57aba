"""The torch-free engine for NumPy arrays: names, arguments and shapes of ``point2mask.ops``."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

cuda_architectures: str

def cpu_level() -> str: ...
def mask_statistics(
    labels: ArrayLike, targets: int
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int32]]: ...
def sinkhorn(
    cost: ArrayLike,
    supply: ArrayLike,
    demand: ArrayLike,
    epsilon: float = 1e-3,
    max_iterations: int = 80,
    tolerance: float = 0.0,
    supply_relaxation: float = ...,
    demand_relaxation: float = ...,
    initial_potential: ArrayLike | None = None,
) -> tuple[NDArray[Any], NDArray[np.int32], NDArray[Any]]: ...
def transport_labels(
    cost: ArrayLike, potential: ArrayLike, demand: ArrayLike
) -> NDArray[np.int32]: ...
def transport_plan(
    cost: ArrayLike,
    potential: ArrayLike,
    demand: ArrayLike,
    epsilon: float,
    demand_relaxation: float = ...,
) -> NDArray[Any]: ...
