"""The inference network as one program of ``torch.export``: pixels to masks before the merge."""

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from point2mask.models.base import PointNetwork
from point2mask.models.geometry import Geometry


def export_network(network: PointNetwork, size: tuple[int, int]) -> ExportedProgram:
    """What the network does to one picture of a fixed size, without the code of the network.

    The program takes float32 ``[1, 3, H, W]``, RGB in [0, 1], and normalises it. It returns, by
    name, what :func:`~point2mask.models.predict` merges, of the last layers and of all Q queries.

    A :class:`~point2mask.models.PanopticNetwork`; (h, w) is H x W in cells of 8 pixels:

    - ``thing_logits`` ``[1, Q, things]``, of independent classes: for a sigmoid;
    - ``boxes`` ``[1, Q, 4]``, centre x, y, width, height in parts of the picture;
    - ``thing_masks`` ``[1, Q, h, w]``, after the network's mask activation (for "sigmoid": logits);
    - ``stuff_logits`` ``[1, stuff]``, whether the class is in the picture: for a sigmoid;
    - ``stuff_masks`` ``[1, stuff, h, w]``, like ``thing_masks``.

    It holds ``torch.ops.point2mask.deformable_attention``: ``import point2mask.ops`` comes before
    ``torch.export.load``.

    A :class:`~point2mask.models.Mask2FormerNetwork`; (h, w) is H x W in cells of 4 pixels:

    - ``class_logits`` ``[1, Q, C + 1]``, for a softmax; the last class is "nothing";
    - ``masks`` ``[1, Q, h, w]``, logits.

    A :class:`~point2mask.models.MaskDINONetwork`, which holds the operator too; cells of 4 pixels:

    - ``class_logits`` ``[1, Q, C]``, of independent classes: for a sigmoid;
    - ``boxes`` ``[1, Q, 4]``, centre x, y, width, height in parts of the picture;
    - ``masks`` ``[1, Q, h, w]``, logits.

    The program runs on the device that the network is on, and an input of another
    size is an error.

    Args:
        network: float32, in evaluation mode.
        size: H and W, pixels, each at least 1.

    Raises:
        ValueError: the network is in training mode, or the size is not positive.
    """
    if network.training:
        raise ValueError("network must be in evaluation mode, but it is in training mode")
    if min(size) < 1:
        raise ValueError(f"size must be at least 1 x 1, got {size[0]} x {size[1]}")
    device = next(network.parameters()).device
    images = torch.zeros(1, 3, *size, device=device)
    with torch.no_grad():
        return torch.export.export(_Inference(network, images), (images,))


class _Inference(nn.Module):
    def __init__(self, network: PointNetwork, images: Tensor) -> None:
        super().__init__()
        self.network = network
        # Sizes are read from a tensor here, which a traced program could not do.
        self.geometry = Geometry.of(torch.tensor([images.shape[-2:]]), images, network.spanning)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        encoded = self.network.encode_placed(self.network.normalise(images), self.geometry)
        return self.network.last_outputs(encoded)
