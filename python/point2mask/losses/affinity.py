"""Local colour affinity of the semantic map (supplementary material Eq. 4 and 5; method b.2)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from point2mask import ops
from point2mask.losses.counts import divisor_of

PUBLISHED_KERNELS = ((3, 0.35), (5, 0.65))  # (size, weight) in the published code, dilation 2


def lab_affinity(
    logits: Tensor,
    lab: Tensor,
    valid: Tensor,
    kernels: Sequence[tuple[int, float]] = PUBLISHED_KERNELS,
    dilation: int = 2,
) -> Tensor:
    """Mean of -log Σ_c p_i(c) p_j(c) over neighbours i, j of like colour, weighted over windows.

    Alike are pairs with exp(-‖LAB_i - LAB_j‖ / 2) >= 0.3. Pairs that leave the image take no part
    (published: they meet black pixels of probability one).

    Args:
        logits: float ``[L, B, C, h, w]``, L layers, which are summed.
        lab: ``[B, 3, h, w]``, CIE LAB.
        valid: bool ``[B, h, w]``, cells that hold image.
        kernels: size and weight of every window.
        dilation: of the windows, cells.

    Returns:
        ``[B]``, the images' parts of the mean over the batch.
    """
    layers, images = logits.shape[:2]
    total = logits.new_zeros(layers * images)
    colors = lab.to(logits.dtype).repeat(layers, 1, 1, 1)
    inside = valid.repeat(layers, 1, 1)
    for size, weight in kernels:
        total = total + weight * ops.lab_affinity_loss(
            logits.flatten(0, 1), colors, size, dilation, theta=2.0, threshold=0.3, valid=inside
        )
    return total.view(layers, images).sum(0) / divisor_of(total.new_full((), images))


def cell_lab(colors: Tensor, valid: Tensor) -> Tensor:
    """CIE LAB of RGB cells ``[B, 3, h, w]`` in [0, 1]; what is not valid counts as black."""
    return ops.rgb_to_lab(torch.where(valid[:, None], colors, 0.0))
