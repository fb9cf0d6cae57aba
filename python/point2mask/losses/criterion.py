"""All losses of a training step, weighted (method b.2 and b.8)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from point2mask.data.batch import Batch
from point2mask.losses.affinity import PUBLISHED_KERNELS, cell_lab, lab_affinity
from point2mask.losses.boundary import boundary_separation
from point2mask.losses.cells import cell_means
from point2mask.losses.contrast import point_to_mask_contrast
from point2mask.losses.counts import divisor, over_processes
from point2mask.losses.matching import Matching, hungarian, indices, matching_cost
from point2mask.losses.point_cross_entropy import point_cross_entropy
from point2mask.losses.presence import class_presence_focal
from point2mask.losses.sets import box_corners, dice, generalized_iou, sigmoid_focal
from point2mask.losses.targets import Targets
from point2mask.losses.tree_energy import image_tree, tree_energy
from point2mask.models import Geometry, NetworkConfig, NetworkOutput, ThingMasks
from point2mask.models.decoder import Locations

# All losses by name; the entropies exist for sigmoid masks alone.
LOSSES = (
    *("thing_class", "thing_box", "thing_giou", "thing_dice", "thing_entropy"),
    *("stuff_class", "stuff_dice", "stuff_entropy"),
    *("semantic_presence", "semantic_point", "semantic_lab", "semantic_tree"),
    *("contrast", "boundary"),
)


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Weights and constants; the defaults are the published ones.

    A loss of weight 0 counts nothing; those of colours, boundary and contrast are not computed.
    """

    thing_class: float = 2.0
    thing_box: float = 5.0
    thing_giou: float = 2.0
    thing_dice: float = 2.0
    stuff_class: float = 4.0  # published as 2, twice
    stuff_dice: float = 2.0
    mask_entropy: float = 2.0  # only of sigmoid masks, which are not the published ones
    semantic_presence: float = 2.0
    semantic_point: float = 1.0
    semantic_lab: float = 3.0  # λ_color
    semantic_tree: float = 3.0  # λ_color
    contrast: float = 1.0
    boundary: float = 1.0
    # Over so many steps the losses grow linearly from 0, but for those named. The published choice
    # (the tree grows, the classes of things do not) follows from substrings of their names there.
    warmup_iterations: int = 14659
    warmup_exempt: tuple[str, ...] = (
        "thing_class",
        "semantic_presence",
        "semantic_point",
        "semantic_lab",
        "contrast",
    )
    match_class: float = 2.0
    match_box: float = 5.0
    match_giou: float = 2.0
    # (size, weight) of the LAB windows; ((3, 1.0),) with dilation 1 is the supplement's Eq. 4.
    lab_kernels: tuple[tuple[int, float], ...] = PUBLISHED_KERNELS
    lab_dilation: int = 2
    tree_sigma: float = 0.02  # θ₂
    temperature: float = 0.07  # τ of the contrast

    def __post_init__(self) -> None:
        unknown = [name for name in self.warmup_exempt if name not in LOSSES]
        if unknown:
            raise ValueError(f"warmup_exempt must be of {', '.join(LOSSES)}, got {unknown[0]!r}")


class Assignment(NamedTuple):
    """Which query stands for which thing, and the stuff that is drawn."""

    things: Matching
    stuff: list[Tensor]  # for every image, int64, stuff classes counted from 0


class Criterion:
    """Network output and targets to losses."""

    def __init__(self, config: LossConfig, network: NetworkConfig) -> None:
        self.config = config
        self.num_things = network.num_things
        self.sigmoid = network.mask_activation == "sigmoid"

    def assign(self, locations: Locations, targets: Targets) -> Assignment:
        """Matches queries and things; the thing masks to decode follow from it."""
        config = self.config
        cost = matching_cost(
            _full(locations.class_logits),
            _full(locations.boxes),
            targets.category.clamp(0, self.num_things - 1),
            targets.boxes,
            (config.match_class, config.match_box, config.match_giou),
        )
        return Assignment(
            hungarian(cost, targets.things), indices(targets.seen[:, self.num_things :])
        )

    def __call__(
        self,
        output: NetworkOutput,
        things: ThingMasks,
        assignment: Assignment,
        targets: Targets,
        batch: Batch,
        guide: Tensor,
        step: int,
    ) -> dict[str, Tensor]:
        """The weighted losses by name, ``[B]`` each: the images' parts, whose sum is the loss.

        With several processes the mean of their sums is the loss of all images together.

        Args:
            output: of the network.
            things: masks of the queries that :meth:`assign` matched.
            assignment: of :meth:`assign`.
            targets: of the batch.
            batch: images in [0, 1] and clicks.
            guide: mean and deviation of the backbone's colours, ``[2, 3]``.
            step: training step, for the warm-up.
        """
        counts = over_processes(
            torch.stack(
                [
                    (assignment.things.assigned[-1] >= 0).sum(),
                    targets.seen[:, self.num_things :].sum(),
                ]
            )
        )
        divisors = divisor(counts)
        losses = {
            **self._locations(output.locations, assignment.things, targets, divisors[0]),
            **self._masks(output, things, assignment, targets, divisors),
            **self._semantics(output, targets, batch, guide),
            **self._pseudo_mask_maps(output, targets, batch),
        }
        return self._weighted(losses, counts, step)

    def _locations(
        self, locations: Locations, matching: Matching, targets: Targets, divisor: Tensor
    ) -> dict[str, Tensor]:
        """Classes and boxes of all queries in all layers."""
        logits, boxes = _full(locations.class_logits), _full(locations.boxes)
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
        output: NetworkOutput,
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
        logits = _full(output.stuff.class_logits)
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
        masks = geometry.image_to_pixels(image, _full(maps)).flatten(2)
        target = aim.flatten(1).to(masks.dtype)
        if not self.sigmoid:
            return {"dice": dice(masks, target).sum()}
        entropy = F.binary_cross_entropy_with_logits(
            masks, target.expand_as(masks), reduction="none"
        )
        return {"dice": dice(masks.sigmoid(), target).sum(), "entropy": entropy.mean(2).sum()}

    def _semantics(
        self, output: NetworkOutput, targets: Targets, batch: Batch, guide: Tensor
    ) -> dict[str, Tensor]:
        """Image tags, known classes and, where classes are not known, colours."""
        config = self.config
        logits = _full(output.semantics.logits)
        losses = {
            "semantic_presence": class_presence_focal(
                _full(output.semantics.presence_logits), targets.tags
            ),
            "semantic_point": point_cross_entropy(logits, targets.label),
        }
        if targets.complete or not (config.semantic_lab or config.semantic_tree):
            return losses
        valid = output.geometry.finest
        colors = cell_means(batch.images, batch.image_size, output.geometry.shapes[0])
        if config.semantic_lab:
            losses["semantic_lab"] = lab_affinity(
                logits, cell_lab(colors, valid), valid, config.lab_kernels, config.lab_dilation
            )
        if config.semantic_tree:
            mean, std = guide[..., None, None]
            tree = image_tree((colors - mean) / std, valid, config.tree_sigma)
            losses["semantic_tree"] = tree_energy(logits, tree, valid, targets.label)
        return losses

    def _pseudo_mask_maps(
        self, output: NetworkOutput, targets: Targets, batch: Batch
    ) -> dict[str, Tensor]:
        """The maps that serve the pseudo masks, taught by the masks."""
        losses, masks = {}, targets.masks
        if self.config.boundary:
            losses["boundary"] = boundary_separation(
                _full(output.boundary_logits), output.geometry, masks.instance, masks.semantic
            )
        if self.config.contrast:
            losses["contrast"] = point_to_mask_contrast(
                _full(output.features),
                batch.points,
                masks.instance,
                masks.semantic,
                batch.is_thing,
                self.config.temperature,
            )
        return losses

    def _weighted(
        self, losses: Mapping[str, Tensor], counts: Tensor, step: int
    ) -> dict[str, Tensor]:
        """Weights, the share of things and stuff, and the warm-up.

        The semantic losses are scaled by the share of things, as published. A kind that the batch
        lacks has the share 1, published 0: all that is left of it are classes to be found absent.
        """
        config = self.config
        share = counts / counts.sum().clamp(min=1)
        share = torch.where(counts > 0, share, 1.0)
        factor = min(step / config.warmup_iterations, 1.0) if config.warmup_iterations else 1.0
        weighted = {}
        for name, loss in losses.items():
            kind, _, part = name.partition("_")
            weight = config.mask_entropy if part == "entropy" else getattr(config, name)
            if name not in config.warmup_exempt:
                weight *= factor
            if kind in ("thing", "semantic", "stuff"):
                loss = loss * share[int(kind == "stuff")]
            weighted[name] = weight * loss
        return weighted


def check_finite(losses: Mapping[str, Tensor], names: Sequence[str], step: int) -> None:
    """Raises where a loss is NaN or infinite; waits for the device.

    Args:
        losses: ``[B]`` each, the images' parts.
        names: of the images.
        step: for the message.

    Raises:
        FloatingPointError: names the losses and images.
    """
    finite = torch.stack([loss.detach().isfinite() for loss in losses.values()]).cpu()
    if finite.all():
        return
    bad = [
        f"{loss} of {name}"
        for loss, row in zip(losses, finite.tolist(), strict=True)
        for name, good in zip(names, row, strict=True)
        if not good
    ]
    raise FloatingPointError(f"step {step}: not finite: {', '.join(bad)}")


def _full(x: Tensor) -> Tensor:
    """At least float32: losses are not for half precision."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
