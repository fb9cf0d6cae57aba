"""From the three maps of a backbone to four levels of one width."""

from collections.abc import Sequence

from torch import Tensor, nn

from point2mask.models.config import NetworkConfig


class ChannelMapper(nn.Module):
    """A 1 x 1 convolution for strides 8, 16 and 32, a strided 3 x 3 one of the last map for
    stride 64, GroupNorm after each."""

    def __init__(self, channels: Sequence[int], config: NetworkConfig) -> None:
        super().__init__()
        # Without biases: the normalisation has its own.
        convolutions = [nn.Conv2d(c, config.width, 1, bias=False) for c in channels]
        convolutions.append(
            nn.Conv2d(channels[-1], config.width, 3, stride=2, padding=1, bias=False)
        )
        for convolution in convolutions:
            nn.init.xavier_uniform_(convolution.weight)
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
