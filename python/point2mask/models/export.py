"""The network at one size of picture as a graph of PyTorch: ``torch.export``."""

import torch
from torch import Tensor, nn

from point2mask.models.config import MergeConfig
from point2mask.models.inference import candidates
from point2mask.models.network import PanopticNetwork


class FixedSizeNetwork(nn.Module):
    """What inference takes from the network, as tensors alone, for one picture of a fixed size.

    The merge of masks, whose work depends on what is found, is not in it.
    """

    def __init__(self, network: PanopticNetwork, size: tuple[int, int], max_things: int) -> None:
        super().__init__()
        self.network = network
        self.size = size
        self.max_things = max_things

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Masks ``[K, h, w]`` at stride 8, class scores ``[K]`` and labels ``[K]``, things first.

        Args:
            images: ``[1, 3, H, W]``, normalised; the picture has the size given at the top left.
        """
        encoded = self.network.encode(images, torch.tensor([self.size]))
        masks, score, labels = candidates(self.network, encoded, self.max_things)
        return masks[0], score[0], labels[0]


def export_network(
    network: PanopticNetwork, size: tuple[int, int], config: MergeConfig | None = None
) -> torch.export.ExportedProgram:
    """The graph of :class:`FixedSizeNetwork` for pictures of ``size`` (height, width).

    Its input has whole multiples of 32, as a picture of that size is padded for prediction. The
    operator ``torch.ops.point2mask.deformable_attention`` is in it: loading needs this package.
    """
    config = config or MergeConfig()
    device = next(network.parameters()).device
    height, width = (-(-side // 32) * 32 for side in size)
    module = FixedSizeNetwork(network, size, config.max_things).eval()
    with torch.no_grad():
        return torch.export.export(module, (torch.zeros(1, 3, height, width, device=device),))
