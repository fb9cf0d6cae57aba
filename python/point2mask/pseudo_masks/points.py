"""Clicks of a batch as padded tensors, and what they say about the semantic map."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class PointBatch:
    """The point labels of B images, padded to K targets of P points.

    Attributes:
        xy: float32 ``[B, K, P, 2]``, pixel coordinates (x, y); negative entries are padding. The
            points of a target come first, padding after them.
        category: int64 ``[B, K]``, channel of the semantic map; -1 is a padded target.
        area: float ``[B, K]``, pixels of a target as somebody states them, NaN where nobody does;
            None where nobody states any.
    """

    xy: Tensor
    category: Tensor
    area: Tensor | None = None

    @classmethod
    def from_lists(
        cls,
        images: Sequence[Sequence[tuple[int, Sequence[tuple[float, float]]]]],
        areas: Sequence[Sequence[float] | None] = (),
    ) -> "PointBatch":
        """Pads ``images[b][k] = (category, [(x, y), ...])``.

        ``areas[b][k]`` are the targets' stated areas, NaN for one without; ``areas[b]`` is None for
        an image of which none is stated. A target has a pixel at least, however small it became.

        >>> PointBatch.from_lists([[(3, [(1, 2), (5, 6)]), (0, [(7, 8)])], []]).category
        tensor([[ 3,  0],
                [-1, -1]])
        """
        targets = max((len(image) for image in images), default=0)
        points = max((len(xy) for image in images for _, xy in image), default=0)
        xy = torch.full((len(images), targets, points, 2), -1.0)
        category = torch.full((len(images), targets), -1, dtype=torch.int64)
        for b, image in enumerate(images):
            for k, (channel, coordinates) in enumerate(image):
                category[b, k] = channel
                if len(coordinates):
                    xy[b, k, : len(coordinates)] = torch.tensor(coordinates, dtype=torch.float32)
        area = None
        if any(own is not None for own in areas):
            area = torch.full((len(images), targets), torch.nan)
            for row, own in zip(area, areas, strict=True):
                if own is not None:
                    row[: len(own)] = torch.tensor(own).clamp(min=1)
        return cls(xy, category, area)

    def of(self, images: Sequence[int]) -> "PointBatch":
        """The points of some images of the batch, as padded as all."""
        chosen = list(images)
        area = None if self.area is None else self.area[chosen]
        return PointBatch(self.xy[chosen], self.category[chosen], area)

    def to(self, device: torch.device) -> "PointBatch":
        """The points on another device."""
        area = None if self.area is None else self.area.to(device)
        return PointBatch(self.xy.to(device), self.category.to(device), area)

    def nonempty(self) -> "PointBatch":
        """Itself, or padded to one target of one (padding) point where there is none."""
        images, targets, points = self.xy.shape[:3]
        if targets and points:
            return self
        xy = self.xy.new_full((images, max(targets, 1), 1, 2), -1.0)
        if targets:
            return replace(self, xy=xy)
        return PointBatch(xy, self.category.new_full((images, 1), -1))

    def inside(self, size: Tensor) -> "PointBatch":
        """Without the points that lie outside images of ``size [B, 2]`` (height, width)."""
        limit = size.flip(1)[:, None, None].to(self.xy.dtype)
        xy = torch.where((self.xy < limit).all(-1, keepdim=True), self.xy, -1.0)
        return replace(self, xy=xy)

    def check(self, images: int, classes: int) -> None:
        """Raises a ValueError for tensors that are not points of that many images."""
        xy, category = self.xy, self.category
        if xy.dim() != 4 or xy.shape[-1] != 2 or category.shape != xy.shape[:2]:
            raise ValueError(
                "points must have xy [B, K, P, 2] and category [B, K], got "
                f"{[*xy.shape]} and {[*category.shape]}"
            )
        if len(xy) != images:
            raise ValueError(f"points must hold B={images} images, got {len(xy)}")
        if category.dtype != torch.int64:
            raise ValueError(f"points must have an int64 category, got {category.dtype}")
        # Checked where the tensor lives: no value is read back.
        in_range = ((category >= -1) & (category < classes)).all()
        torch._assert_async(in_range, f"points must have categories in [-1, C={classes})")
        area = self.area
        if area is None:
            return
        if area.shape != category.shape or not area.is_floating_point():
            raise ValueError(
                f"points must have a float area {[*category.shape]}, got {area.dtype} "
                f"{[*area.shape]}"
            )
        valid = (area.isnan() | (area.isfinite() & (area > 0))).all()
        torch._assert_async(valid, "points must have areas that are finite and positive, or NaN")

    @property
    def is_point(self) -> Tensor:
        """Bool ``[B, K, P]``: a point of a target that is not padding."""
        return (self.xy >= 0).all(-1) & (self.category >= 0)[..., None]

    def things(self, is_thing: Tensor) -> Tensor:
        """Bool ``[B, K]``: a thing that has a point; ``is_thing``: bool ``[C]``."""
        return self.is_point.any(-1) & is_thing[self.category.clamp(min=0)]

    def pixels(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Int64 (y, x) ``[B, K, P]`` of the pixel under every point, clamped into the image."""
        x, y = self.xy.unbind(-1)
        return y.long().clamp(0, height - 1), x.long().clamp(0, width - 1)

    def cells(self, height: int, width: int, stride: int) -> Tensor:
        """Int32 ``[B, K, P]``: index of every point's cell on the grid reduced by ``stride``.

        Coordinates are truncated and clamped as published; -1 where there is no point.
        """
        x, y = self.xy.unbind(-1)
        row = (y / stride).long().clamp(0, height - 1)
        column = (x / stride).long().clamp(0, width - 1)
        return torch.where(self.is_point, row * width + column, -1).int()


def class_presence(points: PointBatch, classes: int) -> Tensor:
    """Bool ``[B, C]``: the classes that have a point, i.e. image-level tags (method b.1).

    >>> class_presence(PointBatch.from_lists([[(2, [(1, 2)])]]), 4)
    tensor([[False, False,  True, False]])
    """
    shape = (points.category.shape[0], classes + 1)
    presence = points.category.new_zeros(shape, dtype=torch.bool)
    pointed = points.is_point.any(-1)
    index = torch.where(pointed, points.category, classes)
    return presence.scatter(1, index, True)[:, :classes]


def stuff_targets(semantic: Tensor, points: PointBatch, is_thing: Tensor) -> Tensor:
    """The first target of every pixel's class, int64 ``[B, H, W]``; -1 where that is a thing's, has
    no point, or is negative.

    Args:
        semantic: int ``[B, H, W]``, classes.
        points: of the same images.
        is_thing: bool ``[C]``.
    """
    images, targets = points.category.shape
    classes = len(is_thing)
    index = torch.arange(targets, device=semantic.device).expand(images, targets)
    pointed = points.is_point.any(-1)
    channel = torch.where(pointed, points.category, classes)
    first = torch.full((images, classes + 1), targets, device=semantic.device)
    first = first.scatter_reduce(1, channel, index, "amin")
    lookup = torch.where(is_thing | (first[:, :classes] == targets), -1, first[:, :classes])
    stuff = lookup.gather(1, semantic.clamp_min(0).long().flatten(1)).view_as(semantic)
    return torch.where(semantic >= 0, stuff, -1)


def likeliest_stuff(
    semantic: Tensor, points: PointBatch, is_thing: Tensor, confidence: float
) -> Tensor:
    """The target of the likeliest stuff of every pixel that no thing has, int64 ``[B, H, W]``.

    Only stuff that has a point comes into question. -1 where there is none, or none that has the
    share ``confidence`` of its likelihoods.

    Args:
        semantic: ``[B, C, H, W]``, how likely the classes are.
        points: of the same images.
        is_thing: bool ``[C]``.
        confidence: in [0, 1].
    """
    is_stuff = class_presence(points, len(is_thing)) & ~is_thing
    chosen = torch.full_like(semantic[:, 0], -1, dtype=torch.int64)
    for own, image, wanted in zip(chosen, semantic, is_stuff, strict=True):
        channels = torch.nonzero(wanted)[:, 0]
        if len(channels):
            among = image[channels]
            best, index = among.max(0)
            sure = (best > 0) & (best >= confidence * among.sum(0))
            own.copy_(torch.where(sure, channels[index], -1))
    return stuff_targets(chosen, points, is_thing)


def mark_points(semantic: Tensor, points: PointBatch, size: int) -> Tensor:
    """Raises the class of every point to 1 in a ``size`` x ``size`` square around it, in place.

    Equals ``max(semantic, T)`` with the published T = max-pooling of the one-hot points (b.1),
    without storing T.

    Args:
        semantic: ``[B, C, H, W]``, contiguous.
        points: the clicks.
        size: side of the square in pixels, odd.
    """
    images, classes, height, width = semantic.shape
    points = points.nonempty()
    y, x = points.pixels(height, width)
    reach = torch.arange(-(size // 2), size // 2 + 1, device=y.device)
    # The point lies inside the image, so clamping keeps every entry inside its square.
    rows = (y[..., None, None] + reach[:, None]).clamp(0, height - 1)
    columns = (x[..., None, None] + reach).clamp(0, width - 1)
    channel = points.category.clamp(0, classes - 1)[..., None, None, None]
    index = (channel * height + rows) * width + columns
    value = points.is_point[..., None, None].to(semantic.dtype).expand_as(index)
    semantic.view(images, classes * height * width).scatter_reduce_(
        1, index.flatten(1), value.flatten(1), "amax"
    )
    return semantic
