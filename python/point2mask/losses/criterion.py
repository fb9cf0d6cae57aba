"""All losses of a training step, weighted (method b.2 and b.8)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from point2mask.losses.boundary import boundary_separation
from point2mask.losses.clicks import click_losses
from point2mask.losses.colors import Colors
from point2mask.losses.config import (
    AnyLossConfig,
    Mask2FormerLossConfig,
    MaskDINOLossConfig,
    SegformerLossConfig,
)
from point2mask.losses.contrast import point_to_mask_contrast
from point2mask.losses.mask2former import Mask2FormerLosses
from point2mask.losses.maskdino import MaskDINOLosses
from point2mask.losses.panoptic_segformer import SegformerLosses
from point2mask.losses.point_cross_entropy import point_cross_entropy
from point2mask.losses.presence import class_presence_focal
from point2mask.losses.published import published_contrast, published_separation
from point2mask.losses.sets import SegmentLosses
from point2mask.losses.targets import Targets
from point2mask.models import (
    AnyNetworkConfig,
    Mask2FormerConfig,
    MaskDINOConfig,
    NetworkConfig,
    NetworkOutput,
    PointNetwork,
)
from point2mask.models.precision import at_least_float32, full_precision
from point2mask.pseudo_masks.batch import Batch


class Criterion:
    """Network output and targets to losses.

    Attributes:
        segments: the losses of what the network finds, which depend on how it does.
    """

    # Of its own network and output; and of a text of every image that what it draws follows from.
    segments: Callable[[Any, Any, Targets, Sequence[str]], SegmentLosses]

    def __init__(self, config: AnyLossConfig, network: AnyNetworkConfig) -> None:
        self.config = config
        if isinstance(config, Mask2FormerLossConfig) and isinstance(network, Mask2FormerConfig):
            self.segments = Mask2FormerLosses(config, network)
        elif isinstance(config, MaskDINOLossConfig) and isinstance(network, MaskDINOConfig):
            self.segments = MaskDINOLosses(config, network)
        elif isinstance(config, SegformerLossConfig) and isinstance(network, NetworkConfig):
            self.segments = SegformerLosses(config, network)
        else:
            raise ValueError(
                f"losses must be those of {network.architecture}, got those of "
                f"{config.architecture}"
            )

    def __call__(
        self,
        network: PointNetwork,
        output: NetworkOutput,
        targets: Targets,
        batch: Batch,
        step: int,
    ) -> dict[str, Tensor]:
        """The weighted losses by name, ``[B]`` each: the images' parts, whose sum is the loss.

        With several processes the mean of their sums is the loss of all images together.

        Args:
            network: that the output is of; it draws what only training needs.
            output: of the network.
            targets: of the batch.
            batch: images in [0, 1] and clicks.
            step: training step, for the warm-up.
        """
        # The same for an image in whatever batch and process, and in a run that is taken up again.
        seeds = [f"{step}/{name}" for name in batch.names]
        found = self.segments(network, output, targets, seeds)
        colors = Colors(self.config, network, output, batch)
        with full_precision(output):
            losses = {
                **found.losses,
                **self._semantics(output, targets, colors),
                **self._pseudo_mask_maps(output, targets, batch),
            }
            if output.partition is not None:
                losses |= click_losses(self.config, output, targets, batch, colors)
            return self._weighted(losses, found.counts, step)

    def _semantics(
        self, output: NetworkOutput, targets: Targets, colors: Colors
    ) -> dict[str, Tensor]:
        """Image tags, known classes and, where classes are not known, colours."""
        config = self.config
        logits = at_least_float32(output.semantics.logits)
        by_class = config.point_by_class and not targets.complete
        losses = {
            "semantic_presence": class_presence_focal(
                at_least_float32(output.semantics.presence_logits), targets.tags, config.published
            ),
            "semantic_point": point_cross_entropy(
                logits, targets.label, config.published, by_class
            ),
        }
        if config.semantic_lab and not targets.complete:
            losses["semantic_lab"] = colors.lab_affinity(logits)
        if config.semantic_tree and not targets.complete:
            losses["semantic_tree"] = colors.tree_energy(logits, targets.label)
        return losses

    def _pseudo_mask_maps(
        self, output: NetworkOutput, targets: Targets, batch: Batch
    ) -> dict[str, Tensor]:
        """The maps that serve the pseudo masks, taught by the masks."""
        losses, masks, config = {}, targets.masks, self.config
        geometry, maps = output.geometry, (masks.instance, masks.semantic)
        if config.boundary:
            logits = at_least_float32(output.boundary_logits)
            losses["boundary"] = (
                published_separation(logits, geometry, *maps, batch.is_thing)
                if config.published
                else boundary_separation(logits, geometry, *maps)
            )
        if config.contrast:
            features, points = at_least_float32(output.features), batch.points
            rest = (*maps, batch.is_thing, config.temperature)
            losses["contrast"] = (
                published_contrast(features, geometry, points, *rest)
                if config.published
                else point_to_mask_contrast(features, points, *rest)
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
        if not config.published:
            share = torch.where(counts > 0, share, 1.0)
        factor = min(step / config.warmup_iterations, 1.0) if config.warmup_iterations else 1.0
        weighted = {}
        for name, loss in losses.items():
            weight = getattr(config, name)
            if name not in config.warmup_exempt:
                weight *= factor
            if name in config.of_things:
                loss = loss * share[0]
            elif name in config.of_stuff:
                loss = loss * share[1]
            weighted[name] = weight * loss
        return weighted
