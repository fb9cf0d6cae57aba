"""What the queries of Mask2Former learn: each a class and a mask, of a thing or of stuff."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from point2mask.losses.config import Mask2FormerLossConfig
from point2mask.losses.counts import divisor, over_processes
from point2mask.losses.segments import SegmentTargets, entropy_of_pairs, segment_targets
from point2mask.losses.sets import EPSILON, SegmentLosses
from point2mask.losses.targets import Targets
from point2mask.models import Mask2FormerConfig, Mask2FormerNetwork, Mask2FormerOutput
from point2mask.models.matching import hungarian
from point2mask.models.precision import at_least_float32, full_precision


class Mask2FormerLosses:
    """Class, cross entropy and dice of the masks, matched anew in every layer.

    Mask2Former compares masks at random points; here cells of 4 pixels are compared, with the part
    of each that is the target's: nothing is drawn, and every pixel counts. M = K + stuff classes.
    """

    def __init__(self, config: Mask2FormerLossConfig, network: Mask2FormerConfig) -> None:
        self.config = config
        self.num_things, self.num_classes = network.num_things, network.num_classes

    def __call__(
        self,
        network: Mask2FormerNetwork,
        output: Mask2FormerOutput,
        targets: Targets,
        seeds: Sequence[str] = (),
    ) -> SegmentLosses:
        """The losses of a batch; there is no chance in them, and no use for seeds."""
        with full_precision(output):
            return self.compare(output, targets)

    def compare(self, output: Mask2FormerOutput, targets: Targets) -> SegmentLosses:
        """The losses of a batch."""
        config = self.config
        logits, masks = (
            at_least_float32(output.queries.class_logits),
            at_least_float32(output.queries.masks),
        )
        found = segment_targets(targets, output.geometry, self.num_things, self.num_classes)
        entropy, overlap = self.pairs(output, masks, found)
        index = found.label[None, :, None].expand(*logits.shape[:3], -1)
        cost = (
            -config.segment_class * logits.detach().softmax(-1).gather(3, index)
            + config.segment_entropy * entropy.detach()
            + config.segment_dice * overlap.detach()
        )
        assigned = hungarian(cost, found.exists).assigned  # [L, B, Q]
        matched = assigned >= 0
        chosen = assigned.clamp(min=0)[..., None]
        wanted = torch.where(matched, index.gather(3, chosen)[..., 0], self.num_classes)
        weight = torch.where(matched, 1.0, config.no_object)
        surprise = F.cross_entropy(logits.flatten(0, 2), wanted.flatten(), reduction="none")
        counts = over_processes(found.counts(self.num_things))
        of_masks = divisor(counts.sum())
        # Counts, which are exact, however the processes share them.
        segments, rest = over_processes(torch.stack([matched[-1].sum(), (~matched[-1]).sum()]))
        of_classes = divisor(segments + config.no_object * rest)
        losses = {"segment_class": surprise.view_as(weight) * weight / of_classes}
        for name, pairs in (("segment_entropy", entropy), ("segment_dice", overlap)):
            losses[name] = pairs.gather(3, chosen)[..., 0] * matched / of_masks
        return SegmentLosses({n: loss.sum((0, 2)) for n, loss in losses.items()}, counts)

    def pairs(
        self, output: Mask2FormerOutput, masks: Tensor, targets: SegmentTargets
    ) -> tuple[Tensor, Tensor]:
        """Cross entropy and dice of every query with every target, ``[L, B, Q, M]`` each."""
        entropies, overlaps = [], []
        for b, coverage in enumerate(targets.coverage):
            part = coverage.to(masks.dtype)
            h, w = part.shape[1:]
            x, target = masks[:, b, :, :h, :w].flatten(2), part.flatten(1)
            entropies.append(entropy_of_pairs(x, target))
            p = x.sigmoid()
            squares = p.square().sum(-1, keepdim=True) + target.square().sum(-1)
            overlaps.append(1 - 2 * (p @ target.T) / (squares + 2 * EPSILON))
        return torch.stack(entropies, 1), torch.stack(overlaps, 1)
