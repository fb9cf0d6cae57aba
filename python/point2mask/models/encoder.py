"""Deformable encoder: every cell of every level reads from all levels."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from point2mask.models.config import STRIDES, DeformableConfig
from point2mask.models.deformable import DeformableAttention
from point2mask.models.geometry import Geometry
from point2mask.models.positional import level_positions


class FeedForward(nn.Module):
    """Linear, ReLU, linear with dropout after both."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.expand = nn.Linear(width, hidden)
        self.contract = nn.Linear(hidden, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.dropout(self.expand(x).relu())
        output: Tensor = self.dropout(self.contract(hidden))
        return output


class EncoderLayer(nn.Module):
    """Deformable self-attention and MLP, each with a residual and LayerNorm after it."""

    def __init__(self, config: DeformableConfig) -> None:
        super().__init__()
        self.attention = DeformableAttention(
            config.width, config.heads, len(STRIDES), config.points
        )
        self.attention_norm = nn.LayerNorm(config.width)
        self.feedforward = FeedForward(config.width, config.feedforward, config.dropout)
        self.feedforward_norm = nn.LayerNorm(config.width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, position: Tensor, reference: Tensor, geometry: Geometry) -> Tensor:
        attended = self.attention(x + position, reference, x, geometry.valid, geometry.shapes)
        x = self.attention_norm(x + self.dropout(attended))
        x = self.feedforward_norm(x + self.feedforward(x))
        return x


class Encoder(nn.Module):
    """The layers, with the centre of each cell as its reference."""

    def __init__(self, config: DeformableConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))
        xavier_matrices(self)

    def forward(self, features: Tensor, position: Tensor, geometry: Geometry) -> Tensor:
        """Memory ``[B, S, d]`` from features and position encodings of the same shape.

        What stands in cells that are not valid is finite, read by nobody and without meaning.
        """
        reference = cell_centres(geometry)[:, :, None] * geometry.valid_ratio[:, None]
        for layer in self.layers:
            features = layer(features, position, reference, geometry)
        return features


def flatten_levels(
    levels: Sequence[Tensor], level_embedding: Tensor, geometry: Geometry, within: float = 0.5
) -> tuple[Tensor, Tensor]:
    """Features and position encodings ``[B, S, d]`` of the levels ``[B, d, h_l, w_l]``.

    ``within``: as for :func:`~point2mask.models.positional.sine_position`.
    """
    features = torch.cat([level.flatten(2).transpose(1, 2) for level in levels], 1)
    places = level_positions(geometry, features.shape[-1], len(STRIDES), within)
    placed = [x + own for x, own in zip(places, level_embedding, strict=True)]
    return features, torch.cat(placed, 1).to(features.dtype)


def cell_centres(geometry: Geometry) -> Tensor:
    """The centre (x, y) of every cell, in parts of its image: ``[B, S, 2]``."""
    ratio = geometry.valid_ratio
    centres = []
    for level, (h, w) in enumerate(geometry.shapes):
        y = (torch.arange(h, device=ratio.device) + 0.5) / (ratio[:, level, 1:] * h)  # [B, h]
        x = (torch.arange(w, device=ratio.device) + 0.5) / (ratio[:, level, :1] * w)  # [B, w]
        grid = torch.stack((x[:, None].expand(-1, h, -1), y[:, :, None].expand(-1, -1, w)), -1)
        centres.append(grid.flatten(1, 2))
    return torch.cat(centres, 1)


def xavier_matrices(module: nn.Module) -> None:
    """Xavier for all matrices, then what attention wants: the published initialisation."""
    for parameter in module.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
    for child in module.modules():
        if isinstance(child, DeformableAttention):
            child.reset_parameters()
