"""Mask decoders: a mask is what a query's attention to the memory looks like before the softmax."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from point2mask.models.config import MASK_LEVELS, MaskActivation
from point2mask.models.decoder import PRIOR
from point2mask.models.geometry import Geometry

PADDING_LOGIT = -1e4  # of a mask where there is no image; sigmoid is 0 and half precision holds it


class MaskDrawing(nn.Module):
    """Masks of queries from their scaled products with the keys of the memory.

    The products (8 heads, 3 levels) are mixed by a linear layer and ReLU on each level, brought to
    stride 8 and joined by one more linear layer. That last one is applied before the resize, with
    which it commutes: 24 maps to resize become 3.
    """

    def __init__(self, width: int, heads: int, activation: MaskActivation) -> None:
        super().__init__()
        self.heads, self.activation = heads, activation
        self.query = attention_projection(width)
        self.key = attention_projection(width)
        # Linear layers over the heads, which stand first: plain tensors spare a copy.
        self.level_weight = nn.Parameter(torch.empty(MASK_LEVELS, heads, heads))
        self.level_bias = nn.Parameter(torch.zeros(MASK_LEVELS, heads, 1))
        self.mask_weight = nn.Parameter(torch.empty(1, MASK_LEVELS * heads))
        self.mask_bias = nn.Parameter(torch.zeros(()))
        for weight in (*self.level_weight, self.mask_weight):
            nn.init.xavier_uniform_(weight)

    def split(self, x: Tensor) -> Tensor:
        """``[B, N, d]`` to ``[B, heads, N, d / heads]``."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def scores(self, query: Tensor, memory: Tensor) -> Tensor:
        """``[B, heads, K, M]`` of queries ``[B, K, d]`` and the memory of the mask levels."""
        keys = self.split(self.key(memory))
        queries = self.split(self.query(query)) / math.sqrt(keys.shape[-1])
        return queries @ keys.transpose(-1, -2)

    def draw(self, scores: Tensor, geometry: Geometry) -> Tensor:
        """Masks ``[B, K, h, w]`` from scores ``[B, heads, K, M]``."""
        batch, _, count, _ = scores.shape
        total: Tensor = self.mask_bias
        last = self.mask_weight.expand(batch, 1, -1).split(self.heads, -1)
        for level, part in enumerate(scores.split(geometry.lengths[:MASK_LEVELS], -1)):
            weight = self.level_weight[level].expand(batch, -1, -1)
            mixed = torch.baddbmm(self.level_bias[level], weight, part.flatten(2)).relu()
            joined = last[level] @ mixed  # [B, 1, K · cells of the level]
            maps = joined.view(batch, count, *geometry.shapes[level])
            total = total + geometry.to_finest(level, maps)
        outside = ~geometry.finest[:, None]
        if self.activation == "relu":
            return total.relu().masked_fill(outside, 0.0)
        if self.activation == "softplus":
            return F.softplus(total).masked_fill(outside, 0.0)
        return total.masked_fill(outside, PADDING_LOGIT)


class MaskAttention(MaskDrawing):
    """Multi-head attention to the memory whose scores also draw masks."""

    def __init__(self, width: int, heads: int, activation: MaskActivation) -> None:
        super().__init__(width, heads, activation)
        self.value = attention_projection(width)
        self.output = nn.Linear(width, width)
        nn.init.zeros_(self.output.bias)

    def attend(self, scores: Tensor, memory: Tensor, geometry: Geometry) -> Tensor:
        """Attention output ``[B, K, d]``; cells that are not valid are not attended to."""
        padding = ~geometry.valid[:, None, None, : geometry.mask_cells]
        weights = scores.masked_fill(padding, -math.inf).softmax(-1)
        values = self.split(self.value(memory))
        attended: Tensor = self.output(
            (weights.to(values.dtype) @ values).transpose(1, 2).flatten(2)
        )
        return attended


class MaskDecoderLayer(nn.Module):
    """[Self-attention,] mask attention and MLP; residual and LayerNorm each, no dropout."""

    def __init__(
        self,
        width: int,
        heads: int,
        feedforward: int,
        activation: MaskActivation,
        self_attention: bool,
        original: bool = False,
    ) -> None:
        super().__init__()
        epsilon = 1e-6 if original else 1e-5
        self.self_attention = self.self_attention_norm = None
        if self_attention:
            self.self_attention = nn.MultiheadAttention(width, heads, batch_first=True)
            self.self_attention_norm = nn.LayerNorm(width, epsilon)
        self.attention = MaskAttention(width, heads, activation)
        self.attention_norm = nn.LayerNorm(width, epsilon)
        self.feedforward = nn.Sequential(
            nn.Linear(width, feedforward), nn.GELU(), nn.Linear(feedforward, width)
        )
        self.feedforward_norm = nn.LayerNorm(width, epsilon)

    def forward(
        self,
        query: Tensor,
        memory: Tensor,
        geometry: Geometry,
        with_mask: bool,
        hidden: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """New queries and their masks; ``hidden``, bool ``[B, K]``, are seen by no other query."""
        if self.self_attention is not None and self.self_attention_norm is not None:
            attended, _ = self.self_attention(
                query, query, query, key_padding_mask=hidden, need_weights=False
            )
            query = self.self_attention_norm(query + attended)
        scores = self.attention.scores(query, memory)
        mask = self.attention.draw(scores, geometry) if with_mask else None
        query = self.attention_norm(query + self.attention.attend(scores, memory, geometry))
        query = self.feedforward_norm(query + self.feedforward(query))
        return query, mask


class ThingMaskDecoder(nn.Module):
    """Masks of given queries, each on its own: there is no self-attention.

    The last layer only draws: what it would make of the queries has no use.
    """

    def __init__(
        self,
        layers: int,
        width: int,
        heads: int,
        feedforward: int,
        activation: MaskActivation,
        original: bool = False,
    ) -> None:
        """``original``: with the norms of Panoptic SegFormer's own code."""
        super().__init__()
        self.layers = nn.ModuleList(
            MaskDecoderLayer(width, heads, feedforward, activation, False, original)
            for _ in range(layers - 1)
        )
        self.last = MaskDrawing(width, heads, activation)

    def forward(
        self, query: Tensor, memory: Tensor, geometry: Geometry, all_layers: bool = True
    ) -> Tensor:
        """Masks ``[L, B, K, h, w]`` of queries ``[B, K, d]``.

        Args:
            query: what the location decoder knows of the things.
            memory: ``[B, M, d]``.
            geometry: of the batch.
            all_layers: False gives the last layer alone (L = 1) and spares the other masks.
        """
        masks = []
        for layer in self.layers:
            query, mask = layer(query, memory, geometry, all_layers)
            if mask is not None:
                masks.append(mask)
        masks.append(self.last.draw(self.last.scores(query, memory), geometry))
        return torch.stack(masks)


class ClassMasks(NamedTuple):
    """One mask for every class of a kind, in L layers."""

    masks: Tensor  # [L, B, C, h, w]; one more where the last ones are drawn after the layers
    class_logits: Tensor  # [L, B, C], whether the class is in the image


class ClassMaskDecoder(nn.Module):
    """Masks of learned queries, one a class, that attend to each other.

    The position of a query is added before every layer. ``original``, as Panoptic SegFormer's own
    code has it, draws the last masks after the layers.
    """

    def __init__(
        self,
        classes: int,
        layers: int,
        width: int,
        heads: int,
        feedforward: int,
        activation: MaskActivation = "relu",
        prior: bool = False,
        original: bool = False,
    ) -> None:
        super().__init__()
        self.queries = nn.Embedding(classes, 2 * width)  # content and position
        self.layers = nn.ModuleList(
            MaskDecoderLayer(width, heads, feedforward, activation, True, original)
            for _ in range(layers)
        )
        self.last = MaskDrawing(width, heads, activation) if original else None
        class_heads = [nn.Linear(width, 1) for _ in range(layers)]
        if prior:
            for head in class_heads:
                nn.init.constant_(head.bias, -math.log((1 - PRIOR) / PRIOR))
        self.class_heads = nn.ModuleList(class_heads)

    def forward(self, memory: Tensor, geometry: Geometry, all_layers: bool = True) -> ClassMasks:
        """Masks and class logits of the layers, or of the last alone (L = 1)."""
        query, position = (
            part.expand(memory.shape[0], -1, -1) for part in self.queries.weight.chunk(2, -1)
        )
        masks, logits = [], []
        for number, (layer, head) in enumerate(zip(self.layers, self.class_heads, strict=True), 1):
            at_end = number == len(self.layers)
            drawn = all_layers or (at_end and self.last is None)
            query, mask = layer(query + position, memory, geometry, drawn)
            if mask is not None:
                masks.append(mask)
            if all_layers or at_end:
                logits.append(head(query)[..., 0])
        if self.last is not None:
            masks.append(self.last.draw(self.last.scores(query + position, memory), geometry))
        return ClassMasks(torch.stack(masks), torch.stack(logits))


def attention_projection(width: int) -> nn.Linear:
    """A projection of attention; Xavier as for query, key and value stacked to one matrix."""
    projection = nn.Linear(width, width)
    nn.init.xavier_uniform_(projection.weight, gain=math.sqrt(0.5))
    nn.init.zeros_(projection.bias)
    return projection
