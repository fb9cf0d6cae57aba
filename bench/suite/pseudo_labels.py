"""The whole pseudo-label step beside the published composition, image by image."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import published
import torch
import torch.nn.functional as F
from torch import Tensor

from point2mask.pseudo_masks import PointBatch, pseudo_masks
from suite.harness import OURS, Case, Run

CLASSES = 21
Targets = list[list[tuple[int, list[tuple[float, float]]]]]


def cases(quick: bool) -> Iterator[Case]:
    if quick:
        yield case(1, 5, 192, 256)
    else:
        yield case(2, 20, 600, 800)


def make_batch(
    images: int, things: int, height: int, width: int
) -> tuple[Tensor, Tensor, Tensor, Targets]:
    """Smooth maps (probabilities, boundaries, features at stride 8) and random clicks: ``things``
    things and one stuff class an image."""
    g = torch.Generator().manual_seed(0)

    def smooth(channels: int, rows: int, columns: int) -> Tensor:
        coarse = torch.randn(images, channels, 10, 13, generator=g)
        return F.interpolate(coarse, (rows, columns), mode="bicubic")

    semantic = (3 * smooth(CLASSES, height, width)).softmax(1)
    boundary = smooth(1, height // 8, width // 8)[:, 0]
    feature = F.normalize(smooth(128, height // 8, width // 8), dim=1)
    targets: Targets = []
    for _ in range(images):
        category = [*torch.randint(0, CLASSES - 1, (things,), generator=g).tolist(), CLASSES - 1]
        xy = torch.rand(things + 1, 2, generator=g) * torch.tensor([width, height])
        targets.append([(c, [tuple(p)]) for c, p in zip(category, xy.tolist(), strict=True)])
    return semantic, boundary, feature, targets


def case(images: int, things: int, height: int, width: int) -> Case:
    """Graph of stride 16 and 80 iterations, as published."""
    semantic, boundary, feature, targets = make_batch(images, things, height, width)
    is_thing = torch.arange(CLASSES) < CLASSES - 1
    points = PointBatch.from_lists(targets)

    def ours() -> Any:
        return pseudo_masks(semantic, points, is_thing, boundary_logits=boundary, feature=feature)

    def literal() -> list[np.ndarray]:
        return [
            published.pseudo_masks(
                published.Image(semantic[b].numpy(), boundary[b].numpy(), feature[b].numpy(), t),
                is_thing.numpy(),
                dtype=torch.float32,
            )[0]
            for b, t in enumerate(targets)
        ]

    def check() -> None:
        same = np.mean(ours().instance.numpy() == np.stack(literal()))
        assert same > 0.999, f"only {same:.2%} of the published labels"

    return Case(
        "pseudo_masks",
        {"images": images, "pixels": height * width, "targets": things},
        float(images),
        "image",
        {OURS: Run(ours), "published": Run(literal)},
        check,
    )
