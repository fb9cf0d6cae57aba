"""From the three maps of a backbone to four levels of one width."""

from collections.abc import Sequence

from torch import Tensor, nn

from point2mask.models.config import DeformableConfig


class ChannelMapper(nn.Module):
    """A 1 x 1 convolution for strides 8, 16 and 32, a strided 3 x 3 one of the last map for
    stride 64, GroupNorm after each."""

    def __init__(
        self, channels: Sequence[int], config: DeformableConfig, bias: bool = False
    ) -> None:
        """``bias``: whether the convolutions have one beside that of the normalisation."""
        super().__init__()
        convolutions = [nn.Conv2d(c, config.width, 1, bias=bias) for c in channels]
        convolutions.append(
            nn.Conv2d(channels[-1], config.width, 3, stride=2, padding=1, bias=bias)
        )
        for convolution in convolutions:
            nn.init.xavier_uniform_(convolution.weight)
            if convolution.bias is not None:
                nn.init.zeros_(convolution.bias)
        self.convolutions = nn.ModuleList(convolutions)
        self.norms = nn.ModuleList(
            nn.GroupNorm(config.norm_groups, config.width) for _ in convolutions
        )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Four maps ``[B, d, h_l, w_l]``."""
        inputs = [*features, features[-1]]
        return [
            norm(convolution(x))
            for norm, convolution, x in zip(self.norms, self.convolutions, inputs, strict=True)
        ]
