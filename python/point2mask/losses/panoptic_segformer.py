"""What the queries of Panoptic SegFormer learn: classes and boxes, and masks of those matched."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from point2mask.losses.config import SegformerLossConfig
from point2mask.losses.counts import divisor, over_processes
from point2mask.losses.sets import SegmentLosses, dice, sigmoid_focal
from point2mask.losses.targets import Targets
from point2mask.models import Geometry, NetworkConfig, PanopticNetwork, PanopticOutput, ThingMasks
from point2mask.models.boxes import box_corners, generalized_iou
from point2mask.models.decoder import Locations
from point2mask.models.matching import Matching, hungarian, indices, matching_cost
from point2mask.models.precision import at_least_float32, full_precision


class Assignment(NamedTuple):
    """Which query stands for which thing, and the stuff that is drawn."""

    things: Matching
    stuff: list[Tensor]  # for every image, int64, stuff classes counted from 0


class SegformerLosses:
    """Losses of things and stuff (method b.8)."""

    def __init__(self, config: SegformerLossConfig, network: NetworkConfig) -> None:
        self.config = config
        self.num_things = network.num_things
        self.sigmoid = network.mask_activation == "sigmoid"

    def __call__(
        self,
        network: PanopticNetwork,
        output: PanopticOutput,
        targets: Targets,
        seeds: Sequence[str] = (),
    ) -> SegmentLosses:
        """The losses of a batch; the masks of the things that are matched are drawn for it.

        There is no chance in them, and no use for seeds.
        """
        with full_precision(output):
            assignment = self.assign(output.locations, targets)
        things = network.decode_things(
            output.encoded, output.locations.queries, assignment.things.queries
        )
        with full_precision(output):
            return self.compare(output, things, assignment, targets)

    def assign(self, locations: Locations, targets: Targets) -> Assignment:
        """Matches queries and things; the thing masks to decode follow from it."""
        config = self.config
        cost = matching_cost(
            at_least_float32(locations.class_logits),
            at_least_float32(locations.boxes),
            targets.category.clamp(0, self.num_things - 1),
            targets.boxes,
            (config.match_class, config.match_box, config.match_giou),
        )
        return Assignment(
            hungarian(cost, targets.things), indices(targets.seen[:, self.num_things :])
        )

    def compare(
        self,
        output: PanopticOutput,
        things: ThingMasks,
        assignment: Assignment,
        targets: Targets,
    ) -> SegmentLosses:
        """The losses where the masks of the matched queries are drawn already."""
        matched = (assignment.things.assigned[-1] >= 0).sum()
        seen = targets.seen[:, self.num_things :].sum()
        counts = over_processes(torch.stack([matched, seen]))
        divisors = divisor(counts)
        if self.config.published:
            # Things are the mean of the processes, at least 1; stuff is counted by each alone.
            counts = torch.stack([divisors[0].clamp(min=1), seen.to(divisors.dtype)])
            divisors = counts.clamp(min=1)
        losses = {
            **self._locations(output.locations, assignment.things, targets, divisors[0]),
            **self._masks(output, things, assignment, targets, divisors),
        }
        return SegmentLosses(losses, counts)

    def _locations(
        self, locations: Locations, matching: Matching, targets: Targets, divisor: Tensor
    ) -> dict[str, Tensor]:
        """Classes and boxes of all queries in all layers."""
        logits, boxes = at_least_float32(locations.class_logits), at_least_float32(locations.boxes)
        matched = matching.assigned >= 0
        index = matching.assigned.clamp(min=0)
        layers = len(index)
        category = targets.category.expand(layers, -1, -1).gather(2, index)
        classes = torch.arange(logits.shape[-1], device=logits.device)
        wanted = (category[..., None] == classes) & matched[..., None]
        aim = targets.boxes.to(boxes.dtype).expand(layers, -1, -1, -1)
        aim = aim.gather(2, index[..., None].expand(-1, -1, -1, 4))
        overlap = generalized_iou(box_corners(boxes), box_corners(aim))
        losses = {
            "thing_class": sigmoid_focal(logits, wanted.to(logits.dtype)).sum(3),
            "thing_box": (boxes - aim).abs().sum(3) * matched,
            "thing_giou": (1 - overlap) * matched,
        }
        return {name: loss.sum((0, 2)) / divisor for name, loss in losses.items()}

    def _masks(
        self,
        output: PanopticOutput,
        things: ThingMasks,
        assignment: Assignment,
        targets: Targets,
        divisors: Tensor,
    ) -> dict[str, Tensor]:
        """Masks of matched things and of the stuff that is there, at full resolution."""
        matching, masks = assignment.things, targets.masks
        losses: dict[str, list[Tensor]] = {}
        for b, (height, width) in enumerate(output.geometry.sizes):
            instance, semantic = (
                m[b, None, :height, :width] for m in (masks.instance, masks.semantic)
            )
            chosen, stuff = matching.targets[b], assignment.stuff[b]
            drawn = (
                ("thing", things.masks[:, b, : len(chosen)], instance == chosen[:, None, None]),
                (
                    "stuff",
                    output.stuff.masks[:, b, stuff],
                    semantic == self.num_things + stuff[:, None, None],
                ),
            )
            for kind, maps, aim in drawn:
                for name, loss in self._mask_losses(output.geometry, b, maps, aim).items():
                    losses.setdefault(f"{kind}_{name}", []).append(loss)
            # Decoders without a mask to draw still get a gradient, 0, for data-parallel training.
            losses["thing_dice"][b] += things.masks[:, b, :, 0, 0].sum() * 0.0
            losses["stuff_dice"][b] += output.stuff.masks[:, b, :, 0, 0].sum() * 0.0
        by_kind = dict(zip(("thing", "stuff"), divisors, strict=True))
        logits = at_least_float32(output.stuff.class_logits)
        seen = targets.seen[:, self.num_things :].to(logits.dtype)
        focal = sigmoid_focal(logits, seen.expand_as(logits)).sum((0, 2))
        return {
            "stuff_class": focal / by_kind["stuff"],
            **{name: torch.stack(parts) / by_kind[name[:5]] for name, parts in losses.items()},
        }

    def _mask_losses(
        self, geometry: Geometry, image: int, maps: Tensor, aim: Tensor
    ) -> dict[str, Tensor]:
        """Sums over layers and masks, of maps ``[L, K, h, w]`` and targets ``[K, H, W]``."""
        masks = geometry.image_to_pixels(image, at_least_float32(maps)).flatten(2)
        target = aim.flatten(1).to(masks.dtype)
        if not self.sigmoid:
            return {"dice": dice(masks, target).sum()}
        entropy = F.binary_cross_entropy_with_logits(
            masks, target.expand_as(masks), reduction="none"
        )
        return {"dice": dice(masks.sigmoid(), target).sum(), "entropy": entropy.mean(2).sum()}
