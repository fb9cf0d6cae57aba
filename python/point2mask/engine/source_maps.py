"""Maps that pseudo masks are grown from: of a forward pass, or finer ones of enlarged images."""

from math import ceil
from typing import NamedTuple

import torch
from torch import Tensor

from point2mask.models import Geometry, NetworkOutput, PanopticNetwork
from point2mask.pseudo_masks.cost import resize

IMPOSSIBLE = -1e4  # a logit whose exponential is 0, and which half precision holds


class SourceMaps(NamedTuple):
    """What pseudo masks are grown from."""

    semantic: Tensor  # [B, C, H, W], probabilities at the images' resolution
    boundary: Tensor  # [B, h, w], probabilities
    feature: Tensor  # [B, F, h, w]


def among(logits: Tensor, classes: Tensor | None) -> Tensor:
    """Semantic logits ``[..., B, C, h, w]`` whose softmax gives other classes of an image nothing.

    Args:
        logits: of all classes.
        classes: bool ``[B, C]``, those that an image can show, or None for all.
    """
    if classes is None:
        return logits
    return logits.masked_fill(~classes[..., None, None], IMPOSSIBLE)


def source_maps(output: NetworkOutput, classes: Tensor | None = None) -> SourceMaps:
    """The maps of a forward pass; ``classes`` as for :func:`among`."""
    logits = among(output.semantics.logits[-1], classes)
    return _maps(output.geometry, logits, output.boundary_logits, output.features)


@torch.no_grad()
def enlarged_maps(
    network: PanopticNetwork,
    images: Tensor,
    geometry: Geometry,
    scale: float,
    classes: Tensor | None = None,
) -> SourceMaps:
    """The maps of one more pass, over the images enlarged by ``scale``.

    A cell of 8 pixels covers less of a larger image, so outlines are followed more closely. Not
    part of the published method.

    Args:
        network: whose maps they are; dropout and batch statistics are off.
        images: ``[B, 3, H, W]``, normalised.
        geometry: of the images.
        scale: above 1; sides are rounded to whole pixels.
        classes: as for :func:`among`.
    """
    canvas = geometry.canvas
    large = (round(canvas[0] * scale), round(canvas[1] * scale))
    rows, columns = (b / a for a, b in zip(canvas, large, strict=True))
    size = torch.tensor([[ceil(h * rows), ceil(w * columns)] for h, w in geometry.sizes])
    own = torch.tensor(geometry.sizes).to(images.device, non_blocking=True)
    training = network.training
    network.eval()
    encoded = network.encode(resize(images, *large, own), size)
    logits = network.decode_semantics(encoded, all_layers=False).logits[-1]
    heads = network.pseudo_mask_heads
    place = encoded.position[:, : encoded.geometry.mask_cells]
    boundary, feature = heads(encoded.mask_memory, place, encoded.geometry)
    network.train(training)
    maps = _maps(encoded.geometry, among(logits, classes), boundary, feature)
    extent = size.to(images.device, non_blocking=True)
    return maps._replace(semantic=resize(maps.semantic, *canvas, extent))


def _maps(geometry: Geometry, logits: Tensor, boundary: Tensor, feature: Tensor) -> SourceMaps:
    semantic = geometry.to_pixels(logits.float()).softmax(1)
    return SourceMaps(semantic, boundary.float().sigmoid(), feature.float())
