"""What learning from points asks of a network, whatever it finds things and stuff with."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from point2mask.models.backbone import Backbone
from point2mask.models.clicks import ClickDecoder
from point2mask.models.config import AnyNetworkConfig
from point2mask.models.geometry import Geometry
from point2mask.models.heads import PseudoMaskHeads
from point2mask.models.mask_decoder import ClassMaskDecoder
from point2mask.models.precision import at_least_float32

# What a network that only finds segments lacks, and how it is known.
MAPS = ("semantic_decoder.", "semantic_scale", "semantic_bias", "pseudo_mask_heads.")


class Encoded(NamedTuple):
    """What the encoder knows of a batch."""

    memory: Tensor  # [B, S, d], levels of stride 8, 16, 32 (and 64) one after the other
    position: Tensor  # [B, S, d], sine encoding (and level embedding)
    geometry: Geometry
    mask_features: Tensor | None = None  # [B, d, H / 4, W / 4], of networks of segments

    @property
    def mask_memory(self) -> Tensor:
        """The memory of the three levels that make masks, ``[B, M, d]``."""
        return self.memory[:, : self.geometry.mask_cells]


class Semantics(NamedTuple):
    """The semantic map of every layer, L layers."""

    logits: Tensor  # [L, B, C, h, w], for a softmax over the classes
    presence_logits: Tensor  # [L, B, C], whether the class is in the image


@dataclass(frozen=True)
class NetworkOutput:
    """All that growing masks and their losses need of a batch; networks add what they find.

    h and w are the batch's height and width in cells of 8 pixels; ``geometry.to_pixels`` brings
    maps to full resolution and ``geometry.finest`` says which cells hold image.
    """

    encoded: Encoded
    semantics: Semantics
    boundary_logits: Tensor  # [B, h, w]; no gradient to the encoder
    features: Tensor  # [B, F, h, w], of length 1; no gradient to the encoder
    # [L, B, K, h, w], for a softmax over an image's clicked targets; of networks with a click
    # branch, once there are clicks.
    partition: Tensor | None = field(default=None, kw_only=True)

    @property
    def geometry(self) -> Geometry:
        return self.encoded.geometry


class Candidates(NamedTuple):
    """Masks that compete for the pixels of an image, K each."""

    masks: Tensor  # [B, K, h_s, w_s]
    score: Tensor  # [B, K], of the class, in [0, 1]
    label: Tensor  # int64 [B, K], things first
    stride: int  # pixels of a cell of the masks
    logits: bool  # masks are logits, else values
    # [B, K], where pixels may be shared out among the masks at once: each goes to the mask of
    # highest weight · probability. Without it masks are painted one after the other.
    weight: Tensor | None = None
    # Whether cells, which span the images, become the original pixels at once, and not first those
    # that the network has seen.
    at_once: bool = False

    def full_precision(self) -> "Candidates":
        """The same in float32 at least, for sums over many pixels."""
        weight = None if self.weight is None else at_least_float32(self.weight)
        return self._replace(
            masks=at_least_float32(self.masks), score=at_least_float32(self.score), weight=weight
        )


class PointNetwork(nn.Module, ABC):
    """A backbone, an encoder to a memory, and the maps that masks are grown from.

    A subclass makes its parts and then calls :meth:`add_maps`.
    """

    config: AnyNetworkConfig
    backbone: Backbone
    click_decoder: ClickDecoder | None
    spanning = False  # whether its cells span every image: Geometry.spanning

    def add_maps(self) -> None:
        """Makes the decoder of the semantic map and the heads that only serve the pseudo masks;
        nothing where ``semantic_layers`` is 0."""
        config = self.config
        self.click_decoder = None
        if not config.semantic_layers:
            return
        sizes = (config.width, config.heads, config.feedforward)
        self.semantic_decoder = ClassMaskDecoder(
            config.num_classes, config.semantic_layers, *sizes, config.semantic_activation
        )
        self.semantic_scale = nn.Parameter(torch.ones(config.num_classes))
        self.semantic_bias = nn.Parameter(torch.zeros(config.num_classes))
        self.pseudo_mask_heads = PseudoMaskHeads(config.width, config.feature_width)
        if config.click_layers:
            self.click_decoder = ClickDecoder(config)

    @abstractmethod
    def forward(self, images: Tensor, image_size: Tensor) -> NetworkOutput:
        """Everything for training.

        Args:
            images: float ``[B, 3, H, W]``, as :meth:`normalise` gives them; each at
                the top left, what lies outside ``image_size`` is not read.
            image_size: int ``[B, 2]``, height and width of every image; on the CPU it costs no
                synchronisation.

        Raises:
            ValueError: a wrong shape, or a size that is not within the batch.
        """

    @abstractmethod
    def encode_placed(self, images: Tensor, geometry: Geometry) -> Encoded:
        """Backbone and encoder for images whose geometry is known."""

    @abstractmethod
    def candidates(self, encoded: Encoded, max_things: int) -> Candidates:
        """The masks to be merged: the best ``max_things`` things, with all stuff where it has
        queries of its own."""

    @abstractmethod
    def last_outputs(self, encoded: Encoded) -> dict[str, Tensor]:
        """All that the queries of the last layer say of things and stuff, by name."""

    def normalise(self, images: Tensor) -> Tensor:
        """``[..., 3, H, W]`` in [0, 1] as the backbone wants it."""
        return (images - self.backbone.mean) / self.backbone.std

    def encode(self, images: Tensor, image_size: Tensor) -> Encoded:
        """Backbone and encoder; arguments as for :meth:`forward`."""
        return self.encode_placed(images, Geometry.of(image_size, images, self.spanning))

    def maps(self, encoded: Encoded) -> tuple[Semantics, Tensor, Tensor]:
        """Semantic map, boundary logits and features, as in :class:`NetworkOutput`.

        Raises:
            ValueError: the network has none.
        """
        semantics = self.decode_semantics(encoded)
        position = encoded.position[:, : encoded.geometry.mask_cells]
        boundary, features = self.pseudo_mask_heads(encoded.mask_memory, position, encoded.geometry)
        return semantics, boundary, features

    def decode_clicks(
        self, encoded: Encoded, xy: Tensor, category: Tensor, distance: Tensor
    ) -> Tensor:
        """The partition of :class:`NetworkOutput`, by the click branch.

        Args:
            encoded: of the batch.
            xy: float ``[B, K, P, 2]``, clicks (x, y) in pixels; negative ones are padding.
            category: int64 ``[B, K]``, class, -1 = padding.
            distance: ``[B, K, h, w]``, cost of the cheapest path from a target's clicks, at
                stride 8.

        Raises:
            ValueError: there is no target or no click, or no click branch.
        """
        if self.click_decoder is None:
            raise ValueError("clicks need a network with a click branch: click_layers above 0")
        position = encoded.position[:, : encoded.geometry.mask_cells]
        logits: Tensor = self.click_decoder(
            encoded.mask_memory, position, encoded.geometry, xy, category, distance
        )
        return logits

    def decode_semantics(self, encoded: Encoded, all_layers: bool = True) -> Semantics:
        """Semantic logits: masks, scaled and shifted by class, times the class's presence.

        They are 0 outside an image. ``all_layers=False`` gives the last layer alone (L = 1).

        Raises:
            ValueError: the network has no maps.
        """
        if not self.config.semantic_layers:
            raise ValueError("expected a network with maps, got one of semantic_layers=0")
        geometry = encoded.geometry
        masks, presence = self.semantic_decoder(encoded.mask_memory, geometry, all_layers)
        scale, bias = (p[:, None, None] for p in (self.semantic_scale, self.semantic_bias))
        logits = (masks * scale + bias) * presence.sigmoid()[..., None, None]
        return Semantics(logits * geometry.finest[:, None], presence)


def best_things(probability: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Highest scores ``[B, K]`` and their indices, of ``[B, N]``; equal ones in their order.

    Not topk, which breaks ties differently from device to device.
    """
    score, index = probability.sort(dim=1, descending=True, stable=True)
    return score[:, :most], index[:, :most]
