"""Which cells of the memory become the queries of MaskDINO, and where they begin."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from point2mask.models.base import best_things
from point2mask.models.config import MASK_STRIDE, STRIDES, MaskDINOConfig
from point2mask.models.decoder import inverse_sigmoid
from point2mask.models.encoder import cell_centres
from point2mask.models.geometry import Geometry, cells
from point2mask.models.segment_heads import SegmentHeads

SMALLEST = 0.05  # side of the box that a cell of the coarsest level proposes, in parts of the image
BORDER = 0.01  # a number of a box that is nearer to 0 or 1 is refused


class Selected(NamedTuple):
    """The cells that queries are made of, the best first."""

    content: Tensor  # [B, Q, d]
    boxes: Tensor  # [B, Q, 4], centre x, y, width, height in parts of the image, as logits
    cell: Tensor  # int64 [B, Q]; at least S where it is none


class QuerySelection(nn.Module):
    """The Q cells whose best class scores highest, each with the box that it proposes.

    An image that has fewer cells is filled up with queries of nothing, so that neither the padding
    of a batch nor its other images have a part in the choice. MaskDINO fails on such an image.
    """

    def __init__(self, config: MaskDINOConfig) -> None:
        super().__init__()
        self.queries = config.queries
        self.linear = nn.Linear(config.width, config.width)
        self.norm = nn.LayerNorm(config.width)

    def forward(self, memory: Tensor, geometry: Geometry, heads: SegmentHeads) -> Selected:
        """The queries of a memory ``[B, S, d]``."""
        proposed, usable = proposals(geometry)
        missing = max(self.queries - memory.shape[1], 0)
        usable, proposed = F.pad(usable, (0, missing)), F.pad(proposed, (0, 0, 0, missing))
        known = F.pad(memory, (0, 0, 0, missing)).masked_fill(~usable[..., None], 0.0)
        placed: Tensor = self.norm(self.linear(known))
        score = heads.classes(placed).amax(-1).detach().masked_fill(~usable, -torch.inf)
        _, index = best_things(score, self.queries)
        chosen = index[..., None]
        content = placed.gather(1, chosen.expand(-1, -1, placed.shape[-1]))
        boxes = heads.change(content) + proposed.gather(1, chosen.expand(-1, -1, 4))
        return Selected(content, boxes, index)


def proposals(geometry: Geometry) -> tuple[Tensor, Tensor]:
    """The box around every cell as logits ``[B, S, 4]``, and which are usable, bool ``[B, S]``.

    Boxes of the finest level are the largest, as published. A box is usable if its cell is valid
    and all four numbers are within (0.01, 0.99); the others have logits of 0, published infinity.
    """
    levels = len(STRIDES)
    centre = cell_centres(geometry)
    sides = [SMALLEST * 2 ** (levels - 1 - level) for level in range(levels)]
    side = torch.cat(
        [centre.new_full((n,), side) for n, side in zip(geometry.lengths, sides, strict=True)]
    )
    boxes = torch.cat((centre, side[None, :, None].expand(len(centre), -1, 2)), -1)
    inside = ((boxes > BORDER) & (boxes < 1 - BORDER)).all(-1)
    usable = inside & geometry.valid
    return inverse_sigmoid(boxes).masked_fill(~usable[..., None], 0.0), usable


def boxes_of_masks(masks: Tensor, sizes: tuple[tuple[int, int], ...]) -> Tensor:
    """The tight boxes ``[B, Q, 4]`` of masks bool ``[B, Q, H / 4, W / 4]`` in parts of the images.

    A mask without a cell has a box without extent in the corner.

    Args:
        masks: of cells of 4 pixels.
        sizes: height and width of every image in pixels; cells outside are not read.
    """
    boxes = []
    for own, size in zip(masks, sizes, strict=True):
        height, width = (cells(length, MASK_STRIDE) for length in size)
        inside = own[:, :height, :width]
        ends = [_ends(inside.any(2)), _ends(inside.any(1))]  # y, x
        parts = [
            (end * (MASK_STRIDE / length)).clamp(max=1)
            for end, length in zip(ends, size, strict=True)
        ]
        (top, bottom), (left, right) = (part.unbind(-1) for part in parts)
        box = (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
        boxes.append(torch.stack(box, -1))
    return torch.stack(boxes)


def _ends(used: Tensor) -> Tensor:
    """First used place of ``[Q, n]`` and the one after the last, ``[Q, 2]``; 0 where none is."""
    count = used.shape[1]
    whole = used.int()
    first, behind = whole.argmax(1), count - whole.flip(1).argmax(1)
    return torch.stack((first, behind), -1) * used.any(1, keepdim=True)
