"""Mask2Former (Cheng et al., CVPR 2022) in place of the paper's network: transformers' decoders."""

import math
import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from point2mask.models.backbone import (
    Backbone,
    in_order,
    mask_shape,
    of_group,
    pad_to,
    run_by_size,
)
from point2mask.models.base import Candidates, Encoded, NetworkOutput, PointNetwork, best_things
from point2mask.models.config import MASK_LEVELS, MASK_STRIDE, STRIDES, Mask2FormerConfig
from point2mask.models.deformable import start_looking_around
from point2mask.models.encoder import xavier_matrices
from point2mask.models.geometry import Geometry, cells
from point2mask.models.mask_decoder import PADDING_LOGIT
from point2mask.models.positional import level_positions

_STRIDES = STRIDES[:MASK_LEVELS]


class QueryMasks(NamedTuple):
    """What every query stands for, L = layers of the decoder + 1 for the queries as learned."""

    class_logits: Tensor  # [L, B, Q, C + 1], for a softmax; the last is "nothing"
    masks: Tensor  # [L, B, Q, H / 4, W / 4], logits, rounded up


@dataclass(frozen=True)
class Mask2FormerOutput(NetworkOutput):
    """All that training needs of a batch."""

    queries: QueryMasks


class Mask2FormerNetwork(PointNetwork):
    """Backbone, Mask2Former's pixel decoder and masked attention, and Point2Mask's maps.

    The memory is what the pixel decoder makes of strides 8, 16 and 32. transformers has no padding
    masks in these decoders, so images of one size go through them together and others apart: an
    image gives the same result in every batch. A batch of one size is the fastest.
    """

    config: Mask2FormerConfig

    def __init__(self, config: Mask2FormerConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config.backbone, (MASK_STRIDE, *_STRIDES))
        decoders = _decoders(config, self.backbone.channels)
        self.pixel_decoder = decoders.pixel_decoder
        self.query_decoder = decoders.query_decoder
        self.class_head = nn.Linear(config.width, config.num_classes + 1)
        self.add_maps()

    def train(self, mode: bool = True) -> "Mask2FormerNetwork":
        super().train(mode)
        # It has no dropout, but in training it waits for the device in every layer, to replace
        # infinities, of which the losses are to tell.
        self.pixel_decoder.eval()
        return self

    def forward(self, images: Tensor, image_size: Tensor) -> Mask2FormerOutput:
        encoded = self.encode(images, image_size)
        return Mask2FormerOutput(encoded, *self.maps(encoded), self.decode_queries(encoded))

    def encode_placed(self, images: Tensor, geometry: Geometry) -> Encoded:
        """Backbone and pixel decoder."""
        shapes = geometry.shapes[:MASK_LEVELS]
        *levels, mask_features = run_by_size(
            self._pixels, [images], geometry, (*shapes, mask_shape(geometry.canvas))
        )
        memory = torch.cat([level.flatten(2).transpose(1, 2) for level in levels], 1)
        position = level_positions(geometry, self.config.width, MASK_LEVELS)
        return Encoded(memory, torch.cat(position, 1).to(memory.dtype), geometry, mask_features)

    def _pixels(self, images: Tensor) -> list[Tensor]:
        # Its position encoding has the precision of the features: not half of it.
        decoded = self.pixel_decoder([x.to(images.dtype) for x in self.backbone(images)])
        return [*reversed(decoded.multi_scale_features), decoded.mask_features]

    def decode_queries(self, encoded: Encoded, all_layers: bool = True) -> QueryMasks:
        """Classes and masks of all queries; ``all_layers=False`` gives the last alone (L = 1)."""
        geometry = encoded.geometry
        if encoded.mask_features is None:
            raise ValueError("encoded must be of a Mask2FormerNetwork, but has no mask_features")
        by_level = encoded.mask_memory.split(geometry.lengths[:MASK_LEVELS], 1)
        levels = [
            maps.transpose(1, 2).unflatten(2, shape)
            for maps, shape in zip(by_level, geometry.shapes[:MASK_LEVELS], strict=True)
        ]
        canvas = mask_shape(geometry.canvas)
        logits, masks, order = [], [], []
        for size, members in geometry.groups().items():
            own = [
                of_group(maps, members)[..., : cells(size[0], stride), : cells(size[1], stride)]
                for maps, stride in zip(
                    (*levels, encoded.mask_features), (*_STRIDES, MASK_STRIDE), strict=True
                )
            ]
            decoded = self.query_decoder(own[MASK_LEVELS - 1 :: -1], own[-1])
            last = slice(None) if all_layers else slice(-1, None)
            states = torch.stack(decoded.intermediate_hidden_states[last])  # [L, Q, b, d]
            logits.append(self.class_head(states.transpose(1, 2)))
            drawn = torch.stack(decoded.masks_queries_logits[last])
            masks.append(pad_to(drawn, canvas, PADDING_LOGIT))
            order += members
        return QueryMasks(in_order(logits, order, 1), in_order(masks, order, 1))

    def last_outputs(self, encoded: Encoded) -> dict[str, Tensor]:
        queries = self.decode_queries(encoded, all_layers=False)
        return {"class_logits": queries.class_logits[-1], "masks": queries.masks[-1]}

    def candidates(self, encoded: Encoded, max_things: int) -> Candidates:
        queries = self.decode_queries(encoded, all_layers=False)
        score, label = queries.class_logits[-1].softmax(-1)[..., :-1].max(-1)
        score, best = best_things(score, max_things)
        masks = queries.masks[-1]
        index = best[..., None, None].expand(-1, -1, *masks.shape[2:])
        return Candidates(masks.gather(1, index), score, label.gather(1, best), MASK_STRIDE, True)


def _decoders(config: Mask2FormerConfig, channels: list[int]) -> Any:
    """transformers' two decoders, initialised as published."""
    try:
        from transformers import Mask2FormerConfig as TransformersConfig
        from transformers import Mask2FormerPreTrainedModel
        from transformers.models.mask2former import modeling_mask2former as parts
    except ImportError as error:
        raise ModuleNotFoundError(
            "architecture: mask2former needs transformers; pip install 'point2mask[mask2former]'"
        ) from error

    class Decoders(Mask2FormerPreTrainedModel):
        def __init__(self, sizes: TransformersConfig) -> None:
            super().__init__(sizes)
            self.pixel_decoder = parts.Mask2FormerPixelDecoder(sizes, channels)
            self.query_decoder = parts.Mask2FormerTransformerModule(config.width, sizes)
            self.post_init()

    sizes = TransformersConfig(
        feature_size=config.width,
        mask_feature_size=config.width,
        hidden_dim=config.width,
        encoder_feedforward_dim=config.feedforward,
        dim_feedforward=config.decoder_feedforward,
        encoder_layers=config.encoder_layers,
        decoder_layers=config.decoder_layers + 1,  # transformers counts the queries as learned
        num_attention_heads=config.heads,
        num_queries=config.queries,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="You'd better set embed_dim")  # speed on a GPU
        decoders = Decoders(sizes)
    _initialise(decoders)
    return decoders


def _initialise(decoders: Any) -> None:
    """As Mask2Former is published.

    A new model of transformers has nearly all weights at a deviation of 0.02: masks begin a
    hundredth as strong, and a few hundred steps go by before queries part.
    """
    pixels, queries = decoders.pixel_decoder, decoders.query_decoder
    for module in pixels.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_uniform_(module.weight, a=1)
    for projection in pixels.input_projections:
        nn.init.xavier_uniform_(projection[0].weight)
    for layer in (*pixels.encoder.layers, *queries.decoder.layers):
        xavier_matrices(layer)
    for layer in pixels.encoder.layers:
        attention = layer.self_attn
        start_looking_around(attention, attention.n_heads, attention.n_levels, attention.n_points)
    for layer in queries.decoder.layers:
        for part in (layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj):
            nn.init.xavier_uniform_(part.weight, gain=math.sqrt(0.5))  # as one matrix
    for module in queries.decoder.mask_predictor.modules():
        if isinstance(module, nn.Linear):
            module.reset_parameters()
