"""Swin as in the published code, where timm's differs: windows on maps they do not divide, and
position tables of another window."""

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor

PATCH = 4  # pixels a side of what becomes one token
_TABLE = "relative_position_bias_table"


def pad_before_rolling(body: Any) -> None:
    """Makes every block of a body pad its map to whole windows first and roll it then.

    timm rolls first, so that at a shift the padding stands between the two borders of the map. The
    blocks must shift on every map, even where one window covers it: timm's ``always_partition``.
    """
    from timm.models.swin_transformer import SwinTransformerBlock

    for module in body.modules():
        if isinstance(module, SwinTransformerBlock):
            setattr(module, "_attn", _Padded(module))  # noqa: B010 - mypy knows it as a method


class _Padded:
    """The windowed attention of a block, on its map padded to whole windows."""

    def __init__(self, block: Any) -> None:
        self._block = block

    def __call__(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        rows, columns = self._block.window_size
        padded = F.pad(x, (0, 0, 0, -width % columns, 0, -height % rows))
        attended: Tensor = type(self._block)._attn(self._block, padded)
        return attended[:, :height, :width]


def resize_bias_tables(state: Mapping[str, Tensor], window: int) -> dict[str, Tensor]:
    """A state dict whose position tables ``[(2 w - 1)², heads]`` are those of another window.

    Bicubic, as published; timm's own way keeps the steps near the centre.
    """
    side = 2 * window - 1
    resized = dict(state)
    for name, table in state.items():
        if name.endswith(_TABLE) and len(table) != side**2:
            old = round(len(table) ** 0.5)
            map_ = table.T.reshape(1, -1, old, old)
            map_ = F.interpolate(map_, (side, side), mode="bicubic", align_corners=False)
            resized[name] = map_.flatten(2)[0].T.contiguous()
    return resized
