"""What the queries of MaskDINO learn: each a class, a box and a mask, of a thing or of stuff."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from point2mask.losses.config import MaskDINOLossConfig
from point2mask.losses.counts import divisor, over_processes
from point2mask.losses.segments import SegmentTargets, entropy_of_pairs, segment_targets
from point2mask.losses.sets import SegmentLosses, sigmoid_focal
from point2mask.losses.targets import Targets
from point2mask.models import MaskDINOConfig, MaskDINONetwork, MaskDINOOutput
from point2mask.models.boxes import box_corners, generalized_iou
from point2mask.models.denoising import Denoising, draws, noised
from point2mask.models.maskdino import drawing_features
from point2mask.models.matching import Pairs, focal_class_cost, hungarian_pairs
from point2mask.models.precision import at_least_float32, full_precision
from point2mask.models.segment_heads import Predictions

EPSILON = 1e-6  # in the denominators of the overlap of boxes
PARTS = ("class", "box", "giou", "dice", "entropy")


class MaskMaps(NamedTuple):
    """What masks of a batch are drawn from and compared with, S cells of 4 pixels an image."""

    features: list[Tensor]  # [d, S]
    coverage: list[Tensor]  # [M, S]


class MaskDINOLosses:
    """Class, box and mask of every layer's queries, matched anew in each, and of noised targets.

    MaskDINO compares masks at random points; here cells of 4 pixels are compared, with the part
    of each that is the target's: every pixel counts. Stuff has a class and a mask, but no box to
    be learned or to be matched by.

    Attributes:
        boxed: classes below have boxes.
    """

    def __init__(self, config: MaskDINOLossConfig, network: MaskDINOConfig) -> None:
        self.config, self.network = config, network
        self.boxed = network.num_things

    def __call__(
        self,
        network: MaskDINONetwork,
        output: MaskDINOOutput,
        targets: Targets,
        seeds: Sequence[str],
    ) -> SegmentLosses:
        """The losses of a batch; the noise of an image follows from its seed."""
        sizes = self.network
        with full_precision(output):
            found = segment_targets(targets, output.geometry, sizes.num_things, sizes.num_classes)
        if not sizes.denoising_queries:
            return self.compare(output, found)
        boxes = found.boxes
        drawn = draws(seeds, sizes.denoising_queries).to(boxes.device, boxes.dtype)
        noise = sizes.num_classes, sizes.denoising_noise
        denoising = noised(found.label, boxes, found.exists, drawn, *noise)
        again = network.decode_denoising(output.encoded, output.states, denoising)
        return self.compare(output, found, denoising, again)

    def compare(
        self,
        output: MaskDINOOutput,
        targets: SegmentTargets,
        denoising: Denoising | None = None,
        again: Predictions | None = None,
    ) -> SegmentLosses:
        """The losses where what is said of the noised targets is there already."""
        with full_precision(output):
            counts = over_processes(targets.counts(self.network.num_things))
            total = divisor(counts.sum())
            losses = {
                f"segment_{name}": loss.sum(0) / total
                for name, loss in self.matched(output, targets).items()
            }
            if denoising is not None and again is not None:
                every = self.denoised(output, targets, denoising, again)
                losses |= {f"denoising_{n}": loss.sum(0) / total for n, loss in every.items()}
        return SegmentLosses(losses, counts)

    def matched(self, output: MaskDINOOutput, targets: SegmentTargets) -> dict[str, Tensor]:
        """Sums over the queries by part, ``[L, B]`` each."""
        said, maps = _full(output.predictions), self._maps(output, targets)
        pairs = hungarian_pairs(self.cost(said, targets, maps), targets.exists)
        wanted = torch.zeros_like(said.class_logits)
        layer = torch.arange(len(wanted), device=wanted.device)[:, None]
        for b, (query, target) in enumerate(zip(*pairs, strict=True)):
            wanted[layer, b, query, targets.label[b][target]] = 1.0
        losses = self._pairs(said, targets, maps, pairs)
        losses["class"] = sigmoid_focal(said.class_logits, wanted).sum((2, 3))
        return losses

    def denoised(
        self,
        output: MaskDINOOutput,
        targets: SegmentTargets,
        denoising: Denoising,
        again: Predictions,
    ) -> dict[str, Tensor]:
        """Means over the groups of noised targets by part, ``[L, B]`` each."""
        said, maps = _full(again), self._maps(output, targets)
        layers, slots = len(said.boxes), said.boxes.shape[2]
        slot = torch.arange(slots, device=denoising.target.device).expand(layers, -1)
        aims = denoising.target.clamp(min=0)
        pairs = Pairs([slot] * len(aims), [aim.expand(layers, -1) for aim in aims])
        real = denoising.target >= 0
        losses = self._pairs(said, targets, maps, pairs, real)
        label = targets.label.gather(1, aims)
        logits = said.class_logits
        classes = torch.arange(logits.shape[-1], device=label.device)
        wanted = (label[..., None] == classes) & real[..., None]
        focal = sigmoid_focal(logits, wanted.to(logits.dtype).expand_as(logits))
        used = (denoising.group >= 0)[..., None]
        losses["class"] = (focal * used).sum((2, 3))
        return {name: loss / denoising.groups for name, loss in losses.items()}

    @torch.no_grad()
    def cost(self, said: Predictions, targets: SegmentTargets, maps: MaskMaps) -> Tensor:
        """Of every query for every target in every layer: ``[L, B, Q, M]``."""
        config = self.config
        box, aim = said.boxes[..., None, :], targets.boxes[:, None].to(said.boxes.dtype)
        overlap = generalized_iou(box_corners(box), box_corners(aim), EPSILON)
        of_boxes = config.segment_box * (box - aim).abs().sum(-1) - config.segment_giou * overlap
        boxed = (targets.label < self.boxed)[:, None]
        cost = config.segment_class * focal_class_cost(said.class_logits, targets.label)
        cost = cost + torch.where(boxed, of_boxes, 0.0)
        for layer in range(len(cost)):  # masks of one layer and image at a time
            for b, (features, coverage) in enumerate(zip(*maps, strict=True)):
                x = said.embedding[layer, b] @ features
                p = x.sigmoid()
                sums = p.sum(-1, keepdim=True) + coverage.sum(-1)
                cost[layer, b] += config.segment_entropy * entropy_of_pairs(
                    x, coverage
                ) + config.segment_dice * (1 - (2 * (p @ coverage.T) + 1) / (sums + 1))
        return cost

    def _pairs(
        self,
        said: Predictions,
        targets: SegmentTargets,
        maps: MaskMaps,
        pairs: Pairs,
        real: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Boxes and masks of pairs of a query and its target, ``[L, B]`` each.

        ``real``: bool ``[B, P]``, which of the P pairs count; all by default.
        """
        parts: dict[str, list[Tensor]] = {name: [] for name in PARTS[1:]}
        for b, (query, target) in enumerate(zip(*pairs, strict=True)):
            counted = torch.ones_like(target, dtype=torch.bool) if real is None else real[b]
            boxed = counted & (targets.label[b][target] < self.boxed)
            box = _rows(said.boxes[:, b], query)
            aim = targets.boxes[b][target].to(box.dtype)
            overlap = generalized_iou(box_corners(box), box_corners(aim), EPSILON)
            parts["box"].append(((box - aim).abs().sum(-1) * boxed).sum(-1))
            parts["giou"].append(((1 - overlap) * boxed).sum(-1))
            x = _rows(said.embedding[:, b], query) @ maps.features[b]
            part = maps.coverage[b][target]
            p = x.sigmoid()
            sums = p.sum(-1) + part.sum(-1)
            dice = 1 - (2 * (p * part).sum(-1) + 1) / (sums + 1)
            entropy = F.binary_cross_entropy_with_logits(x, part, reduction="none").mean(-1)
            parts["dice"].append((dice * counted).sum(-1))
            parts["entropy"].append((entropy * counted).sum(-1))
        return {name: torch.stack(losses, 1) for name, losses in parts.items()}

    @staticmethod
    def _maps(output: MaskDINOOutput, targets: SegmentTargets) -> MaskMaps:
        features = at_least_float32(drawing_features(output.encoded))
        own, parts = [], []
        for map_, coverage in zip(features, targets.coverage, strict=True):
            h, w = coverage.shape[1:]
            own.append(map_[:, :h, :w].flatten(1))
            parts.append(coverage.flatten(1).to(map_.dtype))
        return MaskMaps(own, parts)


def _full(said: Predictions) -> Predictions:
    return Predictions(*(at_least_float32(part) for part in said))


def _rows(values: Tensor, index: Tensor) -> Tensor:
    """Of ``[L, Q, n]`` the rows ``[L, P]``: ``[L, P, n]``."""
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[-1]))
