"""Location decoder: learned queries find the things of an image, with class and box."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from point2mask.models.config import STRIDES, DeformableConfig, NetworkConfig
from point2mask.models.deformable import DeformableAttention
from point2mask.models.encoder import FeedForward, xavier_matrices
from point2mask.models.geometry import Geometry

_EPSILON = 1e-5  # the least probability that has a logit
PRIOR = 0.01  # probability of every class before training (focal loss)


class Locations(NamedTuple):
    """Candidate things, L layers of the decoder, Q queries."""

    class_logits: Tensor  # [L, B, Q, things]
    boxes: Tensor  # [L, B, Q, 4], centre x, y, width, height in parts of the image without padding
    queries: Tensor  # [B, Q, d], what the last layer knows; thing masks start from it


class Others(NamedTuple):
    """Queries that are seen by others beside those themselves, and see nothing of them."""

    x: Tensor  # [B, N, d]
    position: Tensor  # [B, N, d]
    hidden: Tensor  # bool [B, Q, Q + N], what a query does not see: of its like, then of these


class DecoderLayer(nn.Module):
    """Self-attention, deformable attention to the memory, MLP; residual and LayerNorm each."""

    def __init__(self, config: DeformableConfig, feedforward: int) -> None:
        """``feedforward``: hidden units of the MLP."""
        super().__init__()
        width = config.width
        self.self_attention = nn.MultiheadAttention(
            width, config.heads, dropout=config.dropout, batch_first=True
        )
        self.self_attention_norm = nn.LayerNorm(width)
        self.attention = DeformableAttention(width, config.heads, len(STRIDES), config.points)
        self.attention_norm = nn.LayerNorm(width)
        self.feedforward = FeedForward(width, feedforward, config.dropout)
        self.feedforward_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Tensor,
        position: Tensor,
        reference: Tensor,
        memory: Tensor,
        geometry: Geometry,
        others: Others | None = None,
    ) -> Tensor:
        """Queries ``[B, Q, d]`` from queries; ``others`` are seen beside them."""
        placed, values, hidden = x + position, x, None
        keys = placed
        if others is not None:
            keys = torch.cat((placed, others.x + others.position), 1)
            values = torch.cat((x, others.x), 1)
            hidden = others.hidden.repeat_interleave(self.self_attention.num_heads, 0)
        attended, _ = self.self_attention(
            placed, keys, values, need_weights=False, attn_mask=hidden
        )
        x = self.self_attention_norm(x + self.dropout(attended))
        attended = self.attention(x + position, reference, memory, geometry.valid, geometry.shapes)
        x = self.attention_norm(x + self.dropout(attended))
        x = self.feedforward_norm(x + self.feedforward(x))
        return x


class BoxHead(nn.Sequential):
    """Three linear layers to the change of a box, in logits; before training a constant."""

    def __init__(self, width: int, size: float) -> None:
        last = nn.Linear(width, 4)
        nn.init.zeros_(last.weight)
        with torch.no_grad():
            last.bias.copy_(torch.tensor([0.0, 0.0, size, size]))
        super().__init__(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), last
        )


class LocationDecoder(nn.Module):
    """Iterative box refinement: each layer corrects the boxes of the one before.

    The first layer turns the reference point of a query into a box. A layer's gradient stops at
    the box that it was given.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        width, layers = config.width, config.location_layers
        self.layers = nn.ModuleList(DecoderLayer(config, config.feedforward) for _ in range(layers))
        self.reference_points = nn.Linear(width, 2)
        xavier_matrices(self)
        nn.init.zeros_(self.reference_points.bias)
        self.queries = nn.Embedding(config.queries, 2 * width)  # position and content
        class_heads = [nn.Linear(width, config.num_things) for _ in range(layers)]
        for head in class_heads:
            nn.init.constant_(head.bias, -math.log((1 - PRIOR) / PRIOR))
        self.class_heads = nn.ModuleList(class_heads)
        # The first boxes have 12 % of the image's width and height (logit -2).
        self.box_heads = nn.ModuleList(BoxHead(width, 0.0 if i else -2.0) for i in range(layers))

    def forward(self, memory: Tensor, geometry: Geometry) -> Locations:
        """Classes and boxes of all layers from the memory ``[B, S, d]``."""
        position, x = (
            part.expand(memory.shape[0], -1, -1) for part in self.queries.weight.chunk(2, -1)
        )
        reference = self.reference_points(position).sigmoid()
        return self.decode(x, position, reference, memory, geometry)

    def decode(
        self, x: Tensor, position: Tensor, reference: Tensor, memory: Tensor, geometry: Geometry
    ) -> Locations:
        """The same from given queries ``[B, Q, d]`` and reference points ``[B, Q, 2]``."""
        class_logits, boxes = [], []
        reference = reference.to(geometry.valid_ratio.dtype)
        for layer, class_head, box_head in zip(
            self.layers, self.class_heads, self.box_heads, strict=True
        ):
            ratio = geometry.valid_ratio.repeat(1, 1, reference.shape[-1] // 2)
            x = layer(x, position, reference[:, :, None] * ratio[:, None], memory, geometry)
            with torch.autocast(x.device.type, enabled=False):  # half a pixel matters
                change = box_head(x.to(ratio.dtype))
            known = inverse_sigmoid(reference)
            centre = change[..., :2] + known[..., :2]
            # The first reference is a point and says nothing of the size.
            size = change[..., 2:] + known[..., 2:] if known.shape[-1] == 4 else change[..., 2:]
            boxes.append(torch.cat((centre, size), -1).sigmoid())
            class_logits.append(class_head(x))
            reference = boxes[-1].detach()
        return Locations(torch.stack(class_logits), torch.stack(boxes), x)


def inverse_sigmoid(x: Tensor) -> Tensor:
    """The logit of a probability, finite at 0 and 1."""
    return (x.clamp(min=_EPSILON) / (1 - x).clamp(min=_EPSILON)).log()
