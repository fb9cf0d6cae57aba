"""Network, pseudo masks and losses as one module: all that a training step computes."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from point2mask.losses import (
    AnyLossConfig,
    Criterion,
    Targets,
    known_targets,
    mask_targets,
    point_targets,
)
from point2mask.models import NetworkOutput, PointNetwork
from point2mask.pseudo_masks import PseudoMasks, SupervisionConfig
from point2mask.pseudo_masks.batch import Batch
from point2mask.pseudo_masks.grower import Grower, among_clicked
from point2mask.train.errors import RunAwayError


class TrainingModule(nn.Module):
    """A batch to its losses, in one forward: what data-parallel training has to wrap.

    Heads without a loss are frozen, so that every trained parameter gets a gradient in every step.

    Attributes:
        network: what is trained.
        grower: of the masks that it learns from.
        image_losses: the images' parts of the last step's losses, ``[B]`` each, detached: they
            tell which image a loss that is not finite is of.
    """

    def __init__(
        self,
        network: PointNetwork,
        losses: AnyLossConfig,
        supervision: SupervisionConfig | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.grower = Grower(network, supervision or SupervisionConfig())
        self.criterion = Criterion(losses, network.config)
        self.image_losses: dict[str, Tensor] = {}
        heads = network.pseudo_mask_heads
        if not losses.boundary:
            heads.boundary.requires_grad_(False)
        if not losses.contrast:
            heads.feature.requires_grad_(False)
        if network.click_decoder is not None and not any(
            getattr(losses, name) for name in losses.of_clicks
        ):
            network.click_decoder.requires_grad_(False)

    def learn_from_masks(self) -> None:
        """From now on batches have masks to be learned from as true ones."""
        self.grower.supervision = replace(self.grower.supervision, kind="masks")

    def forward(self, batch: Batch, step: int) -> tuple[dict[str, Tensor], PseudoMasks]:
        """The weighted losses of a batch by name, scalars to be added up, and its masks.

        Args:
            batch: images with clicks; with true masks where they are to be learned from.
            step: number of the training step, from 0.

        Raises:
            RunAwayError: what the network says is not finite, and an operator has refused it.
        """
        network = self.network
        output = network(network.normalise(batch.images), batch.image_size)
        try:
            return self._learned(output, batch, step)
        except ValueError as error:
            maps = output.semantics.logits, output.boundary_logits, output.features
            if all(map_.isfinite().all() for map_ in maps):
                raise
            raise RunAwayError(str(error)) from error

    def _learned(
        self, output: NetworkOutput, batch: Batch, step: int
    ) -> tuple[dict[str, Tensor], PseudoMasks]:
        """The losses of what the network says, and the masks."""
        device = batch.images.device
        batch = replace(batch, image_size=batch.image_size.to(device, non_blocking=True))
        supervision = self.grower.supervision
        if supervision.kind == "points" and supervision.clicked_classes:
            output = among_clicked(output, batch)
        output = self.grower.heed(output, batch)
        with torch.autocast(device.type, enabled=False):
            targets = self.targets(output, batch, step)
        losses = self.criterion(self.network, output, targets, batch, step)
        self.image_losses = {name: loss.detach() for name, loss in losses.items()}
        return {name: loss.sum() for name, loss in losses.items()}, targets.masks

    @torch.no_grad()
    def targets(self, output: NetworkOutput, batch: Batch, step: int) -> Targets:
        """True masks, or masks grown from the clicks with what the network knows."""
        valid, spanning = output.geometry.finest, output.geometry.spanning
        supervision = self.grower.supervision
        options = supervision.at(step)
        if supervision.kind == "masks":
            targets = mask_targets(batch, valid, spanning)
        else:
            semantic = self.grower.semantic_map(output, batch)
            masks = self.grower.grow(semantic, output, batch, options)
            targets = point_targets(batch, masks, valid, options.point_size, spanning)
        if output.partition is None:
            return targets
        known = known_targets(batch, targets, valid, options.point_size, spanning)
        return replace(targets, target=known)
