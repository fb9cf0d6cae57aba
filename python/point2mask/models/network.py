"""The panoptic network of Point2Mask: Panoptic SegFormer with a semantic decoder beside it."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from point2mask.models.backbone import Backbone, run_by_size
from point2mask.models.base import Candidates, Encoded, NetworkOutput, PointNetwork, best_things
from point2mask.models.config import STRIDES, NetworkConfig
from point2mask.models.decoder import LocationDecoder, Locations
from point2mask.models.encoder import Encoder, flatten_levels
from point2mask.models.geometry import Geometry
from point2mask.models.mask_decoder import ClassMaskDecoder, ClassMasks, ThingMaskDecoder
from point2mask.models.neck import ChannelMapper


class ThingMasks(NamedTuple):
    """Masks of chosen queries, K at most in an image."""

    masks: Tensor  # [L, B, K, h, w]
    valid: Tensor  # bool [B, K]; the others are padding and their masks mean nothing


@dataclass(frozen=True)
class PanopticOutput(NetworkOutput):
    """All that training needs of a batch, but for the masks of things, which depend on matching."""

    locations: Locations
    stuff: ClassMasks


class PanopticNetwork(PointNetwork):
    """Images to candidate things, stuff masks, semantic maps and maps for pseudo masks.

    The parts can be run one by one: :meth:`encode`, then :meth:`locate`, :meth:`decode_things`,
    :meth:`decode_stuff`, :meth:`decode_semantics`. In a data-parallel setting call them from the
    ``forward`` of one module that also computes the losses.
    """

    config: NetworkConfig

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config, self.spanning = config, config.published
        sizes = (config.width, config.heads, config.feedforward)
        self.backbone = Backbone(config.backbone, published=config.published)
        self.neck = ChannelMapper(self.backbone.channels, config)
        self.level_embedding = nn.Parameter(torch.randn(len(STRIDES), config.width))
        self.encoder = Encoder(config)
        self.location_decoder = LocationDecoder(config)
        self.thing_decoder = ThingMaskDecoder(
            config.thing_layers, *sizes, config.mask_activation, config.original
        )
        self.stuff_decoder = ClassMaskDecoder(
            *(config.num_stuff, config.stuff_layers, *sizes, config.mask_activation),
            prior=True,
            original=config.original,
        )
        self.add_maps()

    def forward(self, images: Tensor, image_size: Tensor) -> PanopticOutput:
        encoded = self.encode(images, image_size)
        return PanopticOutput(
            encoded, *self.maps(encoded), self.locate(encoded), self.decode_stuff(encoded)
        )

    def encode_placed(self, images: Tensor, geometry: Geometry) -> Encoded:
        """Backbone, neck and encoder."""
        levels = run_by_size(
            lambda x: self.neck(self.backbone(x)), [images], geometry, geometry.shapes
        )
        features, position = flatten_levels(levels, self.level_embedding, geometry)
        return Encoded(self.encoder(features, position, geometry), position, geometry)

    def locate(self, encoded: Encoded) -> Locations:
        """Classes and boxes of the candidate things."""
        locations: Locations = self.location_decoder(encoded.memory, encoded.geometry)
        return locations

    def decode_things(
        self,
        encoded: Encoded,
        queries: Tensor,
        chosen: list[Tensor],
        all_layers: bool = True,
    ) -> ThingMasks:
        """Masks of chosen candidates.

        Args:
            encoded: of the batch.
            queries: ``[B, Q, d]``, of :class:`Locations`.
            chosen: for every image the indices of some of its queries, int64 ``[K_b]``; in
                training those matched, at inference the best. K = max K_b.
            all_layers: False gives the last layer alone (L = 1).
        """
        count = max((len(indices) for indices in chosen), default=0)
        index = torch.full((len(chosen), count), -1, device=queries.device)
        for row, indices in zip(index, chosen, strict=True):
            row[: len(indices)] = indices
        valid = index >= 0
        # Padding repeats query 0: without self-attention its masks trouble no other.
        picked = queries.gather(1, index.clamp(min=0)[..., None].expand(-1, -1, queries.shape[-1]))
        masks = self.thing_decoder(picked, encoded.mask_memory, encoded.geometry, all_layers)
        return ThingMasks(masks, valid)

    def decode_stuff(self, encoded: Encoded, all_layers: bool = True) -> ClassMasks:
        """A mask and the logit of its presence for every stuff class."""
        stuff: ClassMasks = self.stuff_decoder(encoded.mask_memory, encoded.geometry, all_layers)
        return stuff

    def last_outputs(self, encoded: Encoded) -> dict[str, Tensor]:
        locations = self.locate(encoded)
        every = torch.arange(locations.queries.shape[1], device=locations.queries.device)
        chosen = [every] * len(locations.queries)
        things = self.decode_things(encoded, locations.queries, chosen, all_layers=False)
        stuff = self.decode_stuff(encoded, all_layers=False)
        return {
            "thing_logits": locations.class_logits[-1],
            "boxes": locations.boxes[-1],
            "thing_masks": things.masks[-1],
            "stuff_logits": stuff.class_logits[-1],
            "stuff_masks": stuff.masks[-1],
        }

    def candidates(self, encoded: Encoded, max_things: int) -> Candidates:
        locations = self.locate(encoded)
        things = self.config.num_things
        # Pairs of query and class: a query can stand for several.
        score, best = best_things(locations.class_logits[-1].sigmoid().flatten(1), max_things)
        chosen = list(best // things)
        masks = self.decode_things(encoded, locations.queries, chosen, all_layers=False).masks[-1]
        stuff = self.decode_stuff(encoded, all_layers=False)
        labels = torch.arange(things, self.config.num_classes, device=best.device)
        return Candidates(
            torch.cat((masks, stuff.masks[-1]), 1),
            torch.cat((score, stuff.class_logits[-1].sigmoid()), 1),
            torch.cat((best % things, labels.expand(len(best), -1)), 1),
            STRIDES[0],
            self.config.mask_activation == "sigmoid",
            at_once=self.config.original and self.config.published,
        )
