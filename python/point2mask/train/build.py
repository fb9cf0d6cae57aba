"""The training module of a configuration."""

from point2mask.models import make_network
from point2mask.train.config import RunConfig
from point2mask.train.module import TrainingModule


def build_module(config: RunConfig) -> TrainingModule:
    """The network with its pretrained backbone, and the losses around it."""
    return TrainingModule(make_network(config.network), config.loss, config.supervision)


def needs_truth(config: RunConfig) -> bool:
    """Whether the losses compare with full masks."""
    return config.supervision.kind == "masks"
