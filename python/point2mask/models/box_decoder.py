"""The decoder of MaskDINO: every layer refines the boxes of the queries, where it then looks."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from point2mask.models.config import MaskDINOConfig
from point2mask.models.decoder import DecoderLayer, Others, inverse_sigmoid
from point2mask.models.encoder import xavier_matrices
from point2mask.models.geometry import Geometry
from point2mask.models.positional import sine_boxes
from point2mask.models.segment_heads import Predictions, SegmentHeads


class State(NamedTuple):
    """Queries as a layer is given them."""

    x: Tensor  # [B, Q, d]
    position: Tensor  # [B, Q, d]


class BoxDecoder(nn.Module):
    """Layers over queries with boxes, from which their positions are encoded."""

    def __init__(self, config: MaskDINOConfig) -> None:
        super().__init__()
        width = config.width
        self.layers = nn.ModuleList(
            DecoderLayer(config, config.decoder_feedforward) for _ in range(config.decoder_layers)
        )
        self.position = nn.Sequential(
            nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, width)
        )
        xavier_matrices(self)

    def forward(
        self,
        x: Tensor,
        boxes: Tensor,
        memory: Tensor,
        geometry: Geometry,
        heads: SegmentHeads,
        others: Sequence[Others] | None = None,
    ) -> tuple[Predictions, list[State]]:
        """What the queries say before the first layer and after each, and what each was given.

        A layer looks where the box before it is, without a gradient. The box that it says has the
        gradient of that box too (look forward twice), and comes of the normalised query, the one
        that the next layer is given of the query itself.

        Args:
            x: ``[B, Q, d]``.
            boxes: ``[B, Q, 4]``, where the queries begin.
            memory: ``[B, S, d]``.
            geometry: of the batch.
            heads: that speak for the queries.
            others: queries that these see beside themselves, for every layer.
        """
        ratio = geometry.valid_ratio.repeat(1, 1, 2)
        reference = boxes = boxes.to(ratio.dtype)
        said, states = [heads.say(x, boxes)], []
        for number, layer in enumerate(self.layers):
            position = self.position(sine_boxes(reference, x.shape[-1]).to(x.dtype))
            states.append(State(x, position))
            where = reference[:, :, None] * ratio[:, None]
            seen = None if others is None else others[number]
            x = layer(x, position, where, memory, geometry, seen)
            normed = heads.norm(x)
            told = (heads.change(normed) + inverse_sigmoid(boxes)).sigmoid()
            said.append(heads.say(normed, told))
            boxes = (heads.change(x) + inverse_sigmoid(reference)).sigmoid()
            reference = boxes.detach()
        return Predictions(*(torch.cat(parts) for parts in zip(*said, strict=True))), states
