"""Masks grown from clicks with what a network knows of their pictures."""

from dataclasses import fields, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from point2mask.models import NetworkOutput, PointNetwork
from point2mask.models.backbone import in_order, pad_to
from point2mask.models.clicks import click_cells
from point2mask.models.config import STRIDES
from point2mask.models.geometry import cells
from point2mask.models.precision import at_least_float32, full_precision
from point2mask.pseudo_masks import (
    PseudoMaskOptions,
    PseudoMasks,
    SupervisionConfig,
    pseudo_masks,
    sobel_lab_edges,
)
from point2mask.pseudo_masks.areas import network_areas
from point2mask.pseudo_masks.batch import Batch
from point2mask.pseudo_masks.cost import close_padding, edge_cost, target_cost
from point2mask.pseudo_masks.points import PointBatch, class_presence
from point2mask.pseudo_masks.refine import refine

IMPOSSIBLE = -1e4  # a logit whose exponential is 0, and which half precision holds


class Grower:
    """Grows masks from the clicks of a batch and from what a network says of its images."""

    def __init__(self, network: PointNetwork, supervision: SupervisionConfig) -> None:
        self.network, self.supervision = network, supervision

    @torch.no_grad()
    def semantic_map(self, output: NetworkOutput, batch: Batch) -> Tensor:
        """Probabilities ``[B, C, H, W]`` that masks are grown from, whatever the clicks are."""
        logits = output.semantics.logits[-1].float()
        semantic = output.geometry.to_pixels(logits).softmax(1)
        if not self.supervision.refine_sigma:
            return semantic
        guide = self.network.normalise(batch.images)
        return refine(semantic, guide, batch.image_size, self.supervision.refine_sigma)

    def heed(self, output: NetworkOutput, batch: Batch) -> NetworkOutput:
        """The output with the partition that the batch's clicks lead to, if there is a branch."""
        if self.network.click_decoder is None:
            return output
        points = batch.points.nonempty()
        distance = self._distance(output, points)
        decode = self.network.decode_clicks
        partition = decode(output.encoded, points.xy, points.category, distance)
        return replace(output, partition=partition)

    @torch.no_grad()
    def _distance(self, output: NetworkOutput, points: PointBatch) -> Tensor:
        """Cost of the cheapest path from the targets' clicks, ``[B, K, h, w]``, at stride 8.

        The paths of the pseudo-masks, on the grid of the maps themselves.
        """
        options, geometry = self.supervision.pseudo_masks, output.geometry
        x, y, is_click = click_cells(points.xy, points.category, geometry)
        with full_precision(output):
            edges = edge_cost(
                at_least_float32(output.semantics.logits[-1]).softmax(1),
                at_least_float32(output.boundary_logits).sigmoid(),
                at_least_float32(output.features),
                semantic_weight=options.semantic_weight,
                boundary_weight=options.boundary_weight,
                feature_weight=options.feature_weight,
                step_weight=options.step_weight,
            )
            seeds = torch.where(is_click, y * geometry.shapes[0][1] + x, -1).int()
            return target_cost(close_padding(edges, geometry.finest), seeds)

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
        partition = None
        if options.learned and output.partition is not None:
            partition = output.geometry.to_pixels(output.partition[-1].float())
        if output.geometry.spanning:
            return self._grow_by_size(semantic, output, batch, areas, partition, options)
        learned = options.assigner != "shortest_path"
        return pseudo_masks(
            semantic,
            batch.points,
            batch.is_thing,
            boundary_logits=output.boundary_logits.float() if learned else None,
            feature=output.features.float(),
            low_level=None
            if learned
            else image_edges(batch.images, output.geometry.sizes, options),
            image_size=batch.image_size,
            areas=areas,
            partition=partition,
            options=options,
        )

    def _grow_by_size(
        self,
        semantic: Tensor,
        output: NetworkOutput,
        batch: Batch,
        areas: Tensor | None,
        partition: Tensor | None,
        options: PseudoMaskOptions,
    ) -> PseudoMasks:
        """The same on the published grids, which span every image: those of one size together."""
        learned = options.assigner != "shortest_path"
        parts, order = [], []
        for (height, width), members in output.geometry.groups().items():
            rows, columns = cells(height, STRIDES[0]), cells(width, STRIDES[0])
            edges = None
            if not learned:
                h, w = (max(length // options.stride, 1) for length in (height, width))
                edges = sobel_lab_edges(batch.images[members][..., :height, :width], h, w)
            boundary = output.boundary_logits[members, :rows, :columns].float()
            grown = pseudo_masks(
                semantic[members][..., :height, :width],
                batch.points.of(members),
                batch.is_thing,
                boundary_logits=boundary if learned else None,
                feature=output.features[members][..., :rows, :columns].float(),
                low_level=edges,
                areas=None if areas is None else areas[members],
                partition=None
                if partition is None
                else partition[members][..., :height, :width].contiguous(),
                options=options,
            )
            parts.append(_padded(grown, output.geometry.canvas))
            order += members
        return PseudoMasks(
            *(
                in_order([getattr(part, field.name) for part in parts], order)
                for field in fields(PseudoMasks)
            )
        )


def _padded(masks: PseudoMasks, canvas: tuple[int, int]) -> PseudoMasks:
    """Masks of images without padding as those of a larger canvas."""
    maps = {
        name: pad_to(getattr(masks, name), canvas, value=-1)
        for name in ("instance", "semantic", "panoptic")
    }
    return replace(masks, **maps)


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
