"""The torch-free engine for NumPy arrays: names, arguments and shapes of ``point2mask.ops``."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

cuda_architectures: str

def boundary_loss(
    boundary: ArrayLike,
    instance: ArrayLike,
    semantic: ArrayLike,
    kernel_size: int = 3,
    dilation: int = 1,
) -> NDArray[np.floating]: ...
def cpu_level() -> str: ...
def deformable_attention(
    value: ArrayLike, where: ArrayLike, weight: ArrayLike, shapes: ArrayLike
) -> NDArray[np.floating]: ...
def geodesic_distance(edge_cost: ArrayLike, seeds: ArrayLike) -> NDArray[np.floating]: ...
def histogram_gradient(
    channels: ArrayLike, bins: int = 8, radius: int = 3, distance: int = 4
) -> NDArray[np.float32]:
    """Edge strength ``[H, W]`` of channels ``[C, H, W]`` in [0, 1]: histograms on either side.

    The square root of the largest, over four orientations, of the chi-square distances (summed over
    channels) between soft histograms of square windows ``distance`` pixels to both sides. At most
    65536 bins; a radius or a distance beyond the image reaches to its end.
    """

def lab_affinity_loss(
    logits: ArrayLike,
    lab: ArrayLike,
    kernel_size: int = 3,
    dilation: int = 2,
    theta: float = 2.0,
    threshold: float = 0.3,
    valid: ArrayLike | None = None,
) -> NDArray[np.floating]: ...
def mask_statistics(
    labels: ArrayLike, targets: int
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int32]]: ...
def merge_regions(
    regions: ArrayLike,
    region_count: int,
    edge: ArrayLike,
    bins: ArrayLike,
    bin_counts: ArrayLike,
    weights: ArrayLike,
    seeds: ArrayLike,
    reach: ArrayLike,
    size_exponent: float = 0.05,
) -> NDArray[np.int32]:
    """Seeded agglomeration of one image's regions; the target ``[H, W]`` of every pixel.

    The pair of neighbouring regions that is cheapest merges next, but never two of different
    targets: (mean edge strength on the common border + sum of weights x chi-square / 2 of
    histograms) x (harmonic area / image area)^size_exponent x (1 + (distance / reach)^2), the
    last for a seeded region and the distance of the other's centroid to the target's nearest seed.
    Ties go to the smallest pair of numbers.

    Args:
        regions: int32 ``[H, W]`` in [0, region_count), and below max(H W, 65536).
        region_count: R.
        edge: float32 ``[H, W]``, not negative.
        bins: int32 ``[F, H, W]``, the histogram bin of every pixel and feature.
        bin_counts: int32 ``[F]``, 1 to 65536.
        weights: float64 ``[F]``.
        seeds: int32 ``[K, P]`` pixel indices, -1 = padding.
        reach: float64 ``[K]`` pixels; infinity: distance does not matter.
        size_exponent: how strongly small regions go first.
    """

def neighbor_difference(
    feature: ArrayLike, directions: int = 8, norm: str = "l1"
) -> NDArray[np.floating]: ...
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
    method: str = "sinkhorn",
) -> tuple[NDArray[np.floating], NDArray[np.int32], NDArray[np.floating]]: ...
def spanning_tree(
    edge_weight: ArrayLike,
) -> tuple[
    NDArray[np.int32],
    NDArray[np.int32],
    NDArray[np.int32],
    NDArray[np.floating],
]: ...
def transport_labels(
    cost: ArrayLike, potential: ArrayLike, demand: ArrayLike
) -> NDArray[np.int32]: ...
def transport_plan(
    cost: ArrayLike,
    potential: ArrayLike,
    demand: ArrayLike,
    epsilon: float,
    demand_relaxation: float = ...,
) -> NDArray[np.floating]: ...
def tree_filter(
    feature: ArrayLike,
    order: ArrayLike,
    parent: ArrayLike,
    similarity: ArrayLike,
    normalize: bool = True,
) -> NDArray[np.floating]: ...
