"""Network, pseudo masks and losses as one module: all that a training step computes."""

from dataclasses import dataclass, field, replace
from math import inf
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from point2mask.data.batch import Batch
from point2mask.engine.areas import network_areas
from point2mask.engine.refine import refine
from point2mask.losses import Criterion, LossConfig, Targets, mask_targets, point_targets
from point2mask.models import NetworkOutput, PointNetwork
from point2mask.pseudo_masks import (
    PseudoMaskOptions,
    PseudoMasks,
    class_presence,
    pseudo_masks,
    sobel_lab_edges,
)

IMPOSSIBLE = -1e4  # a logit whose exponential is 0, and which half precision holds


@dataclass(frozen=True, kw_only=True)
class SupervisionConfig:
    """What the network learns from.

    Attributes:
        kind: ``points``, masks grown from the clicks anew in every step, or ``masks``, the true
            masks of the batch.
        pseudo_masks: how masks are grown. ``assigner="shortest_path"`` is PSPS: its edge cost has
            the Sobel edges of the picture in place of the learned boundary, and no first phase.
            Beside the supplies of :mod:`point2mask.pseudo_masks` there is ``network``: the areas of
            the masks that the network itself draws (:func:`network_areas`).
        transport_warmup: up to this step ``transport`` gives way to ``nearest``, which is what the
            published first phase amounts to (b.5). Published: 12000 on VOC, 60000 on COCO.
        refine_sigma: above 0 the semantic map is filtered along the picture's tree before masks are
            grown (:func:`point2mask.engine.refine.refine`). Published: 0, not at all.
        clicked_classes: classes without a click in an image have no part in its semantic map while
            it learns from clicks. With many classes this keeps the colour losses from their easy
            way out, one class everywhere. Published: False.
    """

    kind: Literal["points", "masks"] = "points"
    pseudo_masks: PseudoMaskOptions = field(default_factory=PseudoMaskOptions)
    transport_warmup: int = 12000
    refine_sigma: float = 0.0
    clicked_classes: bool = False

    def __post_init__(self) -> None:
        if self.kind not in ("points", "masks"):
            raise ValueError(f"kind must be 'points' or 'masks', got {self.kind!r}")
        if not 0 <= self.refine_sigma < inf:
            raise ValueError(f"refine_sigma must not be negative, got {self.refine_sigma}")

    def at(self, step: int) -> PseudoMaskOptions:
        """How masks are grown in a step."""
        if self.pseudo_masks.assigner == "transport" and step <= self.transport_warmup:
            return replace(self.pseudo_masks, assigner="nearest")
        return self.pseudo_masks


class TrainingModule(nn.Module):
    """A batch to its losses, in one forward: what data-parallel training has to wrap.

    Heads without a loss are frozen, so that every trained parameter gets a gradient in every step.

    Attributes:
        network: what is trained.
        image_losses: the images' parts of the last step's losses, ``[B]`` each, detached; for
            :func:`point2mask.losses.check_finite`.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: PointNetwork,
        losses: LossConfig | None = None,
        supervision: SupervisionConfig | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.supervision = supervision or SupervisionConfig()
        losses = losses or LossConfig()
        self.criterion = Criterion(losses, network.config)
        self.image_losses: dict[str, Tensor] = {}
        heads = network.pseudo_mask_heads
        if not losses.boundary:
            heads.boundary.requires_grad_(False)
        if not losses.contrast:
            heads.feature.requires_grad_(False)
        for name in ("mean", "std"):
            value = torch.tensor(getattr(network.backbone, name))
            self.register_buffer(name, value, persistent=False)

    def forward(self, batch: Batch, step: int) -> tuple[dict[str, Tensor], PseudoMasks]:
        """The weighted losses of a batch by name, scalars to be added up, and its masks.

        Args:
            batch: images with clicks; with true masks where they are to be learned from.
            step: number of the training step, from 0.
        """
        network = self.network
        output = network(self.normalise(batch.images), batch.image_size)
        device = batch.images.device
        batch = replace(batch, image_size=batch.image_size.to(device, non_blocking=True))
        if self.supervision.kind == "points" and self.supervision.clicked_classes:
            output = among_clicked(output, batch)
        with torch.autocast(device.type, enabled=False):
            targets = self.targets(output, batch, step)
        guide = torch.stack((self.mean, self.std))
        losses = self.criterion(network, output, targets, batch, guide, step)
        self.image_losses = {name: loss.detach() for name, loss in losses.items()}
        return {name: loss.sum() for name, loss in losses.items()}, targets.masks

    def normalise(self, images: Tensor) -> Tensor:
        """``[B, 3, H, W]`` in [0, 1] as the backbone wants it."""
        mean, std = (x[:, None, None] for x in (self.mean, self.std))
        return (images - mean) / std

    @torch.no_grad()
    def targets(self, output: NetworkOutput, batch: Batch, step: int) -> Targets:
        """True masks, or masks grown from the clicks with what the network knows."""
        valid = output.geometry.finest
        if self.supervision.kind == "masks":
            return mask_targets(batch, valid)
        options = self.supervision.at(step)
        semantic = self.semantic_map(output, batch)
        masks = self.grow(semantic, output, batch, options)
        return point_targets(batch, masks, valid, options.point_size)

    @torch.no_grad()
    def semantic_map(self, output: NetworkOutput, batch: Batch) -> Tensor:
        """Probabilities ``[B, C, H, W]`` that masks are grown from, whatever the clicks are."""
        logits = output.semantics.logits[-1].float()
        semantic = output.geometry.to_pixels(logits).softmax(1)
        if not self.supervision.refine_sigma:
            return semantic
        guide = self.normalise(batch.images)
        return refine(semantic, guide, batch.image_size, self.supervision.refine_sigma)

    @torch.no_grad()
    def grow(
        self, semantic: Tensor, output: NetworkOutput, batch: Batch, options: PseudoMaskOptions
    ) -> PseudoMasks:
        """Masks grown from the clicks of a batch; ``semantic`` is its :meth:`semantic_map`."""
        areas = None
        if options.assigner == "transport" and options.transport.supplies == "network":
            points = batch.points.nonempty()
            areas = network_areas(self.network, output, points, batch.is_thing, batch.image_size)
            areas = areas[:, : batch.points.category.shape[1]]
            options = replace(options, transport=replace(options.transport, supplies="given"))
        learned = options.assigner != "shortest_path"
        return pseudo_masks(
            semantic,
            batch.points,
            batch.is_thing,
            boundary=output.boundary_logits.float().sigmoid() if learned else None,
            feature=output.features.float(),
            low_level=None
            if learned
            else image_edges(batch.images, output.geometry.sizes, options),
            image_size=batch.image_size,
            areas=areas,
            options=options,
        )


def among_clicked(output: NetworkOutput, batch: Batch) -> NetworkOutput:
    """The output with semantic logits whose softmax gives nothing to classes without a click."""
    clicked = class_presence(batch.points.nonempty(), len(batch.is_thing))
    logits = output.semantics.logits.masked_fill(~clicked[..., None, None], IMPOSSIBLE)
    return replace(output, semantics=output.semantics._replace(logits=logits))


def image_edges(
    images: Tensor, sizes: tuple[tuple[int, int], ...], options: PseudoMaskOptions
) -> Tensor:
    """Sobel edges of every image alone, ``[B, h, w]`` on the grid of the shortest paths.

    The border of an image is repeated up to whole cells; padding has no edges.
    """
    stride = options.stride
    rows, columns = (-(-length // stride) for length in images.shape[-2:])
    edges = images.new_zeros(len(images), rows, columns)
    for image, edge, (height, width) in zip(images, edges, sizes, strict=True):
        fill = (0, -width % stride, 0, -height % stride)
        whole = F.pad(image[None, :, :height, :width], fill, mode="replicate")
        h, w = (length // stride for length in whole.shape[-2:])
        edge[:h, :w] = sobel_lab_edges(whole, h, w)[0]
    return edges
