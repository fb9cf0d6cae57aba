"""The torch-free engine for NumPy arrays: names, arguments and shapes of ``point2mask.ops``."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

cuda_architectures: str

def bottleneck_distance(
    order: ArrayLike, parent: ArrayLike, weight: ArrayLike, seeds: ArrayLike
) -> NDArray[np.floating]: ...
def cpu_level() -> str: ...
def geodesic_distance(edge_cost: ArrayLike, seeds: ArrayLike) -> NDArray[np.floating]: ...
def mask_statistics(
    labels: ArrayLike, targets: int
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int32]]: ...
def neighbor_difference(
    feature: ArrayLike, directions: int = 8, norm: str = "l1"
) -> NDArray[np.floating]: ...
def spanning_tree(
    edge_weight: ArrayLike,
) -> tuple[
    NDArray[np.int32],
    NDArray[np.int32],
    NDArray[np.int32],
    NDArray[np.floating],
]: ...
def tree_filter(
    feature: ArrayLike,
    order: ArrayLike,
    parent: ArrayLike,
    similarity: ArrayLike,
    normalize: bool = True,
) -> NDArray[np.float32] | NDArray[np.float64]: ...
def lab_affinity_loss(
    logits: ArrayLike,
    lab: ArrayLike,
    kernel_size: int = 3,
    dilation: int = 2,
    theta: float = 2.0,
    threshold: float = 0.3,
    valid: ArrayLike | None = None,
) -> NDArray[np.floating]: ...
def boundary_loss(
    boundary: ArrayLike,
    instance: ArrayLike,
    semantic: ArrayLike,
    kernel_size: int = 3,
    dilation: int = 1,
) -> NDArray[np.floating]: ...
