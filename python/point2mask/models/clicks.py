"""The click branch: to which of an image's clicked targets every cell belongs."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from point2mask.models.config import PointNetworkConfig
from point2mask.models.geometry import Geometry
from point2mask.models.mask_decoder import PADDING_LOGIT, MaskDecoderLayer, MaskDrawing

# When training begins logits fall by RATE · log(1 + cost / SHORT) over a path. Far away ratios of
# paths count, so that a click on a pixel which the maps take for another class is not cut off.
RATE, SHORT = 3.0, 0.05


class ClickLayer(nn.Module):
    """A layer of the mask decoders, after which a query has also read what its mask covers."""

    def __init__(self, width: int, heads: int, feedforward: int) -> None:
        super().__init__()
        self.decode = MaskDecoderLayer(width, heads, feedforward, "sigmoid", self_attention=True)
        self.gather = nn.Linear(width, width)
        self.gather_norm = nn.LayerNorm(width)

    def forward(
        self, query: Tensor, memory: Tensor, geometry: Geometry, prior: Tensor, clicked: Tensor
    ) -> tuple[Tensor, Tensor]:
        """New queries ``[B, K, d]`` and logits ``[B, K, h, w]``.

        ``prior``, of the logits' shape, is added to them; ``clicked``, bool ``[B, K]``, are the
        targets that have a click.
        """
        # Targets without a click are nobody's rivals. An image without clicks has none but those.
        hidden = ~clicked & clicked.any(1, keepdim=True)
        query, mask = self.decode(query, memory, geometry, True, hidden)
        logits = among(mask + prior, clicked)
        share = logits.softmax(1) * geometry.finest[:, None]
        covered = means(share.flatten(2), memory)
        return self.gather_norm(query + self.gather(covered)), logits


class ClickDecoder(nn.Module):
    """Clicks as queries, whose masks share out an image.

    A query is the mean of the memory over the cells of its target's clicks plus an embedding of
    the class; the mean of the cells' positions is added before every layer. Queries attend to each
    other, to the memory, and gather what the masks of the layer cover (learned distances of
    point-supervised panoptic segmentation: Li et al., ECCV 2024, of which there is no code).

    It begins at the nearest click: things lose with the cost of the way from theirs, stuff does
    not, each class at a rate that is learned. So what is learned is what the paths do not know.
    """

    def __init__(self, config: PointNetworkConfig) -> None:
        super().__init__()
        sizes = (config.width, config.heads)
        self.category = nn.Embedding(config.num_classes, config.width)
        things = torch.arange(config.num_classes) < config.num_things
        self.rate = nn.Parameter(things.to(torch.get_default_dtype()))  # in units of RATE
        self.layers = nn.ModuleList(
            ClickLayer(*sizes, config.feedforward) for _ in range(config.click_layers - 1)
        )
        self.last = MaskDrawing(*sizes, "sigmoid")

    def forward(
        self,
        memory: Tensor,
        position: Tensor,
        geometry: Geometry,
        xy: Tensor,
        category: Tensor,
        distance: Tensor,
    ) -> Tensor:
        """Logits ``[L, B, K, h, w]`` of every layer, for a softmax over the targets.

        Args:
            memory: ``[B, M, d]`` of the mask levels.
            position: of the same shape, the encoding of the cells.
            geometry: of the batch.
            xy: float ``[B, K, P, 2]``, clicks (x, y) in pixels; negative ones are padding.
            category: int64 ``[B, K]``, class, -1 = padding.
            distance: ``[B, K, h, w]``, cost of the cheapest path from a target's clicks.

        Raises:
            ValueError: there is no target or no click to be one's.
        """
        if xy.dim() != 4 or 0 in xy.shape or category.shape != xy.shape[:2]:
            raise ValueError(
                "clicks must have xy [B, K >= 1, P >= 1, 2] and category [B, K], got "
                f"{[*xy.shape]} and {[*category.shape]}"
            )
        cells = click_counts(xy, category, geometry).to(memory.dtype)
        clicked = cells.any(-1)
        # Not self.rate[category], whose gradient adds up in no fixed order.
        rate = F.embedding(category.clamp(min=0), self.rate[:, None])[..., None]
        prior = -RATE * rate * (distance / SHORT).log1p().to(memory.dtype)
        place = means(cells, position)
        query = means(cells, memory) + self.category(category.clamp(min=0))
        placed = memory + position
        logits = []
        for layer in self.layers:
            query, mask = layer(query + place, placed, geometry, prior, clicked)
            logits.append(mask)
        scores = self.last.scores(query + place, placed)
        logits.append(among(self.last.draw(scores, geometry) + prior, clicked))
        return torch.stack(logits)


def click_cells(xy: Tensor, category: Tensor, geometry: Geometry) -> tuple[Tensor, Tensor, Tensor]:
    """Column, row and whether it is one, of the cell of 8 pixels of every click, ``[B, K, P]``.

    Clicks outside their image are none. Arguments as for :class:`ClickDecoder`.
    """
    size = torch.tensor(geometry.sizes, device=xy.device).flip(1)[:, None, None]
    is_click = ((xy >= 0) & (xy < size)).all(-1) & (category >= 0)[..., None]
    extent = geometry.extent[:, 0, None, None]
    # In float32 a click just inside the border may come out on it, which is the next cell's.
    cell = (xy * (extent / size)).long()
    x, y = torch.minimum(cell, extent.ceil().long() - 1).unbind(-1)
    return x, y, is_click


def click_counts(xy: Tensor, category: Tensor, geometry: Geometry) -> Tensor:
    """How many clicks of every target lie in every cell, float32 ``[B, K, h·w]``."""
    rows, columns = geometry.shapes[0]
    x, y, is_click = click_cells(xy, category, geometry)
    # Counts: integers, whose sum is the same in any order.
    cell = torch.where(is_click, y * columns + x, rows * columns)
    counts = torch.zeros(*category.shape, rows * columns + 1, device=xy.device)
    return counts.scatter_add_(2, cell, torch.ones_like(cell, dtype=counts.dtype))[..., :-1]


def means(weights: Tensor, memory: Tensor) -> Tensor:
    """Weighted means of the finest level, ``[B, K, d]``; 0 where no cell has a weight.

    Args:
        weights: ``[B, K, h·w]``, not negative.
        memory: ``[B, M, d]``, the finest level first.
    """
    total = weights.sum(-1, keepdim=True).clamp(min=1e-6)
    return (weights / total).to(memory.dtype) @ memory[:, : weights.shape[-1]]


def among(mask: Tensor, clicked: Tensor) -> Tensor:
    """Masks ``[B, K, h, w]`` whose softmax gives nothing to targets without a click."""
    return mask.masked_fill(~clicked[..., None, None], PADDING_LOGIT)
