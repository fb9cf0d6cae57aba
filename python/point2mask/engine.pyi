"""What labelling needs of the engine, for NumPy arrays and without torch.

Functions that :mod:`point2mask.ops` has as well take the same arguments, in any layout and any real
or integer dtype: float16 and float32 are computed in float32, other numbers in float64. One thread.
Bad arguments raise ValueError.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

cuda_architectures: str  # those that kernels were compiled for, as CMake writes them; "" for none

def cpu_level() -> str:
    """The x86-64 level whose machine code this processor gets: ``x86-64``, ``-v3`` or ``-v4``.

    ``baseline`` where the build has no copies for levels: other processors, clang before 18.
    """

def geodesic_distance(edge_cost: ArrayLike, seeds: ArrayLike) -> NDArray[np.floating]:
    """Length of the cheapest 8-connected path ``[B, K, H, W]`` from a target's seeds to each pixel.

    Args:
        edge_cost: ``[B, 8, H, W]`` cost of the step in each direction, not negative, may be inf.
        seeds: ``[B, K, P]`` pixel indices, -1 = padding.
    """

def histogram_gradient(
    channels: ArrayLike, bins: int = 8, radius: int = 3, distance: int = 4
) -> NDArray[np.float32]:
    """Edge strength ``[H, W]`` of channels ``[C, H, W]`` in [0, 1]: histograms on either side.

    The square root of the largest, over four orientations, of the chi-square distances (summed over
    channels) between soft histograms of square windows ``distance`` pixels to both sides. At most
    256 bins; a radius or a distance beyond the image reaches to its end.
    """

def mask_statistics(
    labels: ArrayLike, targets: int
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int32]]:
    """Of labels ``[B, H, W]`` in [-1, targets): area ``[B, K]``, centroid ``[B, K, 2]`` as (y, x).

    And box ``[B, K, 4]``: x0, y0, x1, y1, ends exclusive. In pixels; all 0 where the area is.
    """

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
) -> tuple[NDArray[np.floating], NDArray[np.int32], NDArray[np.floating]]:
    """Entropic optimal transport: potential ``[B, K]``, iterations ``[B]``, marginal error ``[B]``.

    Args:
        cost: ``[B, K, N]``; +inf forbids a pair.
        supply: ``[B, K]`` mass of each target.
        demand: ``[B, N]`` mass of each pixel.
        epsilon: units of cost, positive.
        max_iterations: 0 or more.
        tolerance: of the marginal error; 0 runs all iterations.
        supply_relaxation: units of cost; infinity (the default) makes the marginal a constraint.
        demand_relaxation: likewise.
        initial_potential: ``[B, K]`` in units of cost; zeros if None.
        method: ``sinkhorn``, or ``newton`` where both marginals are constraints.
    """

def watershed(edge: ArrayLike, markers: ArrayLike) -> NDArray[np.int32]:
    """Labels ``[H, W]`` flooded from markers over the 4-connected grid, over low edges first.

    As scikit-image 0.26 does it, ties included. -1 everywhere if there is no marker.

    Args:
        edge: float32 ``[H, W]``, not NaN.
        markers: int32 ``[H, W]``, labels from 0 to start from, -1 elsewhere.
    """
