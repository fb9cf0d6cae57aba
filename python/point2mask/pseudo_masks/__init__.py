"""Maps and clicks -> panoptic masks, a whole batch at a time (method b.3 to b.7).

Everything runs through the package's operators on the device of its inputs, without a Python loop
over images, without reading a value back from the device and without waiting for it.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from point2mask import ops
from point2mask.bilinear import resize
from point2mask.pseudo_masks.assigners import MAP_ASSIGNERS, assign
from point2mask.pseudo_masks.cost import (
    close_padding,
    edge_cost,
    sobel_lab_edges,
    target_cost,
)
from point2mask.pseudo_masks.maps import (
    Maps,
    check_arguments,
    image_sizes,
    inside_mask,
    on_device,
)
from point2mask.pseudo_masks.options import PseudoMaskOptions, SupervisionConfig, TransportOptions
from point2mask.pseudo_masks.points import PointBatch, class_presence, mark_points, stuff_targets
from point2mask.pseudo_masks.problem import Problem
from point2mask.pseudo_masks.supplies import SUPPLIES

__all__ = [
    "MAP_ASSIGNERS",
    "SUPPLIES",
    "PointBatch",
    "PseudoMaskOptions",
    "PseudoMasks",
    "SupervisionConfig",
    "TransportOptions",
    "class_presence",
    "edge_cost",
    "mark_points",
    "pseudo_masks",
    "sobel_lab_edges",
]


_NOBODY = -1e4  # a logit whose exponential is 0


@dataclass(frozen=True)
class PseudoMasks:
    """Panoptic labels of a batch.

    Attributes:
        instance: int32 ``[B, H, W]``, index of the thing target; -1 = stuff or padding.
        semantic: int32 ``[B, H, W]``, most likely class; -1 = not confident or padding.
        panoptic: int32 ``[B, H, W]``, index of the target: things by instance, confident stuff
            by class (the class's first target); -1 = void.
        area: int64 ``[B, K]``, pixels of each thing instance.
        box: float32 ``[B, K, 4]``, tight boxes x0, y0, x1, y1 of the things (ends exclusive); an
            instance without pixels has the middle half of the image, as published.
    """

    instance: Tensor
    semantic: Tensor
    panoptic: Tensor
    area: Tensor
    box: Tensor


@torch.no_grad()
def pseudo_masks(
    semantic: Tensor,
    points: PointBatch,
    is_thing: Tensor,
    *,
    boundary_logits: Tensor | None = None,
    feature: Tensor | None = None,
    low_level: Tensor | None = None,
    image_size: Tensor | None = None,
    areas: Tensor | None = None,
    partition: Tensor | None = None,
    options: PseudoMaskOptions | None = None,
) -> PseudoMasks:
    """Panoptic masks of a batch from its maps and clicks.

    Args:
        semantic: float32 ``[B, C, H, W]`` class probabilities at the input's resolution.
        points: the clicks, in pixels of ``semantic``; stuff has clicks too.
        is_thing: bool ``[C]``.
        boundary_logits: ``[B, h', w']`` logits of an instance boundary, any resolution; they are
            resized before the sigmoid, as published.
        feature: ``[B, D, h', w']`` unit-length features, any resolution.
        low_level: ``[B, h', w']`` edge response in [0, 1], any resolution.
        image_size: int ``[B, 2]`` height and width of each image inside the padded batch; the
            rest takes no part and is labelled -1. None = no padding. For padding without any
            influence H and W have to be multiples of ``options.stride``: the grid of the shortest
            paths has ``H // stride`` rows, as published, which share out all of the canvas.
        areas: ``[B, K]`` known areas in pixels for ``supplies`` "given" or "network".
        partition: ``[B, K, H, W]`` logits of a click branch, for a softmax over the targets that
            have a click; what it says of others is not read.
        options: constants of the method.

    Returns:
        Labels on the device of the inputs; see :class:`PseudoMasks`.

    Raises:
        ValueError: shapes that do not fit together, or no areas or partition where they are needed.

    Two things of class 0 where the map says thing everywhere: the nearer click decides.

    >>> semantic = torch.zeros(1, 2, 16, 32)
    >>> semantic[:, 0] = 1
    >>> points = PointBatch.from_lists([[(0, [(4, 8)]), (0, [(27, 8)])]])
    >>> options = PseudoMaskOptions(assigner="nearest", stride=4, point_size=3, step_weight=0.1)
    >>> masks = pseudo_masks(semantic, points, torch.tensor([True, False]), options=options)
    >>> masks.instance[0, 8, ::4].tolist()
    [0, 0, 0, 0, 1, 1, 1, 1]
    """
    options = options or PseudoMaskOptions()
    maps = Maps(semantic, boundary_logits, feature, low_level)
    check_arguments(maps, points, is_thing, image_size, areas)
    maps = maps.full_precision()
    targets, points = points.category.shape[1], points.nonempty()
    if areas is not None and not targets:
        areas = areas.new_zeros(len(areas), 1)  # as padded as the points
    canvas = maps.semantic.shape[-2:]
    size = image_sizes(maps.semantic, image_size)
    points = points.inside(size)
    log_partition = None
    if options.learned:
        log_partition = _log_partition(partition, points, canvas, maps.semantic.dtype)
    is_image = inside_mask(size, *canvas)
    presence = class_presence(points, len(is_thing))
    likelihood = (maps.semantic * presence[..., None, None]).contiguous()
    likelihood = mark_points(likelihood, points, options.point_size)
    best, pixel_class = likelihood.max(1)
    maps = replace(maps, semantic=likelihood)
    thing_pixel = is_thing[pixel_class] & is_image
    padded = image_size is not None
    problem = _problem(
        *(maps, pixel_class, is_image, thing_pixel, points, is_thing, size, padded, areas),
        log_partition,
        options,
    )
    instance = assign(problem, options.assigner, options.transport)
    confident = (best >= options.confidence) & (best > 0) & is_image
    labels = torch.where(confident, pixel_class, -1).int()
    statistics = ops.mask_statistics(instance, points.category.shape[1])
    return PseudoMasks(
        instance=instance,
        semantic=labels,
        panoptic=_panoptic(instance, labels, points, is_thing),
        area=statistics.area[:, :targets],
        box=_boxes(statistics, size)[:, :targets],
    )


def _problem(
    maps: Maps,
    pixel_class: Tensor,
    is_image: Tensor,
    thing_pixel: Tensor,
    points: PointBatch,
    is_thing: Tensor,
    size: Tensor,
    padded: bool,
    areas: Tensor | None,
    log_partition: Tensor | None,
    options: PseudoMaskOptions,
) -> Problem:
    """Edge costs on the reduced grid, distances from the clicks, and who takes part.

    ``maps.semantic`` holds the likelihoods; without ``padded`` every image fills its canvas.
    """
    likelihood, stride = maps.semantic, options.stride
    height, width = likelihood.shape[-2:]
    rows, columns = max(height // stride, 1), max(width // stride, 1)
    reduced = maps.resized(rows, columns, size if padded else None)
    edges = edge_cost(
        reduced.semantic,
        None if reduced.boundary_logits is None else reduced.boundary_logits.sigmoid(),
        reduced.feature,
        reduced.low_level,
        semantic_weight=options.semantic_weight,
        boundary_weight=options.boundary_weight,
        feature_weight=options.feature_weight,
        step_weight=options.step_weight,
    )
    cells = (size + stride - 1).div(stride, rounding_mode="floor")
    cells = torch.minimum(cells, on_device([rows, columns], cells)).clamp_min(1)
    is_cell = inside_mask(cells, rows, columns)
    # Stuff is no supplier: only things are told apart by transport (b.5).
    channel = points.category.clamp_min(0)
    is_target = is_thing[channel] & points.is_point.any(-1)
    seeds = points.cells(rows, columns, stride).masked_fill(~is_target[..., None], -1)
    edges = close_padding(edges, is_cell)
    distance = target_cost(edges, seeds)
    stuff = (likelihood * ~is_thing[:, None, None]).sum(1, keepdim=True)
    # Whole planes at a time, where a gather looks every pixel up.
    own = likelihood[torch.arange(len(likelihood), device=channel.device)[:, None], channel]
    limit = cells if padded else None
    cost = resize(distance, height, width, limit)
    if options.class_penalty > 0:
        foreign = pixel_class[:, None] != points.category[..., None, None]
        cost = cost + options.class_penalty * foreign
    if log_partition is not None and options.learned_weight > 0:
        cost = cost - options.learned_weight * log_partition
    return Problem(
        edges=edges,
        distance=distance,
        cost=cost,
        likelihood=own.add_(stuff),
        pixel_class=pixel_class,
        is_image=is_image,
        foreground=thing_pixel & is_target.any(1)[:, None, None],
        is_target=is_target,
        points=points,
        stride=stride,
        classes=likelihood.shape[1],
        is_cell=is_cell,
        cells=limit,
        areas=areas,
        partition=log_partition,
    )


def _log_partition(
    partition: Tensor | None, points: PointBatch, canvas: torch.Size, dtype: torch.dtype
) -> Tensor:
    """log p of every target at every pixel."""
    if partition is None:
        raise ValueError(
            "assigner and supplies 'learned' and learned_weight need the partition of a click "
            "branch, got None"
        )
    expected = [*points.category.shape, *canvas]
    if [*partition.shape] != expected or not partition.is_floating_point():
        raise ValueError(
            f"partition must be float {expected}, got {partition.dtype} {[*partition.shape]}"
        )
    clicked = points.is_point.any(-1)[..., None, None]
    return torch.where(clicked, partition.to(dtype), _NOBODY).log_softmax(1)


def _panoptic(instance: Tensor, semantic: Tensor, points: PointBatch, is_thing: Tensor) -> Tensor:
    """Things by instance, confident stuff by the first target of its class, else -1."""
    stuff = stuff_targets(semantic, points, is_thing)
    return torch.where(instance >= 0, instance, stuff.int())


def _boxes(statistics: ops.MaskStatistics, image_size: Tensor) -> Tensor:
    """Tight boxes; the middle half of the image where a target has no pixel (b.7)."""
    height, width = image_size.float().unbind(1)
    middle = torch.stack([width / 4, height / 4, width * 0.75, height * 0.75], 1)
    return torch.where((statistics.area > 0)[..., None], statistics.box.float(), middle[:, None])
