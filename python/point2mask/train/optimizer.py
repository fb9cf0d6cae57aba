"""AdamW in groups, its multi-step schedule, and averaged weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from point2mask.train.config import ScheduleConfig

# Parts of names of parameters that learn slowly.
SLOW = ("backbone.", "sampling_offsets", "reference_points")


def make_optimizer(module: nn.Module, schedule: ScheduleConfig) -> torch.optim.AdamW:
    """AdamW over the trained parameters: those of :data:`SLOW` and the others."""
    fast: list[nn.Parameter] = []
    slow: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            (slow if any(part in name for part in SLOW) else fast).append(parameter)
    groups = [
        {"params": parameters, "factor": factor}
        for parameters, factor in ((fast, 1.0), (slow, schedule.slow_factor))
        if parameters
    ]
    return torch.optim.AdamW(
        groups, lr=schedule.learning_rate, weight_decay=schedule.weight_decay, fused=True
    )


def set_learning_rate(
    optimizer: torch.optim.Optimizer, schedule: ScheduleConfig, epoch: int
) -> float:
    """Sets the rate of an epoch (from 0) in all groups and returns the full one."""
    rate = schedule.learning_rate * 0.1 ** sum(epoch >= start for start in schedule.milestones)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]
    return rate


class Average:
    """An exponential moving average of the floating-point entries of a module's state."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = {
            name: tensor.detach().clone()
            for name, tensor in module.state_dict().items()
            if tensor.is_floating_point()
        }

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        state = module.state_dict()
        for name, average in self.state.items():
            average.lerp_(state[name], 1 - self.decay)

    def load(self, state: dict[str, Tensor]) -> None:
        for name, average in self.state.items():
            average.copy_(state[name])

    @contextmanager
    def swapped_in(self, module: nn.Module) -> Iterator[None]:
        """The module has the averages as its weights inside the block."""
        own = module.state_dict()
        saved = {name: own[name].detach().clone() for name in self.state}
        module.load_state_dict(self.state, strict=False)
        try:
            yield
        finally:
            module.load_state_dict(saved, strict=False)
