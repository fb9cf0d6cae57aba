"""Processes: how many there are, and what they tell each other."""

import gc
import os
from typing import Any

import numpy as np
import torch

from point2mask.data.errors import DataError


def launch(device: str | None, processes: int | None) -> Any:
    """accelerate's object for this process.

    Args:
        device: where to work, as torch names it; one with a number is for one process alone. By
            default each process takes a GPU where there is one.
        processes: how many were meant to be started, if that is known.

    Raises:
        DataError: accelerate works with another number of processes than were started, which has
            happened silently; start several with torchrun. Or on another kind of device than was
            asked for. Or one GPU for several processes.
    """
    from accelerate import Accelerator

    started = int(os.environ.get("WORLD_SIZE", "1"))
    chosen = None if device is None else torch.device(device)
    if chosen is not None and chosen.index is not None and chosen.type == "cuda":
        if started > 1:
            raise DataError(f"expected cuda or cpu for {started} processes, got {device}")
        if torch.cuda.is_available():
            torch.cuda.set_device(chosen)
    # The module sees to it that every parameter gets a gradient in every step, as
    # data-parallel training wants it by default.
    cpu = chosen is not None and chosen.type == "cpu"
    accelerator = Accelerator(cpu=cpu, mixed_precision="no")
    if chosen is not None and accelerator.device.type != chosen.type:
        raise DataError(f"expected to work on {device}, but accelerate took {accelerator.device}")
    for expected in (started, processes or started):
        if accelerator.num_processes != expected:
            raise DataError(
                f"expected {expected} processes, got {accelerator.num_processes}; start them "
                f"with: torchrun --standalone --nproc_per_node {expected} -m point2mask train ..."
            )
    return accelerator


def of_all_processes(items: list[Any]) -> list[Any]:
    """The items of all processes."""
    from accelerate.utils import gather_object

    gathered: list[Any] = gather_object(items)
    return gathered


def in_any(flags: list[bool], accelerator: Any) -> list[bool]:
    """Whether each of the flags, as many in every process, is true in any of the processes."""
    if accelerator.num_processes == 1:
        return flags
    counts = torch.tensor(flags, dtype=torch.float32, device=accelerator.device)
    return [count > 0 for count in accelerator.reduce(counts, "sum").tolist()]


def mean_over_steps(steps: list[dict[str, float]], accelerator: Any) -> dict[str, float]:
    """Means of the values of some steps, at least one, over these and the processes.

    A value may be missing in a step; its mean is over those that have it.
    """
    names = sorted({name for values in steps for name in values})
    means = [np.mean([values[name] for values in steps if name in values]) for name in names]
    mean = torch.tensor(np.array(means), dtype=torch.float32, device=accelerator.device)
    if accelerator.num_processes > 1:
        mean = accelerator.reduce(mean, "mean")
    return dict(zip(names, mean.tolist(), strict=True))


def leave_group() -> None:
    """Takes this process out of its group: the last thing that a program of several does.

    What is left of data-parallel modules is freed before. At the end of the program their threads
    would meet a group that is gone, which aborts it now and then.
    """
    gc.collect()
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
