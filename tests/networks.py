"""Small networks, batches with padding, and weights that hide nothing."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from point2mask.models import BackboneConfig, Mask2FormerConfig, MaskDINOConfig, NetworkConfig

TINY = NetworkConfig(
    num_things=3,
    num_stuff=2,
    backbone=BackboneConfig(name="tf_efficientnet_lite0", pretrained="none"),
    width=32,
    heads=4,
    points=2,
    feedforward=48,
    encoder_layers=2,
    location_layers=2,
    queries=12,
    thing_layers=2,
    stuff_layers=2,
    semantic_layers=2,
    feature_width=8,
    norm_groups=8,
)


def tiny(**changes: Any) -> NetworkConfig:
    return replace(TINY, **changes)


TINY_MASK2FORMER = Mask2FormerConfig(
    num_things=3,
    num_stuff=2,
    backbone=TINY.backbone,
    width=64,
    heads=4,
    feedforward=48,
    encoder_layers=2,
    decoder_layers=2,
    decoder_feedforward=40,
    queries=12,
    semantic_layers=2,
    feature_width=8,
)

TINY_MASKDINO = MaskDINOConfig(
    num_things=3,
    num_stuff=2,
    backbone=TINY.backbone,
    width=32,
    heads=4,
    points=2,
    norm_groups=8,
    feedforward=48,
    encoder_layers=2,
    decoder_layers=2,
    decoder_feedforward=40,
    queries=12,
    denoising_queries=10,
    semantic_layers=2,
    feature_width=8,
)


def shake(module: nn.Module, seed: int = 0) -> nn.Module:
    """Moves every trained parameter, so that no zero of the initialisation hides an error."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(0.1 * noise.to(parameter.dtype) * parameter.requires_grad)
    return module


def batch(
    sizes: list[tuple[int, int]], canvas: tuple[int, int], dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    """Random images at the top left of a canvas of NaN, which nothing may read."""
    generator = torch.Generator().manual_seed(len(sizes))
    images = torch.full((len(sizes), 3, *canvas), torch.nan, dtype=dtype)
    for image, (h, w) in zip(images, sizes, strict=True):
        image[:, :h, :w] = torch.randn(3, h, w, generator=generator, dtype=dtype)
    return images, torch.tensor(sizes)
