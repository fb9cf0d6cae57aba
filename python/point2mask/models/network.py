"""The panoptic network of Point2Mask: Panoptic SegFormer with a semantic decoder beside it."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from point2mask.models.backbone import Backbone, run_by_size
from point2mask.models.config import STRIDES, NetworkConfig
from point2mask.models.decoder import LocationDecoder, Locations
from point2mask.models.encoder import Encoder
from point2mask.models.geometry import Geometry
from point2mask.models.heads import PseudoMaskHeads
from point2mask.models.mask_decoder import ClassMaskDecoder, ClassMasks, ThingMaskDecoder
from point2mask.models.neck import ChannelMapper
from point2mask.models.positional import sine_position


class Encoded(NamedTuple):
    """What the encoder knows of a batch."""

    memory: Tensor  # [B, S, d], levels of stride 8, 16, 32 and 64 one after the other
    position: Tensor  # [B, S, d], sine encoding and level embedding
    geometry: Geometry

    @property
    def mask_memory(self) -> Tensor:
        """The memory of the three levels that make masks, ``[B, M, d]``."""
        return self.memory[:, : self.geometry.mask_cells]


class Semantics(NamedTuple):
    """The semantic map of every layer, L layers."""

    logits: Tensor  # [L, B, C, h, w], for a softmax over the classes
    presence_logits: Tensor  # [L, B, C], whether the class is in the image


class ThingMasks(NamedTuple):
    """Masks of chosen queries, K at most in an image."""

    masks: Tensor  # [L, B, K, h, w]
    valid: Tensor  # bool [B, K]; the others are padding and their masks mean nothing


@dataclass(frozen=True)
class NetworkOutput:
    """All that training needs of a batch, but for the masks of things, which depend on matching.

    h and w are the batch's height and width in cells of 8 pixels; ``geometry.to_pixels`` brings
    maps to full resolution and ``geometry.finest`` says which cells hold image.
    """

    encoded: Encoded
    locations: Locations
    stuff: ClassMasks
    semantics: Semantics
    boundary_logits: Tensor  # [B, h, w]; no gradient to the encoder
    features: Tensor  # [B, F, h, w], of length 1; no gradient to the encoder

    @property
    def geometry(self) -> Geometry:
        return self.encoded.geometry


class PanopticNetwork(nn.Module):
    """Images to candidate things, stuff masks, semantic maps and maps for pseudo masks.

    The parts can be run one by one: :meth:`encode`, then :meth:`locate`, :meth:`decode_things`,
    :meth:`decode_stuff`, :meth:`decode_semantics`. In a data-parallel setting call them from the
    ``forward`` of one module that also computes the losses.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        sizes = (config.width, config.heads, config.feedforward)
        self.backbone = Backbone(config.backbone)
        self.neck = ChannelMapper(self.backbone.channels, config)
        self.level_embedding = nn.Parameter(torch.randn(len(STRIDES), config.width))
        self.encoder = Encoder(config)
        self.location_decoder = LocationDecoder(config)
        self.thing_decoder = ThingMaskDecoder(config.thing_layers, *sizes, config.mask_activation)
        self.stuff_decoder = ClassMaskDecoder(
            config.num_stuff, config.stuff_layers, *sizes, config.mask_activation, prior=True
        )
        self.semantic_decoder = ClassMaskDecoder(
            config.num_classes, config.semantic_layers, *sizes, config.semantic_activation
        )
        self.semantic_scale = nn.Parameter(torch.ones(config.num_classes))
        self.semantic_bias = nn.Parameter(torch.zeros(config.num_classes))
        self.pseudo_mask_heads = PseudoMaskHeads(config.width, config.feature_width)

    def forward(self, images: Tensor, image_size: Tensor) -> NetworkOutput:
        """Everything for training.

        Args:
            images: float ``[B, 3, H, W]``, normalised with ``backbone.mean`` and ``std``; each at
                the top left, what lies outside ``image_size`` is not read.
            image_size: int ``[B, 2]``, height and width of every image; on the CPU it costs no
                synchronisation.

        Raises:
            ValueError: a wrong shape, or a size that is not within the batch.
        """
        encoded = self.encode(images, image_size)
        count = encoded.geometry.mask_cells
        boundary, features = self.pseudo_mask_heads(
            encoded.mask_memory, encoded.position[:, :count], encoded.geometry
        )
        return NetworkOutput(
            encoded,
            self.locate(encoded),
            self.decode_stuff(encoded),
            self.decode_semantics(encoded),
            boundary,
            features,
        )

    def encode(self, images: Tensor, image_size: Tensor) -> Encoded:
        """Backbone, neck and encoder; arguments as for :meth:`forward`."""
        return self.encode_placed(images, Geometry.of(image_size, images))

    def encode_placed(self, images: Tensor, geometry: Geometry) -> Encoded:
        """The same for images whose geometry is known."""
        levels = run_by_size(lambda x: self.neck(self.backbone(x)), images, geometry)
        features = torch.cat([level.flatten(2).transpose(1, 2) for level in levels], 1)
        position = torch.cat(
            [
                sine_position(shape, geometry.extent[:, level], self.config.width)
                + self.level_embedding[level]
                for level, shape in enumerate(geometry.shapes)
            ],
            1,
        )
        position = position.to(features.dtype)
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

    def decode_semantics(self, encoded: Encoded, all_layers: bool = True) -> Semantics:
        """Semantic logits: masks, scaled and shifted by class, times the class's presence.

        They are 0 outside an image.
        """
        geometry = encoded.geometry
        masks, presence = self.semantic_decoder(encoded.mask_memory, geometry, all_layers)
        scale, bias = (p[:, None, None] for p in (self.semantic_scale, self.semantic_bias))
        logits = (masks * scale + bias) * presence.sigmoid()[..., None, None]
        return Semantics(logits * geometry.finest[:, None], presence)
