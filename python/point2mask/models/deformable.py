"""Multi-scale deformable attention (Zhu et al., ICLR 2021), in PyTorch operators alone."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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
        """Head m looks in the direction 2 pi m / heads at 1, 2, ... cells, all equally weighted."""
        angle = torch.arange(self.heads) * (2 * math.pi / self.heads)
        direction = torch.stack((angle.cos(), angle.sin()), -1)
        direction = direction / direction.abs().amax(-1, keepdim=True)
        distance = torch.arange(1, self.points + 1)[:, None]
        offset = (direction[:, None, None] * distance).expand(-1, self.levels, -1, -1)
        nn.init.zeros_(self.sampling_offsets.weight)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(offset.reshape(-1))
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for projection in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(projection.weight)
            nn.init.zeros_(projection.bias)

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
            where = anchor + offset / extent[:, None]
        else:
            where = anchor[..., :2] + offset / self.points * anchor[..., 2:] * 0.5
        value = self.value_proj(memory).masked_fill(~valid[..., None], 0.0)
        output: Tensor = self.output_proj(self._sample(value, where, weight, shapes))
        return output

    def _sample(
        self,
        value: Tensor,  # [B, S, d]
        where: Tensor,  # [B, Q, heads, levels, points, 2], x and y, 0 to 1 over a level
        weight: Tensor,  # [B, Q, heads, levels, points]
        shapes: tuple[tuple[int, int], ...],
    ) -> Tensor:
        batch, count = where.shape[:2]
        grid = (2 * where - 1).transpose(1, 2).flatten(0, 1)  # [B·heads, Q, levels, points, 2]
        weight = weight.transpose(1, 2).flatten(0, 1)[:, None]  # [B·heads, 1, Q, levels, points]
        total: Tensor | None = None
        for level, part in enumerate(value.split([h * w for h, w in shapes], 1)):
            maps = part.transpose(1, 2).reshape(batch * self.heads, -1, *shapes[level])
            sampled = F.grid_sample(
                maps.to(grid.dtype), grid[:, :, level], align_corners=False
            )  # [B·heads, d / heads, Q, points]
            term = (sampled * weight[:, :, :, level]).sum(-1)
            total = term if total is None else total + term
        assert total is not None  # there is at least one level
        return total.reshape(batch, -1, count).transpose(1, 2)
