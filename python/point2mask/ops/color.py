"""Colour spaces, in plain torch."""

import torch
from torch import Tensor

from point2mask.ops._library import takes_tensors

# Linear sRGB to CIE XYZ (IEC 61966-2-1), and the white point D65 at 2 degrees.
_RGB_TO_XYZ = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
_WHITE = (0.95047, 1.0, 1.08883)


@takes_tensors
def rgb_to_lab(image: Tensor) -> Tensor:
    """CIE LAB colours of an sRGB image.

    Args:
        image: floating point ``[B, 3, H, W]`` in [0, 1]; values outside are clipped.

    Returns:
        ``[B, 3, H, W]``, the same dtype: L in [0, 100], a and b about [-128, 128].

    Raises:
        ValueError: wrong shape or dtype.

    >>> rgb_to_lab(torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1)).flatten().round().int()
    tensor([53, 80, 67], dtype=torch.int32)
    """
    if image.dim() != 4 or image.shape[1] != 3:
        raise ValueError(f"rgb_to_lab: image must have shape [B, 3, H, W], got {list(image.shape)}")
    if not image.is_floating_point():
        raise ValueError(f"rgb_to_lab: image must be floating point in [0, 1], got {image.dtype}")
    rgb = image.clamp(0, 1)
    linear = torch.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    red, green, blue = linear.unbind(1)
    # Not a matrix product, which autocast and TF32 would round.
    xyz = torch.stack(
        [
            red * (r / white) + green * (g / white) + blue * (b / white)
            for (r, g, b), white in zip(_RGB_TO_XYZ, _WHITE, strict=True)
        ],
        1,
    )
    delta = 6 / 29
    root = torch.where(
        xyz > delta**3, xyz.clamp_min(1e-12) ** (1 / 3), xyz / (3 * delta**2) + 4 / 29
    )
    x, y, z = root.unbind(1)
    # On CUDA, autocast takes powers of half numbers in float32.
    return torch.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), 1).to(image.dtype)
