"""The stages of a training step: all are seen on a tiny network. No times."""

import torch
from networks import shake, tiny
from step_stages import OPTIMIZER, STAGES, Stages
from training import make_batch

from point2mask.losses import SegformerLossConfig
from point2mask.models import PanopticNetwork
from point2mask.pseudo_masks import SupervisionConfig
from point2mask.train.module import TrainingModule


def test_every_stage_of_a_step_is_seen():
    torch.manual_seed(0)
    network = shake(PanopticNetwork(tiny()))
    module = TrainingModule(network, SegformerLossConfig(), SupervisionConfig())
    stages = Stages(module)
    with stages.watch():
        losses, _ = module(make_batch(dtype=torch.float32), 10**6)
    stages.backward(torch.stack(list(losses.values())).sum())
    expected = {*STAGES} - {OPTIMIZER}
    assert {*stages.forward} == expected
    assert {*stages.backwards} >= expected - {"pseudo-labels"}  # which has no gradient
    assert {name for name, kept in stages.kept.items() if kept} == expected - {"pseudo-labels"}
    assert any(parameter.grad is not None for parameter in network.parameters())
