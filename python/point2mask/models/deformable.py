"""Multi-scale deformable attention (Zhu et al., ICLR 2021)."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from point2mask import ops


class DeformableAttention(nn.Module):
    """Every query reads a few points around its reference on every level.

    Head m of query q returns ``sum over levels l and points p of a[q, m, l, p] · V_m,l(x)`` with
    x = reference + offset[q, m, l, p]; V is sampled bilinearly and is 0 outside the valid cells.
    """

    def __init__(self, width: int, heads: int, levels: int, points: int) -> None:
        super().__init__()
        self.heads, self.levels, self.points = heads, levels, points
        self.sampling_offsets = nn.Linear(width, heads * levels * points * 2)
        self.attention_weights = nn.Linear(width, heads * levels * points)
        self.value_proj = nn.Linear(width, width)
        self.output_proj = nn.Linear(width, width)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """As :func:`start_looking_around`."""
        start_looking_around(self, self.heads, self.levels, self.points)

    def forward(
        self,
        query: Tensor,
        reference: Tensor,
        memory: Tensor,
        valid: Tensor,
        shapes: tuple[tuple[int, int], ...],
    ) -> Tensor:
        """Attention output ``[B, Q, d]``.

        Args:
            query: ``[B, Q, d]``, position encoding included.
            reference: ``[B, Q, levels, 2 or 4]``, in parts of the padded level: a point (x, y),
                offsets then counting cells; or a box (x, y, w, h), offsets then counting
                1 / points of half the box.
            memory: ``[B, S, d]``, the levels one after the other.
            valid: bool ``[B, S]``.
            shapes: h and w of every level.
        """
        batch, count, _ = query.shape
        per_point = (batch, count, self.heads, self.levels, self.points)
        offset = self.sampling_offsets(query).view(*per_point, 2)
        weight = self.attention_weights(query).view(batch, count, self.heads, -1).softmax(-1)
        weight = weight.view(per_point)
        anchor = reference[:, :, None, :, None]  # [B, Q, 1, levels, 1, 2 or 4]
        if reference.shape[-1] == 2:
            extent = torch.tensor(shapes, dtype=reference.dtype, device=reference.device).flip(-1)
            # Written out for every head and point: a broadcast along pairs does not vectorise.
            cell = (1 / extent[:, None]).expand((*per_point[2:], 2)).contiguous()
            where = anchor + offset * cell
        else:
            where = anchor[..., :2] + offset / self.points * anchor[..., 2:] * 0.5
        value = self.value_proj(memory).masked_fill(~valid[..., None], 0.0)
        value = value.unflatten(-1, (self.heads, -1))
        read = ops.deformable_attention(
            value.to(where.dtype), where, weight.to(where.dtype), torch.tensor(shapes)
        )
        output: Tensor = self.output_proj(read.flatten(2))
        return output


def start_looking_around(attention: Any, heads: int, levels: int, points: int) -> None:
    """The published initialisation of the four linear layers of a deformable attention.

    Head m looks in the direction 2 pi m / heads at 1, 2, ... cells, all equally weighted.
    """
    angle = torch.arange(heads) * (2 * math.pi / heads)
    direction = torch.stack((angle.cos(), angle.sin()), -1)
    direction = direction / direction.abs().amax(-1, keepdim=True)
    distance = torch.arange(1, points + 1)[:, None]
    offset = (direction[:, None, None] * distance).expand(-1, levels, -1, -1)
    nn.init.zeros_(attention.sampling_offsets.weight)
    with torch.no_grad():
        attention.sampling_offsets.bias.copy_(offset.reshape(-1))
    nn.init.zeros_(attention.attention_weights.weight)
    nn.init.zeros_(attention.attention_weights.bias)
    for projection in (attention.value_proj, attention.output_proj):
        nn.init.xavier_uniform_(projection.weight)
        nn.init.zeros_(projection.bias)
