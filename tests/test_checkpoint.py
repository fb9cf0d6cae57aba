"""Checkpoints: a run that is killed goes on as if nothing had been, to the bit."""

import os
import pickle
import random
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import runs
import torch
from torch import nn

from point2mask import checkpoint
from point2mask.data import DataError
from point2mask.train.optimizer import make_optimizer
from point2mask.train.train import train
from point2mask.trained import load_trained

# Two epochs of 4 steps with a checkpoint in the middle of each: after 3, 4, 6 and 8 steps.
KILLED = """
import os, signal, sys
import torch
from point2mask import checkpoint
from point2mask.train.train import train
import runs
from test_checkpoint import run_config

torch.set_num_threads(1)
where, root = sys.argv[1:]

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

class Deadly(runs.Semantic):
    def forward(self, batch, step):
        return die() if where == "step" and step == 3 else super().forward(batch, step)

if where == "writing":
    save = checkpoint.save_tensors
    def save_tensors(path, tensors):
        if path.name == checkpoint.OPTIMIZER and checkpoint.last_checkpoint(path.parent.parent):
            path.write_bytes(b"half")
            die()
        save(path, tensors)
    checkpoint.save_tensors = save_tensors
train(run_config(root), root + "/" + where, cpu=True, make_module=Deadly)
"""


def run_config(root):
    config = runs.config(Path(root))
    return replace(
        config,
        schedule=replace(config.schedule, epochs=2, ema_decay=0.9),
        report=replace(config.report, checkpoint_steps=3, keep_checkpoints=2),
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    runs.write_data(root, train=8)
    return root


@pytest.fixture(scope="module")
def whole(root):
    """The folder of a run that nothing interrupted."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train(run_config(root), root / "whole", cpu=True, make_module=runs.Semantic)
    torch.set_num_threads(threads)
    return root / "whole"


def contents(folder):
    """The bytes of a checkpoint's tensors, which include the state of torch's generator."""
    # Not of Python's and NumPy's, which libraries draw from when they are imported.
    files = list(folder.glob("*.safetensors"))
    assert len(files) == 4
    return {path.name: path.read_bytes() for path in files}


@pytest.mark.slow
@pytest.mark.parametrize("where", ["step", "writing"])
def test_a_killed_run_goes_on_to_the_same_bits(root, whole, threads, where):
    tests = Path(__file__).resolve().parent
    path = os.pathsep.join([str(tests), os.environ.get("PYTHONPATH", "")])
    process = subprocess.run(
        [sys.executable, "-c", KILLED, where, str(root)],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert process.returncode == -signal.SIGKILL, process.stderr
    folder = root / where / "checkpoints"
    assert [path.name for path in checkpoint.checkpoints(folder)] == ["step_00000003"]
    half = [path.name for path in folder.glob(".*.tmp")]
    assert half == ([".step_00000004.tmp"] if where == "writing" else [])

    with threads(1):
        config = run_config(root)
        with pytest.raises(DataError, match="there is a run in it; --resume"):
            train(config, root / where, cpu=True, make_module=runs.Semantic)
        result = train(config, root / where, resume=True, cpu=True, make_module=runs.Semantic)
    assert result["steps"] == 8
    names = ["step_00000006", "step_00000008"]
    assert [path.name for path in sorted(folder.iterdir())] == names
    for name in names:
        assert contents(folder / name) == contents(whole / "checkpoints" / name)


def test_a_repeated_run_has_the_same_bits_and_another_seed_others(root, whole, threads):
    with threads(1):
        config = run_config(root)
        train(config, root / "again", cpu=True, make_module=runs.Semantic)
        train(replace(config, seed=1), root / "other", cpu=True, make_module=runs.Semantic)
    last = "checkpoints/step_00000008"
    assert contents(root / "again" / last) == contents(whole / last)
    assert contents(root / "other" / last) != contents(whole / last)


def test_a_finished_run_is_left_alone(root, whole):
    before = contents(whole / "checkpoints/step_00000008")
    result = train(run_config(root), whole, resume=True, cpu=True, make_module=runs.Semantic)
    assert result["steps"] == 8
    assert contents(whole / "checkpoints/step_00000008") == before


def test_resuming_something_else_is_refused(root, whole):
    config = run_config(root)
    faster = replace(config, schedule=replace(config.schedule, learning_rate=1.0))
    with pytest.raises(DataError, match=r"schedule\.learning_rate"):
        train(faster, whole, resume=True, cpu=True, make_module=runs.Semantic)


def test_the_averages_are_loaded_for_prediction(whole):
    folder = whole / "checkpoints/step_00000008"
    trained = load_trained(whole)
    assert len(trained.categories) == 10
    assert not trained.network.training
    average = checkpoint.load_tensors(folder / checkpoint.AVERAGE)
    own = checkpoint.load_tensors(folder / checkpoint.MODEL)
    name = "neck.level.weight" if "network.neck.level.weight" in own else "semantic_scale"
    weight = trained.network.state_dict()[name]
    assert torch.equal(weight, average[f"network.{name}"])
    assert not torch.equal(weight, own[f"network.{name}"])


def test_no_file_is_a_pickle(whole):
    for path in (whole / "checkpoints/step_00000008").iterdir():
        assert path.suffix in (".safetensors", ".json")
        with pytest.raises((pickle.UnpicklingError, EOFError, ValueError, KeyError, IndexError)):
            pickle.loads(path.read_bytes())


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (checkpoint.STATE, b"{}", "expected an entry 'config'"),
        (checkpoint.STATE, b"[1]", "expected a JSON of a checkpoint, got a JSON list"),
        (checkpoint.STATE, b"{", "expected a JSON of a checkpoint"),
        (checkpoint.MODEL, b"123", "expected tensors of a checkpoint"),
    ],
)
def test_broken_checkpoints(whole, tmp_path, file, content, message):
    for path in (whole / "checkpoints/step_00000008").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / file).write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_trained(tmp_path)


def test_no_checkpoint(tmp_path):
    with pytest.raises(DataError, match="expected a checkpoint, or the folder of a run"):
        load_trained(tmp_path)
    (tmp_path / "checkpoints/step_00000001").mkdir(parents=True)  # without a state: not whole
    assert checkpoint.last_checkpoint(tmp_path / "checkpoints") is None


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
