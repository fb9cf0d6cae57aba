"""Noised targets that MaskDINO learns to find again, beside the queries that find them unaided."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from point2mask.models.box_decoder import State
from point2mask.models.decoder import Others

NUMBERS = 6  # drawn for a slot: whether its class is replaced, by which, and four shifts


class Denoising(NamedTuple):
    """Noised targets of a batch, D slots an image."""

    label: Tensor  # int64 [B, D], class after the noise, -1 for none
    boxes: Tensor  # [B, D, 4], after the noise
    target: Tensor  # int64 [B, D], what is to be found, -1 for nothing
    group: Tensor  # int64 [B, D], slots see those of their group; -1 for a slot without use

    @property
    def groups(self) -> Tensor:
        """How many groups an image has, at least 1: float ``[B]``."""
        return (self.group.amax(1) + 1).clamp(min=1).to(self.boxes.dtype)

    def others(self, states: Sequence[State]) -> list[Others]:
        """The queries ``[B, Q]`` as every layer is given them: seen by all slots."""
        group = self.group
        hidden = (group[:, :, None] != group[:, None]) | (group < 0)[:, None]
        everyone = hidden.new_zeros(*group.shape, states[0].x.shape[1])
        return [Others(*state, torch.cat((hidden, everyone), 2)) for state in states]


def draws(seeds: Sequence[str], slots: int) -> Tensor:
    """Numbers in [0, 1) for the slots of images ``[B, D, 6]``, of every image's seed alone."""
    return torch.stack([_uniform(seed, slots) for seed in seeds])


def _uniform(seed: str, slots: int) -> Tensor:
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "little") >> 1
    return torch.rand(slots, NUMBERS, generator=torch.Generator().manual_seed(number))


def noised(
    label: Tensor,
    boxes: Tensor,
    exists: Tensor,
    drawn: Tensor,
    num_classes: int,
    noise: float,
) -> Denoising:
    """As many whole groups of every image's targets as there are slots for, with noise.

    MaskDINO makes the groups of a batch as large as its largest; here an image has its own, so that
    it does not depend on the others.

    Args:
        label: int64 ``[B, M]``.
        boxes: ``[B, M, 4]``.
        exists: bool ``[B, M]``, targets to be found.
        drawn: ``[B, D, 6]`` in [0, 1).
        num_classes: C.
        noise: a class is replaced with half of this probability; centres move by as large a part of
            half the box at most, sides grow or shrink by as large a part.
    """
    count = exists.sum(1, keepdim=True)
    slots, size = drawn.shape[1], count.clamp(min=1)
    slot = torch.arange(slots, device=label.device)
    used = (slot < slots // size * size) & (count > 0)
    order = (~exists).to(torch.uint8).argsort(dim=1, stable=True)
    target = order.gather(1, (slot % size).clamp(max=label.shape[1] - 1))
    replaced = drawn[..., 0] < noise / 2
    other = (drawn[..., 1] * num_classes).long().clamp(max=num_classes - 1)
    own = boxes.gather(1, target[..., None].expand(-1, -1, 4))
    side = own[..., 2:]
    reach = torch.cat((side / 2, side), -1) * noise
    moved = (own + (2 * drawn[..., 2:] - 1) * reach).clamp(0, 1)
    return Denoising(
        torch.where(used, torch.where(replaced, other, label.gather(1, target)), -1),
        torch.where(used[..., None], moved, 0.5),
        torch.where(used, target, -1),
        torch.where(used, slot // size, -1),
    )
