"""The training module of a configuration."""

from point2mask.train.config import RunConfig
from point2mask.train.module import TrainingModule
from point2mask.train.start import start_network


def build_module(config: RunConfig) -> TrainingModule:
    """The network with the weights that it starts from, and the losses around it."""
    return TrainingModule(start_network(config.network), config.loss, config.supervision)


def needs_truth(config: RunConfig) -> bool:
    """Whether the losses compare with full masks."""
    return config.supervision.kind == "masks"
