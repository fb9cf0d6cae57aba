"""Runs code on a CUDA device that need not exist: shapes and devices only, and who would wait."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode


class Transfers(TorchDispatchMode):
    """Notes the operators that carry a tensor between host and device: all of them may wait."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        tensors = [x for x in (*args, result) if isinstance(x, torch.Tensor)]
        moves = "copy" in str(func) and len({x.device.type for x in tensors}) > 1
        if moves or "_local_scalar_dense" in str(func):
            self.seen.append(str(func))
        return result


@contextmanager
def pretended_cuda() -> Iterator[Transfers]:
    """Tensors made inside may be on ``cuda``; none has values, so that reading one is an error."""
    with FakeTensorMode(), Transfers() as transfers:
        yield transfers
