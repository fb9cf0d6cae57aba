"""The files of a checkpoint: tensors, the optimiser, and the state of generators."""

import random
from pathlib import Path

import numpy as np
import pytest
import runs
import torch
from torch import nn

from point2mask import checkpoint
from point2mask.data import DataError
from point2mask.train.optimizer import make_optimizer


def test_tensors_that_share_their_memory(tmp_path):
    base = torch.arange(6.0)
    tensors = {"a": base, "b": base, "c": base[2:4], "d": base.view(2, 3).T, "e": torch.zeros(0)}
    checkpoint.save_tensors(tmp_path / "x.safetensors", tensors)
    loaded = checkpoint.load_tensors(tmp_path / "x.safetensors")
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(loaded[name], tensor)


def test_weights_of_another_network():
    module = nn.Linear(3, 2)
    state = dict(module.state_dict())
    with pytest.raises(DataError, match=r"expected 'weight' of shape \[2, 3\], got \[3, 2\]"):
        checkpoint.load_weights(module, state | {"weight": torch.zeros(3, 2)}, Path("f"))
    with pytest.raises(DataError, match="f: expected no tensor 'extra'"):
        checkpoint.load_weights(module, state | {"extra": torch.zeros(1)}, Path("f"))
    with pytest.raises(DataError, match="f: expected a tensor 'bias'"):
        checkpoint.load_weights(module, {"weight": state["weight"]}, Path("f"))


def test_the_optimizer_and_the_generators_come_back(tmp_path):
    def steps(module, optimizer, count):
        for _ in range(count):
            loss = (module(torch.randn(4, 3)) * random.random() * np.random.rand()).sum()  # noqa: NPY002
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    schedule = runs.ScheduleConfig()
    module = nn.Linear(3, 2)
    optimizer = make_optimizer(module, schedule)
    steps(module, optimizer, 2)
    weights = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    tensors = checkpoint.optimizer_tensors(module, optimizer)
    assert set(tensors) == {
        f"{kind}:{name}" for kind in ("exp_avg", "exp_avg_sq", "step") for name in weights
    }
    checkpoint.save_tensors(tmp_path / "o.safetensors", tensors)
    checkpoint.save_random_state(tmp_path, 0)
    steps(module, optimizer, 2)

    other = nn.Linear(3, 2)
    other.load_state_dict(weights)
    second = make_optimizer(other, schedule)
    file = tmp_path / "o.safetensors"
    checkpoint.load_optimizer(other, second, checkpoint.load_tensors(file), file)
    checkpoint.load_random_state(tmp_path, 0)
    steps(other, second, 2)
    for name, tensor in module.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor)
    with pytest.raises(DataError, match="got 'exp_avg:nothing'"):
        checkpoint.load_optimizer(other, second, {"exp_avg:nothing": torch.zeros(1)}, file)
