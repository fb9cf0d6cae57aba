"""Mask decoders: a mask is what a query's attention to the memory looks like before the softmax."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from point2mask.models.config import MASK_LEVELS, MaskActivation
from point2mask.models.decoder import PRIOR
from point2mask.models.geometry import Geometry

PADDING_LOGIT = -1e4  # of a mask where there is no image; sigmoid is 0 and half precision holds it


class MaskAttention(nn.Module):
    """Multi-head attention to the memory that also draws a mask.

    The scaled products of query and keys (8 heads, 3 levels, before the softmax) are mixed by a
    linear layer and ReLU on each level, brought to stride 8 and joined by one more linear layer.
    That last one is applied before the resize, with which it commutes: 24 maps to resize become 3.
    """

    def __init__(self, width: int, heads: int, activation: MaskActivation) -> None:
        super().__init__()
        self.heads, self.activation = heads, activation
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        # Linear layers over the heads, which stand first: plain tensors spare a copy.
        self.level_weight = nn.Parameter(torch.empty(MASK_LEVELS, heads, heads))
        self.level_bias = nn.Parameter(torch.zeros(MASK_LEVELS, heads, 1))
        self.mask_weight = nn.Parameter(torch.empty(1, MASK_LEVELS * heads))
        self.mask_bias = nn.Parameter(torch.zeros(()))
        for projection in (self.query, self.key, self.value):
            # Xavier for the three stacked to one matrix, as is usual in attention.
            nn.init.xavier_uniform_(projection.weight, gain=math.sqrt(0.5))
        for weight in (*self.level_weight, self.mask_weight):
            nn.init.xavier_uniform_(weight)
        for projection in (self.query, self.key, self.value, self.output):
            nn.init.zeros_(projection.bias)

    def forward(
        self, query: Tensor, memory: Tensor, geometry: Geometry, with_mask: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Attended queries ``[B, K, d]`` and, if asked for, masks ``[B, K, h, w]`` at stride 8.

        Args:
            query: ``[B, K, d]``.
            memory: ``[B, M, d]``, the mask levels one after the other.
            geometry: of the batch.
            with_mask: False spares the masks.
        """

        def split(x: Tensor) -> Tensor:
            return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        keys, values = split(self.key(memory)), split(self.value(memory))
        queries = split(self.query(query)) / math.sqrt(keys.shape[-1])
        scores = queries @ keys.transpose(-1, -2)  # [B, heads, K, M]
        padding = ~geometry.valid[:, None, None, : geometry.mask_cells]
        attention = scores.masked_fill(padding, -math.inf).softmax(-1)
        attended = (attention.to(values.dtype) @ values).transpose(1, 2).flatten(2)
        mask = self.mask(scores, geometry) if with_mask else None
        return self.output(attended), mask

    def mask(self, scores: Tensor, geometry: Geometry) -> Tensor:
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
        return total.masked_fill(outside, PADDING_LOGIT)


class MaskDecoderLayer(nn.Module):
    """[Self-attention,] mask attention and MLP; residual and LayerNorm each, no dropout."""

    def __init__(
        self,
        width: int,
        heads: int,
        feedforward: int,
        activation: MaskActivation,
        self_attention: bool,
    ) -> None:
        super().__init__()
        self.self_attention = self.self_attention_norm = None
        if self_attention:
            self.self_attention = nn.MultiheadAttention(width, heads, batch_first=True)
            self.self_attention_norm = nn.LayerNorm(width)
        self.attention = MaskAttention(width, heads, activation)
        self.attention_norm = nn.LayerNorm(width)
        self.feedforward = nn.Sequential(
            nn.Linear(width, feedforward), nn.GELU(), nn.Linear(feedforward, width)
        )
        self.feedforward_norm = nn.LayerNorm(width)

    def forward(
        self, query: Tensor, memory: Tensor, geometry: Geometry, with_mask: bool
    ) -> tuple[Tensor, Tensor | None]:
        if self.self_attention is not None and self.self_attention_norm is not None:
            attended, _ = self.self_attention(query, query, query, need_weights=False)
            query = self.self_attention_norm(query + attended)
        attended, mask = self.attention(query, memory, geometry, with_mask)
        query = self.attention_norm(query + attended)
        query = self.feedforward_norm(query + self.feedforward(query))
        return query, mask


class MaskDecoder(nn.Module):
    """Layers that turn queries into masks; the position of a query is added before each."""

    def __init__(
        self,
        layers: int,
        width: int,
        heads: int,
        feedforward: int,
        activation: MaskActivation = "relu",
        self_attention: bool = False,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            MaskDecoderLayer(width, heads, feedforward, activation, self_attention)
            for _ in range(layers)
        )

    def forward(
        self,
        query: Tensor,
        position: Tensor | None,
        memory: Tensor,
        geometry: Geometry,
        all_layers: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """Queries ``[L, B, K, d]`` after and masks ``[L, B, K, h, w]`` of each layer.

        Args:
            query: ``[B, K, d]``.
            position: of the queries, the same shape, or None.
            memory: ``[B, M, d]``.
            geometry: of the batch.
            all_layers: False gives the last layer alone (L = 1) and spares the other masks.
        """
        queries, masks = [], []
        for number, layer in enumerate(self.layers, 1):
            wanted = all_layers or number == len(self.layers)
            query = query if position is None else query + position
            query, mask = layer(query, memory, geometry, wanted)
            if mask is not None:
                queries.append(query)
                masks.append(mask)
        return torch.stack(queries), torch.stack(masks)


class ClassMasks(NamedTuple):
    """One mask for every class of a kind, in L layers."""

    masks: Tensor  # [L, B, C, h, w]
    class_logits: Tensor  # [L, B, C], whether the class is in the image


class ClassMaskDecoder(nn.Module):
    """A mask decoder with self-attention whose queries are learned, one a class."""

    def __init__(
        self,
        classes: int,
        layers: int,
        width: int,
        heads: int,
        feedforward: int,
        activation: MaskActivation = "relu",
        prior: bool = False,
    ) -> None:
        super().__init__()
        self.queries = nn.Embedding(classes, 2 * width)  # content and position
        self.decoder = MaskDecoder(
            layers, width, heads, feedforward, activation, self_attention=True
        )
        heads_of_layers = [nn.Linear(width, 1) for _ in range(layers)]
        if prior:
            for head in heads_of_layers:
                nn.init.constant_(head.bias, -math.log((1 - PRIOR) / PRIOR))
        self.class_heads = nn.ModuleList(heads_of_layers)

    def forward(self, memory: Tensor, geometry: Geometry, all_layers: bool = True) -> ClassMasks:
        """Masks and class logits of the layers, or of the last alone."""
        content, position = (
            part.expand(memory.shape[0], -1, -1) for part in self.queries.weight.chunk(2, -1)
        )
        queries, masks = self.decoder(content, position, memory, geometry, all_layers)
        heads = list(self.class_heads)[-len(queries) :]
        logits = [head(query)[..., 0] for head, query in zip(heads, queries, strict=True)]
        return ClassMasks(masks, torch.stack(logits))
