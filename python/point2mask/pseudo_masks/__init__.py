"""Maps and clicks -> panoptic masks, a whole batch at a time (method b.3 to b.7).

Everything runs through the package's operators on the device of its inputs, without a Python loop
over images and without reading a value back from the device.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from point2mask import ops
from point2mask.pseudo_masks.assigners import ASSIGNERS, TransportOptions, assign
from point2mask.pseudo_masks.cost import (
    close_padding,
    edge_cost,
    resize,
    sobel_lab_edges,
    target_cost,
)
from point2mask.pseudo_masks.points import PointBatch, class_presence, mark_points
from point2mask.pseudo_masks.problem import Problem
from point2mask.pseudo_masks.supplies import SUPPLIES

__all__ = [
    "ASSIGNERS",
    "SUPPLIES",
    "PointBatch",
    "PseudoMaskOptions",
    "PseudoMasks",
    "TransportOptions",
    "class_presence",
    "edge_cost",
    "mark_points",
    "pseudo_masks",
    "sobel_lab_edges",
]


@dataclass(frozen=True)
class PseudoMaskOptions:
    """Constants of the method; defaults are those of the published configurations.

    Attributes:
        assigner: ``transport``, ``shortest_path`` or ``nearest``.
        transport: options of the transport assigner.
        stride: image pixels a cell of the graph on which shortest paths are computed.
        point_size: side of the square around a click that is certain of its class, pixels.
        confidence: below this likelihood a pixel's semantic label is ignored.
        semantic_weight, boundary_weight, feature_weight: weights of the edge cost; see
            :func:`edge_cost`. ``feature_weight=0`` is the supplementary material's variant.
        class_penalty: added to the cost of targets of another class than the pixel's most likely
            one. 0 as published; a value above the largest distance keeps classes apart.
    """

    assigner: str = "transport"
    transport: TransportOptions = field(default_factory=TransportOptions)
    stride: int = 16
    point_size: int = 17
    confidence: float = 0.5
    semantic_weight: float = 1.0
    boundary_weight: float = 0.1
    feature_weight: float = 0.1
    class_penalty: float = 0.0


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
    boundary: Tensor | None = None,
    feature: Tensor | None = None,
    low_level: Tensor | None = None,
    image_size: Tensor | None = None,
    areas: Tensor | None = None,
    options: PseudoMaskOptions | None = None,
) -> PseudoMasks:
    """Panoptic masks of a batch from its maps and clicks.

    Args:
        semantic: float32 ``[B, C, H, W]`` class probabilities at the input's resolution.
        points: the clicks, in pixels of ``semantic``; stuff has clicks too.
        is_thing: bool ``[C]``.
        boundary: ``[B, h', w']`` probability of an instance boundary, any resolution.
        feature: ``[B, D, h', w']`` unit-length features, any resolution.
        low_level: ``[B, h', w']`` edge response in [0, 1], any resolution.
        image_size: int ``[B, 2]`` height and width of each image inside the padded batch; the
            rest takes no part and is labelled -1. None = no padding.
        areas: ``[B, K]`` known areas in pixels for ``supplies="given"``.
        options: constants of the method.

    Returns:
        Labels on the device of the inputs; see :class:`PseudoMasks`.

    Raises:
        ValueError: shapes that do not fit together, an unknown assigner or scheme.
    """
    options = options or PseudoMaskOptions()
    _check(semantic, points, is_thing, areas)
    targets, points = points.category.shape[1], points.nonempty()
    if areas is not None and not targets:
        areas = areas.new_zeros(len(areas), 1)  # as padded as the points
    is_image = _image_mask(semantic, image_size)
    likelihood = semantic * class_presence(points, semantic.shape[1])[..., None, None]
    likelihood = mark_points(likelihood, points, options.point_size)
    best, pixel_class = likelihood.max(1)
    thing_pixel = is_thing[pixel_class] & is_image
    problem = _problem(
        likelihood, pixel_class, thing_pixel, points, is_thing, is_image, areas,
        (boundary, feature, low_level), options,
    )  # fmt: skip
    instance = assign(problem, options.assigner, options.transport)
    confident = (best >= options.confidence) & is_image
    labels = torch.where(confident, pixel_class, -1).int()
    statistics = ops.mask_statistics(instance, points.category.shape[1])
    size = is_image.new_tensor(semantic.shape[-2:], dtype=torch.int64).expand(len(semantic), 2)
    return PseudoMasks(
        instance=instance,
        semantic=labels,
        panoptic=_panoptic(instance, labels, points, is_thing),
        area=statistics.area[:, :targets],
        box=_boxes(statistics, size if image_size is None else image_size)[:, :targets],
    )


def _problem(
    likelihood: Tensor,
    pixel_class: Tensor,
    thing_pixel: Tensor,
    points: PointBatch,
    is_thing: Tensor,
    is_image: Tensor,
    areas: Tensor | None,
    maps: tuple[Tensor | None, Tensor | None, Tensor | None],
    options: PseudoMaskOptions,
) -> Problem:
    """Edge costs on the reduced grid, distances from the clicks, and who takes part."""
    height, width = likelihood.shape[-2:]
    rows, columns = max(height // options.stride, 1), max(width // options.stride, 1)
    boundary, feature, low_level = maps
    edges = edge_cost(
        resize(likelihood, rows, columns),
        None if boundary is None else resize(boundary[:, None], rows, columns)[:, 0],
        None if feature is None else resize(feature, rows, columns),
        None if low_level is None else resize(low_level[:, None], rows, columns)[:, 0],
        semantic_weight=options.semantic_weight,
        boundary_weight=options.boundary_weight,
        feature_weight=options.feature_weight,
    )
    stride = options.stride
    cells_in_image = is_image[:, : rows * stride : stride, : columns * stride : stride]
    edges = close_padding(edges, cells_in_image)
    # Stuff is no supplier: only things are told apart by transport (b.5).
    channel = points.category.clamp_min(0)
    is_target = is_thing[channel] & points.is_point.any(-1)
    cells = points.cells(rows, columns, stride).masked_fill(~is_target[..., None], -1)
    distance = target_cost(edges, cells)
    stuff = (likelihood * ~is_thing[:, None, None]).sum(1, keepdim=True)
    own = likelihood.gather(1, channel[..., None, None].expand(-1, -1, height, width))
    cost = resize(distance, height, width)
    if options.class_penalty > 0:
        foreign = pixel_class[:, None] != points.category[..., None, None]
        cost = cost + options.class_penalty * foreign
    return Problem(
        edges=edges,
        distance=distance,
        cost=cost,
        likelihood=own.add_(stuff),
        pixel_class=pixel_class,
        foreground=thing_pixel & is_target.any(1)[:, None, None],
        is_target=is_target,
        points=points,
        stride=stride,
        classes=likelihood.shape[1],
        areas=areas,
    )


def _panoptic(instance: Tensor, semantic: Tensor, points: PointBatch, is_thing: Tensor) -> Tensor:
    """Things by instance, confident stuff by the first target of its class, else -1."""
    images, targets = points.category.shape
    classes = len(is_thing)
    index = torch.arange(targets, device=instance.device).expand(images, targets)
    pointed = points.is_point.any(-1)
    channel = torch.where(pointed, points.category, classes)
    first = torch.full((images, classes + 1), targets, device=instance.device)
    first = first.scatter_reduce(1, channel, index, "amin")
    lookup = torch.where(is_thing | (first[:, :classes] == targets), -1, first[:, :classes])
    stuff = lookup.gather(1, semantic.clamp_min(0).long().flatten(1)).view_as(semantic)
    stuff = torch.where(semantic >= 0, stuff, -1)
    return torch.where(instance >= 0, instance, stuff.int())


def _boxes(statistics: ops.MaskStatistics, image_size: Tensor) -> Tensor:
    """Tight boxes; the middle half of the image where a target has no pixel (b.7)."""
    height, width = image_size.to(statistics.box.device).float().unbind(1)
    middle = torch.stack([width / 4, height / 4, width * 0.75, height * 0.75], 1)
    return torch.where((statistics.area > 0)[..., None], statistics.box.float(), middle[:, None])


def _image_mask(semantic: Tensor, image_size: Tensor | None) -> Tensor:
    """Bool ``[B, H, W]``: pixels of the image, not of the batch's padding."""
    images, _, height, width = semantic.shape
    if image_size is None:
        return torch.ones(images, height, width, dtype=torch.bool, device=semantic.device)
    if image_size.shape != (images, 2):
        raise ValueError(f"image_size must have shape [B={images}, 2], got {[*image_size.shape]}")
    limit = image_size.to(semantic.device)
    y = torch.arange(height, device=semantic.device) < limit[:, :1]
    x = torch.arange(width, device=semantic.device) < limit[:, 1:]
    return y[:, :, None] & x[:, None, :]


def _check(semantic: Tensor, points: PointBatch, is_thing: Tensor, areas: Tensor | None) -> None:
    if semantic.dim() != 4 or not semantic.is_floating_point():
        raise ValueError(f"semantic must be float [B, C, H, W], got {[*semantic.shape]}")
    images, classes = semantic.shape[:2]
    if is_thing.shape != (classes,) or is_thing.dtype != torch.bool:
        raise ValueError(f"is_thing must be bool [C={classes}], got {[*is_thing.shape]}")
    if points.category.shape[:1] != (images,) or points.xy.shape[:2] != points.category.shape:
        raise ValueError(
            f"points must hold B={images} images, got xy {[*points.xy.shape]} and "
            f"category {[*points.category.shape]}"
        )
    if areas is not None and areas.shape != points.category.shape:
        raise ValueError(f"areas must have shape {[*points.category.shape]}, got {[*areas.shape]}")
