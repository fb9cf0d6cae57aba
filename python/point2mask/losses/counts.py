"""What sums are divided by, so that the loss of a step does not depend on how it is shared out.

Data-parallel training takes the mean of the processes' gradients. With S_p the sum of a loss in
process p of P and n_p its number of terms, the loss of the whole batch is Σ S_p / Σ n_p, which is
the mean over p of S_p / (Σ n_p / P): every process divides by the mean count.
"""

import torch
import torch.distributed
from torch import Tensor


def over_processes(counts: Tensor) -> Tensor:
    """Counts of this process added up over all, float32 of any shape, without waiting for them.

    All processes have to call it, and in the same order.
    """
    counts = counts.detach().to(torch.float32, copy=True)
    if _parallel():
        torch.distributed.all_reduce(counts)
    return counts


def divisor(total: Tensor) -> Tensor:
    """What a process divides its sums by where all have so many terms together, at least 1."""
    total = total.clamp(min=1)
    return total / torch.distributed.get_world_size() if _parallel() else total


def divisor_of(count: Tensor, local: bool = False) -> Tensor:
    """:func:`divisor` from this process' own count, as :func:`over_processes`.

    ``local``: as published where the processes do not speak of a count; the count itself.
    """
    return count.clamp(min=1) if local else divisor(over_processes(count))


def _parallel() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
