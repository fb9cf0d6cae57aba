"""The stages of a training step: all are seen on tiny networks. No times."""

import pytest
import torch
from networks import TINY, TINY_MASK2FORMER, TINY_MASKDINO, shake
from step_stages import OPTIMIZER, Stages
from training import make_batch

from point2mask.losses.config import published_losses
from point2mask.models import make_network
from point2mask.pseudo_masks import SupervisionConfig
from point2mask.train.module import TrainingModule


@pytest.mark.parametrize("config", [TINY, TINY_MASK2FORMER, TINY_MASKDINO])
def test_every_stage_of_a_step_is_seen(config):
    torch.manual_seed(0)
    network = shake(make_network(config))
    module = TrainingModule(network, published_losses(config.architecture), SupervisionConfig())
    stages = Stages(module)
    with stages.watch():
        losses, _ = module(make_batch(dtype=torch.float32), 10**6)
    stages.backward(torch.stack(list(losses.values())).sum())
    expected = {*stages.names} - {OPTIMIZER}
    assert {*stages.forward} == expected
    assert {*stages.backwards} >= expected - {"pseudo-labels"}  # which has no gradient
    assert {name for name, kept in stages.kept.items() if kept} == expected - {"pseudo-labels"}
    assert any(parameter.grad is not None for parameter in network.parameters())
