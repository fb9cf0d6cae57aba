"""In which order a run sees the images: a function of the seed, whatever was seen before."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

Key = tuple[int, int]  # epoch, index of the image


@dataclass(frozen=True)
class Batches:
    """Lists of keys for one process, forever, from any step on.

    Every epoch is a new permutation, filled up from its own beginning to whole steps. A step has
    ``batch_size`` images, shared evenly by ``processes``, each of which takes its share in
    ``accumulation`` parts.
    """

    images: int
    batch_size: int
    seed: int
    rank: int = 0
    processes: int = 1
    accumulation: int = 1
    start: int = 0  # steps that were done already

    def __post_init__(self) -> None:
        if self.images < 1:
            raise ValueError("training needs at least 1 image, got none")
        if self.batch_size % (self.processes * self.accumulation):
            raise ValueError(
                f"batch_size must be a multiple of processes x accumulation = {self.processes} x "
                f"{self.accumulation}, got {self.batch_size}"
            )

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.images // self.batch_size)

    def __iter__(self) -> Iterator[list[Key]]:
        epoch, first = divmod(self.start, self.steps_per_epoch)
        parts = self.processes * self.accumulation
        size = self.batch_size // parts
        while True:
            order = self._order(epoch)
            for step in range(first, self.steps_per_epoch):
                for part in range(self.rank, parts, self.processes):
                    begin = step * self.batch_size + part * size
                    yield [(epoch, index) for index in order[begin : begin + size]]
            epoch, first = epoch + 1, 0

    def _order(self, epoch: int) -> list[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order = torch.randperm(self.images, generator=generator)
        filled = torch.arange(self.steps_per_epoch * self.batch_size) % self.images
        result: list[int] = order[filled].tolist()
        return result
