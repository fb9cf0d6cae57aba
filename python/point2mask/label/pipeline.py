"""Clicks on one picture to the target of every pixel."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from point2mask.data import PointTarget
from point2mask.label.paths import shortest_path, transport
from point2mask.label.regions import merge, watershed
from point2mask.label.scene import Scene, enlarged, make_scene

Assigner = Callable[[Scene], NDArray[np.int32]]  # the target [h, w] of every pixel

ASSIGNERS: dict[str, Assigner] = {
    "merge": merge,
    "watershed": watershed,
    "shortest_path": shortest_path,
    "transport": transport,
}
DEFAULT_ASSIGNER = "merge"
DEFAULT_MAX_SIDE = 640


def label_image(
    image: NDArray[np.uint8],
    targets: Sequence[PointTarget],
    assigner: str = DEFAULT_ASSIGNER,
    edges: NDArray[np.floating] | None = None,
    max_side: int = DEFAULT_MAX_SIDE,
    is_thing: Sequence[bool] | None = None,
) -> NDArray[np.int32]:
    """Panoptic masks from clicks, without a trained network.

    Args:
        image: ``uint8 [H, W, 3]``, RGB.
        targets: K targets with their clicks; targets without a click get no pixel. Areas are looked
            at by ``transport`` alone.
        assigner: one of :data:`ASSIGNERS`.
        edges: edge strength ``[h, w]`` of any size and scale, of a learned detector say, to be
            averaged with the built-in one.
        max_side: pixels of the longer side to work at; larger pictures are reduced.
        is_thing: for every target whether its category is a thing; by default all are. Things are
            taken to lie near their clicks, stuff is not.

    Returns:
        ``int32 [H, W]``, the index of every pixel's target; -1 everywhere if there is no click. The
        pixels of the clicks always belong to their targets. Deterministic.

    Raises:
        ValueError: an array of another shape or dtype, a click outside the picture, clicks of two
            targets in one pixel, edges that are not finite, or an unknown assigner.
    """
    things = [True] * len(targets) if is_thing is None else list(is_thing)
    _check(image, targets, assigner, edges, max_side, things)
    labels = np.full(image.shape[:2], -1, np.int32)
    clicked = [index for index, target in enumerate(targets) if target.points]
    if not clicked:
        return labels
    chosen = [targets[index] for index in clicked]
    scene = make_scene(image, chosen, [things[index] for index in clicked], edges, max_side)
    assigned = enlarged(ASSIGNERS[assigner](scene), labels.shape)
    labels = np.array(clicked, np.int32)[assigned]
    for index, target in enumerate(targets):
        for x, y in target.pixels:
            labels[y, x] = index
    return labels


def _check(
    image: NDArray[np.uint8],
    targets: Sequence[PointTarget],
    assigner: str,
    edges: NDArray[np.floating] | None,
    max_side: int,
    is_thing: Sequence[bool],
) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"image must be uint8 [H, W, 3], got {image.dtype} {list(image.shape)}")
    if assigner not in ASSIGNERS:
        raise ValueError(f"assigner must be one of {', '.join(ASSIGNERS)}, got {assigner!r}")
    if max_side < 1:
        raise ValueError(f"max_side must be at least 1, got {max_side}")
    if len(is_thing) != len(targets):
        raise ValueError(f"is_thing must have {len(targets)} entries, got {len(is_thing)}")
    if edges is not None and (edges.ndim != 2 or 0 in edges.shape or not np.isfinite(edges).all()):
        raise ValueError(f"edges must be finite [h, w], got {edges.dtype} {list(edges.shape)}")
    height, width = image.shape[:2]
    owner: dict[tuple[int, int], int] = {}
    for index, target in enumerate(targets):
        for (x, y), pixel in zip(target.points, target.pixels, strict=True):
            if not (0 <= x < width and 0 <= y < height):
                raise ValueError(
                    f"points must lie inside {width} x {height} pixels, got ({x}, {y}) of target "
                    f"{target.id}"
                )
            if owner.setdefault(pixel, index) != index:
                raise ValueError(f"points of two targets must not share a pixel, got {pixel}")
