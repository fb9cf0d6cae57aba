"""What the losses of a batch aim at: masks, boxes and the classes that are known."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from point2mask import ops
from point2mask.pseudo_masks import PointBatch, PseudoMasks, class_presence
from point2mask.pseudo_masks.batch import Batch
from point2mask.pseudo_masks.cells import cell_labels, certain_labels, point_labels


@dataclass(frozen=True)
class Targets:
    """Targets of a batch, K >= 1 an image (padded).

    Attributes:
        masks: labels of all pixels, true ones or pseudo masks.
        category: int64 ``[B, K]``, class, -1 = padding.
        things: bool ``[B, K]``, the targets that a query is matched to.
        boxes: ``[B, K, 4]``, centre x, y, width, height of the things in parts of the image.
        tags: bool ``[B, C]``, the classes that the image is said to show.
        seen: bool ``[B, C]``, the classes that the labels hold.
        class_boxes: ``[B, C, 4]``, as ``boxes``, of all that is labelled with a class.
        label: int64 ``[B, h, w]``, classes known at stride 8, -1 where not.
        complete: the labels are true everywhere: colours need not speak for them.
        target: int64 ``[B, h, w]``, the targets known at stride 8, -1 where not; for a click branch
            (:func:`known_targets`).
    """

    masks: PseudoMasks
    category: Tensor
    things: Tensor
    boxes: Tensor
    tags: Tensor
    seen: Tensor
    class_boxes: Tensor
    label: Tensor
    complete: bool
    target: Tensor | None = None


def point_targets(
    batch: Batch, masks: PseudoMasks, valid: Tensor, point_size: int, spanning: bool = False
) -> Targets:
    """Targets from clicks and the pseudo masks grown from them.

    A thing whose mask is empty stays a target, with the box in the middle, as published.

    Args:
        batch: with its clicks.
        masks: of the batch.
        valid: bool ``[B, h, w]``, cells at stride 8 that hold image.
        point_size: side of the square around a click that is certain of its class, pixels.
        spanning: whether cells span every image: ``Geometry.spanning``.
    """
    points = batch.points.nonempty()
    return _targets(
        batch,
        masks,
        points.is_point.any(-1),
        class_presence(points, len(batch.is_thing)),
        point_labels(points, batch.image_size, valid, point_size, spanning),
        complete=False,
    )


def mask_targets(batch: Batch, valid: Tensor, spanning: bool = False) -> Targets:
    """Targets from true masks; ``valid`` and ``spanning`` as for :func:`point_targets`."""
    masks = true_masks(batch)
    area = ops.mask_statistics(masks.semantic, len(batch.is_thing)).area
    return _targets(
        batch,
        masks,
        F.pad(masks.area, (0, int(masks.area.shape[1] == 0))) > 0,
        area > 0,
        cell_labels(masks.semantic, batch.image_size, valid, spanning),
        complete=True,
    )


def known_targets(
    batch: Batch, targets: Targets, valid: Tensor, point_size: int, spanning: bool = False
) -> Tensor:
    """Whose a cell is for certain, int64 ``[B, h, w]``, -1 where it is not known.

    True masks say it everywhere, clicks in the squares around them, but not where squares of two
    targets overlap; arguments as for :func:`point_targets`.
    """
    if targets.complete:
        return cell_labels(targets.masks.panoptic, batch.image_size, valid, spanning)
    points = batch.points.nonempty()
    index = torch.arange(points.category.shape[1], device=points.category.device)
    numbered = PointBatch(points.xy, torch.where(points.category >= 0, index, -1))
    low, high = certain_labels(numbered, batch.image_size, valid, point_size, spanning)
    return torch.where(low == high, low, -1)


def true_masks(batch: Batch) -> PseudoMasks:
    """The batch's true masks in the form of pseudo masks."""
    if batch.truth is None:
        raise ValueError("supervision by masks needs batch.truth, got None")
    truth = batch.truth
    count = batch.points.category.shape[1]
    category = batch.points.nonempty().category
    index = truth.clamp(min=0).long()
    label = category.gather(1, index.flatten(1)).view_as(truth)
    label = torch.where(truth >= 0, label, -1).int()
    thing = (label >= 0) & batch.is_thing[label.clamp(min=0).long()]
    instance = torch.where(thing, truth, -1)
    statistics = ops.mask_statistics(instance, count)
    return PseudoMasks(instance, label, truth, statistics.area, statistics.box.float())


def _targets(
    batch: Batch,
    masks: PseudoMasks,
    exists: Tensor,
    tags: Tensor,
    label: Tensor,
    complete: bool,
) -> Targets:
    category = batch.points.nonempty().category
    things = exists & (category >= 0) & batch.is_thing[category.clamp(min=0)]
    box = masks.box if masks.box.shape[1] else masks.box.new_zeros(len(masks.box), 1, 4)
    size = batch.image_size.flip(1)[:, None].to(box.dtype)
    of_classes = ops.mask_statistics(masks.semantic, len(batch.is_thing))
    return Targets(
        masks=masks,
        category=category,
        things=things,
        boxes=_parts(box, size),
        tags=tags,
        seen=of_classes.area > 0,
        class_boxes=_parts(of_classes.box.to(box.dtype), size),
        label=label,
        complete=complete,
    )


def _parts(box: Tensor, size: Tensor) -> Tensor:
    """x0, y0, x1, y1 in pixels to centre and size in parts of images of the size (w, h)."""
    low, high = box[..., :2] / size, box[..., 2:] / size
    return torch.cat(((low + high) / 2, high - low), -1)
