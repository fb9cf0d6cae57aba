"""Reference of :mod:`point2mask.ops.pairs`."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from point2mask.grid import OFFSETS

Region = tuple[slice, slice]


def _shifted(size: int, step: int) -> tuple[slice, slice]:
    """Along one axis: the pixels whose neighbour by ``step`` is inside, and these neighbours."""
    step = max(-size, min(size, step))
    return slice(max(0, -step), size - max(0, step)), slice(max(0, step), size - max(0, -step))


def neighbor_difference(
    feature: NDArray[np.floating], directions: int = 8, norm: str = "l1"
) -> NDArray[np.float64]:
    """Distance of each pixel's feature to that of its neighbours; 0 where one lies outside."""
    if directions not in (2, 4, 8):
        raise ValueError(f"neighbor_difference: directions must be 2, 4 or 8, got {directions}")
    if norm not in ("l1", "l2", "squared_l2"):
        raise ValueError(f"neighbor_difference: norm must be l1, l2 or squared_l2, got {norm}")
    images, _, height, width = feature.shape
    difference = np.zeros((images, directions, height, width))
    for d, (dy, dx) in enumerate(OFFSETS[:directions]):
        (y, y_next), (x, x_next) = _shifted(height, dy), _shifted(width, dx)
        step = feature[:, :, y, x].astype(np.float64) - feature[:, :, y_next, x_next]
        if norm == "l1":
            difference[:, d, y, x] = np.abs(step).sum(1)
        elif norm == "l2":
            difference[:, d, y, x] = np.sqrt((step**2).sum(1))
        else:
            difference[:, d, y, x] = (step**2).sum(1)
    return difference


def _window(
    op: str, kernel_size: int, dilation: int, height: int, width: int
) -> Iterator[tuple[Region, Region]]:
    """For every offset of the window: the pixels with a neighbour inside, and the neighbours."""
    if kernel_size < 3 or kernel_size % 2 == 0:
        raise ValueError(f"{op}: kernel_size must be odd and at least 3, got {kernel_size}")
    if dilation < 1:
        raise ValueError(f"{op}: dilation must be at least 1, got {dilation}")
    radius = kernel_size // 2
    for y in range(-radius, radius + 1):
        for x in range(-radius, radius + 1):
            if (y, x) != (0, 0):
                (y_here, y_there), (x_here, x_there) = (
                    _shifted(height, y * dilation),
                    _shifted(width, x * dilation),
                )
                yield (y_here, x_here), (y_there, x_there)


def _log_sum_exp(a: NDArray[np.float64]) -> NDArray[np.float64]:
    """Over the first axis."""
    high = a.max(0)
    total: NDArray[np.float64] = high + np.log(np.exp(a - high).sum(0))
    return total


def lab_affinity_loss(
    logits: NDArray[np.floating],
    lab: NDArray[np.floating],
    kernel_size: int = 3,
    dilation: int = 2,
    theta: float = 2.0,
    threshold: float = 0.3,
    valid: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """Mean of -log(sum_c p_ic p_jc) over ordered pairs of like colour, all in the log domain."""
    op = "lab_affinity_loss"
    images, channels, height, width = logits.shape
    if channels < 1:
        raise ValueError(f"{op}: logits must have at least one channel, got {channels}")
    if not (theta > 0 and np.isfinite(theta)):
        raise ValueError(f"{op}: theta must be positive, got {theta}")
    if not 0 < threshold <= 1:
        raise ValueError(f"{op}: threshold must lie in (0, 1], got {threshold}")
    window = list(_window(op, kernel_size, dilation, height, width))
    loss = np.zeros(images)
    for b in range(images):
        used = np.ones((height, width), bool) if valid is None else valid[b]
        for name, values in (("logits", logits[b]), ("lab", lab[b])):
            if not np.isfinite(values[:, used]).all():
                raise ValueError(f"{op}: {name} must be finite, got NaN or infinity in image {b}")
        z = np.where(used, logits[b].astype(np.float64), 0.0)
        color = np.where(used, lab[b].astype(np.float64), 0.0)
        log_p = z - _log_sum_exp(z)
        total, pairs = 0.0, 0
        for here, there in window:
            distance = np.sqrt(((color[:, *here] - color[:, *there]) ** 2).sum(0))
            near = (np.exp(-distance / theta) >= threshold) & used[here] & used[there]
            agreement = _log_sum_exp(log_p[:, *here] + log_p[:, *there])
            total -= agreement[near].sum()
            pairs += near.sum()
        loss[b] = total / pairs if pairs else 0.0
    return loss


def boundary_loss(
    boundary: NDArray[np.floating],
    instance: NDArray[np.int32],
    semantic: NDArray[np.int32],
    kernel_size: int = 3,
    dilation: int = 1,
) -> NDArray[np.float64]:
    """1/4 mean over thing pairs + 1/4 mean over stuff pairs + 1/2 mean over pairs set apart."""
    op = "boundary_loss"
    images, height, width = boundary.shape
    window = list(_window(op, kernel_size, dilation, height, width))
    loss = np.zeros(images)
    for image in range(images):
        b = boundary[image].astype(np.float64)
        if not ((b >= 0) & (b <= 1)).all():
            raise ValueError(
                f"{op}: boundary must lie in [0, 1], got NaN or a value outside in image {image}"
            )
        for name, labels in (("instance", instance[image]), ("semantic", semantic[image])):
            if labels.size and labels.min() < -1:
                raise ValueError(
                    f"{op}: {name} must be -1 or a non-negative label, got {labels.min()} "
                    f"in image {image}"
                )
        thing, stuff, apart = [], [], []
        for here, there in window:
            a = 1 - np.maximum(b[here], b[there])
            i, j = instance[image][here], instance[image][there]
            s, t = semantic[image][here], semantic[image][there]
            thing.append(-np.log(a + 1e-5)[(i == j) & (i >= 0)])
            stuff.append(-np.log(a + 1e-5)[(i == -1) & (j == -1) & (s == t) & (s >= 0)])
            apart.append(-np.log(1 + 1e-5 - a)[(i != j) | ((s != t) & (s >= 0) & (t >= 0))])
        for share, values in ((1 / 4, thing), (1 / 4, stuff), (1 / 2, apart)):
            every = np.concatenate(values)
            loss[image] += share * every.mean() if every.size else 0.0
    return loss
