"""What the queries of Mask2Former learn: each a class and a mask, of a thing or of stuff."""

import torch
import torch.nn.functional as F
from torch import Tensor

from point2mask.losses.config import Mask2FormerLossConfig
from point2mask.losses.counts import divisor, divisor_of, over_processes
from point2mask.losses.sets import EPSILON, SegmentLosses
from point2mask.losses.targets import Targets
from point2mask.models import Mask2FormerConfig, Mask2FormerNetwork, Mask2FormerOutput
from point2mask.models.geometry import cells
from point2mask.models.mask2former import MASK_STRIDE
from point2mask.models.matching import hungarian
from point2mask.models.precision import full, full_precision


class Mask2FormerLosses:
    """Class, cross entropy and dice of the masks, matched anew in every layer.

    Mask2Former compares masks at random points; here cells of 4 pixels are compared, with the part
    of each that is the target's: nothing is drawn, and every pixel counts. M = K + stuff classes.
    """

    def __init__(self, config: Mask2FormerLossConfig, network: Mask2FormerConfig) -> None:
        self.config = config
        self.num_things, self.num_classes = network.num_things, network.num_classes

    def __call__(
        self, network: Mask2FormerNetwork, output: Mask2FormerOutput, targets: Targets
    ) -> SegmentLosses:
        with full_precision(output):
            return self.of(output, targets)

    def of(self, output: Mask2FormerOutput, targets: Targets) -> SegmentLosses:
        """The losses of a batch."""
        config, things = self.config, targets.category.shape[1]
        logits, masks = full(output.queries.class_logits), full(output.queries.masks)
        stuff = torch.arange(self.num_things, self.num_classes, device=logits.device)
        label = torch.cat((targets.category, stuff.expand(len(targets.category), -1)), 1)
        label = label.clamp(min=0)
        entropy, overlap, exists = self._pairs(output, masks, targets)
        index = label[None, :, None].expand(*logits.shape[:3], -1)
        cost = (
            -config.segment_class * logits.detach().softmax(-1).gather(3, index)
            + config.segment_entropy * entropy.detach()
            + config.segment_dice * overlap.detach()
        )
        assigned = hungarian(cost, exists).assigned  # [L, B, Q]
        found = assigned >= 0
        chosen = assigned.clamp(min=0)[..., None]
        wanted = torch.where(found, index.gather(3, chosen)[..., 0], self.num_classes)
        weight = torch.where(found, 1.0, config.no_object)
        surprise = F.cross_entropy(logits.flatten(0, 2), wanted.flatten(), reduction="none")
        counts = over_processes(torch.stack([exists[:, :things].sum(), exists[:, things:].sum()]))
        of_masks = divisor(counts.sum())
        losses = {"segment_class": surprise.view_as(weight) * weight / divisor_of(weight[-1].sum())}
        for name, pairs in (("segment_entropy", entropy), ("segment_dice", overlap)):
            losses[name] = pairs.gather(3, chosen)[..., 0] * found / of_masks
        return SegmentLosses({n: loss.sum((0, 2)) for n, loss in losses.items()}, counts)

    def _pairs(
        self, output: Mask2FormerOutput, masks: Tensor, targets: Targets
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Cross entropy and dice of every query with every target, ``[L, B, Q, M]`` each.

        Third, bool ``[B, M]``, which targets exist. A thing without a pixel is none: no mask could
        show it.
        """
        entropies, overlaps, exists = [], [], []
        for b, size in enumerate(output.geometry.sizes):
            part = self.coverage(targets, b, size).to(masks.dtype)  # [M, h, w]
            h, w = part.shape[1:]
            x, target = masks[:, b, :, :h, :w].flatten(2), part.flatten(1)
            exists.append(target.any(1))
            # -t log p - (1 - t) log (1 - p) = softplus(x) - t x of p = sigmoid(x)
            total = F.softplus(x).sum(-1, keepdim=True) - x @ target.T
            entropies.append(total / target.shape[1])
            p = x.sigmoid()
            squares = p.square().sum(-1, keepdim=True) + target.square().sum(-1)
            overlaps.append(1 - 2 * (p @ target.T) / (squares + 2 * EPSILON))
        return torch.stack(entropies, 1), torch.stack(overlaps, 1), torch.stack(exists)

    def coverage(self, targets: Targets, image: int, size: tuple[int, int]) -> Tensor:
        """The part of every cell of 4 pixels that is a target's, ``[M, h, w]``, h and w rounded up.

        Counts of pixels: integers, whose sum is the same in any order.
        """
        height, width = size
        things, stuff = targets.category.shape[1], self.num_classes - self.num_things
        instance, semantic = (
            x[image, :height, :width].long()
            for x in (targets.masks.instance, targets.masks.semantic)
        )
        of_stuff = things + semantic - self.num_things
        target = torch.where(semantic >= self.num_things, of_stuff, instance)
        target = torch.where(target < 0, things + stuff, target)  # pixels of none
        rows, columns = (cells(length, MASK_STRIDE) for length in size)
        y = torch.arange(height, device=target.device)[:, None] // MASK_STRIDE
        x = torch.arange(width, device=target.device) // MASK_STRIDE
        cell = target * (rows * columns) + y * columns + x
        counts = torch.zeros(
            (things + stuff + 1) * rows * columns, dtype=torch.int32, device=target.device
        )
        counts.scatter_add_(0, cell.flatten(), torch.ones_like(cell, dtype=torch.int32).flatten())
        counts = counts.view(-1, rows, columns)
        return counts[:-1] / counts.sum(0)
