"""What makes a run repeatable: seeds, and sums in a fixed order."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def seed_generators(seed: int) -> None:
    """Seeds Python's, NumPy's and torch's generators."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    torch.manual_seed(seed)


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """A block in which torch adds up in a fixed order on the CPU, with several threads too.

    The gradient of indexing, as of Swin's tables of positions, is else added up atomically, which
    takes longer. On a GPU torch's setting is left alone: there it refuses some operations.
    """
    if device.type != "cpu":
        yield
        return
    memory: Any = torch.utils.deterministic
    before = torch.are_deterministic_algorithms_enabled(), memory.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    memory.fill_uninitialized_memory = False  # takes time, and nothing here reads it
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        memory.fill_uninitialized_memory = before[1]
