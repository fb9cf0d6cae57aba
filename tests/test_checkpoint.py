"""Checkpoints: a run that is killed goes on as if nothing had been, to the bit."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import runs
import torch

from point2mask import checkpoint
from point2mask.data import DataError
from point2mask.train.config import load_config, save_config
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
train(run_config(root), root + "/" + where, device="cpu", make_module=Deadly)
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
    train(run_config(root), root / "whole", device="cpu", make_module=runs.Semantic)
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
            train(config, root / where, device="cpu", make_module=runs.Semantic)
        result = train(config, root / where, resume=True, device="cpu", make_module=runs.Semantic)
    assert result["steps"] == 8
    names = ["step_00000006", "step_00000008"]
    assert [path.name for path in sorted(folder.iterdir())] == names
    for name in names:
        assert contents(folder / name) == contents(whole / "checkpoints" / name)


def test_a_repeated_run_has_the_same_bits_and_another_seed_others(root, whole, threads):
    with threads(1):
        config = run_config(root)
        train(config, root / "again", device="cpu", make_module=runs.Semantic)
        train(replace(config, seed=1), root / "other", device="cpu", make_module=runs.Semantic)
    last = "checkpoints/step_00000008"
    assert contents(root / "again" / last) == contents(whole / last)
    assert contents(root / "other" / last) != contents(whole / last)


def test_a_finished_run_is_left_alone(root, whole):
    before = contents(whole / "checkpoints/step_00000008")
    result = train(run_config(root), whole, resume=True, device="cpu", make_module=runs.Semantic)
    assert result["steps"] == 8
    assert contents(whole / "checkpoints/step_00000008") == before


def test_resuming_something_else_is_refused(root, whole):
    config = run_config(root)
    faster = replace(config, schedule=replace(config.schedule, learning_rate=1.0))
    with pytest.raises(DataError, match=r"schedule\.learning_rate"):
        train(faster, whole, resume=True, device="cpu", make_module=runs.Semantic)


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


def copied(folder, to):
    """A checkpoint, or the folder of a run, in another place."""
    shutil.copytree(folder, to)
    return to


def flip(path, place=-5):
    """Another bit in a byte of a file."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (checkpoint.STATE, b"{}", r"state\.json: step: expected an entry, got none"),
        (checkpoint.STATE, b"[1]", "expected the state of a run, got a JSON list"),
        (checkpoint.STATE, b"{", "expected the state of a run, but it is not valid JSON"),
        (checkpoint.MODEL, b"123", "expected tensors of a checkpoint"),
    ],
)
def test_checkpoints_of_something_else(whole, tmp_path, file, content, message):
    folder = copied(whole / "checkpoints/step_00000008", tmp_path / "x")
    (folder / file).write_bytes(content)
    with pytest.raises(DataError, match=rf"{file}: expected the bytes that were .* is damaged$"):
        load_trained(folder)
    (folder / checkpoint.DIGESTS).unlink()
    checkpoint.write_digests(folder)
    with pytest.raises(DataError, match=message):
        load_trained(folder)


STATES = [
    ({"step": -1}, "step: expected an integer >= 0, got -1"),
    ({"step": 3}, "step: expected that of the folder, 00000008, got 3"),
    ({"step": 8.5}, "step: expected an integer, got 8.5"),
    ({"processes": 0}, "processes: expected an integer >= 1, got 0"),
    ({"seconds": -0.5}, "seconds: expected a number >= 0"),
    ({"broken": [1]}, "broken: expected an object, got"),
    ({"config": {"network": 7}}, r"config\.data: expected a value, got none"),
    ({"categories": [{"id": 1}]}, r"categories\[0\]\.name: expected a value, got none"),
]


@pytest.mark.parametrize(("changes", "message"), STATES)
def test_states_that_cannot_be(root, whole, tmp_path, changes, message):
    run = copied(whole, tmp_path / "run")
    folder = run / "checkpoints/step_00000008"
    values = json.loads((folder / checkpoint.STATE).read_text()) | changes
    (folder / checkpoint.STATE).write_text(json.dumps(values))
    (folder / checkpoint.DIGESTS).unlink()
    checkpoint.write_digests(folder)
    if "categories" in changes:  # a run has those of its data
        with pytest.raises(DataError, match=message):
            load_trained(run)
        return
    with pytest.raises(DataError, match=message):
        train(run_config(root), run, resume=True, device="cpu", make_module=runs.Semantic)


@pytest.mark.parametrize("file", [checkpoint.MODEL, checkpoint.OPTIMIZER, checkpoint.AVERAGE])
@pytest.mark.parametrize("change", ["float16", "nan", "shape", "name"])
def test_tensors_that_cannot_be(root, whole, tmp_path, file, change):
    run = copied(whole, tmp_path / "run")
    path = run / "checkpoints/step_00000008" / file
    tensors = checkpoint.load_tensors(path)
    name = next(name for name, tensor in sorted(tensors.items()) if tensor.dim() == 2)
    messages = {
        "float16": f"{file}: expected '{name}' of float32, got float16",
        "nan": f"{file}: expected finite numbers in '{name}', got NaN",
        "shape": f"{file}: expected '{name}' of shape ",
        "name": f"{file}: expected .*'{name}",
    }
    changed = {
        "float16": lambda x: x.half(),
        "nan": lambda x: x * torch.nan,
        "shape": lambda x: x[1:],
        "name": lambda x: x,
    }
    tensors[name] = changed[change](tensors[name])
    if change == "name":
        tensors[f"{name}x"] = tensors.pop(name)
    checkpoint.save_tensors(path, tensors)
    (path.parent / checkpoint.DIGESTS).unlink()
    checkpoint.write_digests(path.parent)
    with pytest.raises(DataError, match=messages[change]):
        train(run_config(root), run, resume=True, device="cpu", make_module=runs.Semantic)


def test_every_file_of_a_checkpoint_is_checked(whole, tmp_path):
    """One bit of any of them, none of them, and a name that leads elsewhere."""
    folder = whole / "checkpoints/step_00000008"
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) == 7
    for name in names:
        for number, damage in enumerate((flip, Path.unlink)):
            other = copied(folder, tmp_path / f"{name}_{number}")
            damage(other / name)
            with pytest.raises(DataError, match=name):
                checkpoint.check_digests(other)
    other = copied(folder, tmp_path / "other")
    digests = json.loads((other / checkpoint.DIGESTS).read_text())
    for wrong in (digests | {"../x.json": "0" * 64}, {checkpoint.STATE: digests["state.json"]}):
        (other / checkpoint.DIGESTS).write_text(json.dumps(wrong))
        with pytest.raises(DataError, match=checkpoint.DIGESTS):
            checkpoint.check_digests(other)


def test_a_damaged_checkpoint_gives_way_to_the_one_before_it(
    root, whole, tmp_path, threads, capsys
):
    run = copied(whole, tmp_path / "run")
    folder = run / "checkpoints"
    flip(folder / "step_00000008" / checkpoint.OPTIMIZER)
    with pytest.raises(DataError, match=r"optimizer\.safetensors: .* damaged"):
        load_trained(run)
    with threads(1):
        train(run_config(root), run, resume=True, device="cpu", make_module=runs.Semantic)
    assert "step_00000008/optimizer.safetensors: expected the bytes" in capsys.readouterr().err
    names = ["step_00000006", "step_00000008", "step_00000008.damaged"]
    assert sorted(path.name for path in folder.iterdir()) == names
    name = "step_00000008"
    assert contents(folder / name) == contents(whole / "checkpoints" / name)


def test_a_run_without_a_whole_checkpoint_does_not_begin_anew(root, whole, tmp_path):
    run = copied(whole, tmp_path / "run")
    (run / "checkpoints/step_00000006" / checkpoint.STATE).unlink()
    flip(run / "checkpoints/step_00000008" / checkpoint.MODEL)
    with pytest.raises(DataError, match=r"damaged; no whole checkpoint is left in .*checkpoints$"):
        train(run_config(root), run, resume=True, device="cpu", make_module=runs.Semantic)
    names = sorted(path.name for path in (run / "checkpoints").iterdir())
    assert names == ["step_00000006", "step_00000008"]


def test_no_checkpoint(tmp_path):
    with pytest.raises(DataError, match="expected a checkpoint, or the folder of a run"):
        load_trained(tmp_path)
    (tmp_path / "checkpoints/step_00000001").mkdir(parents=True)
    with pytest.raises(DataError, match=r"step_00000001/digests\.json: expected the digests"):
        load_trained(tmp_path)


STOPPED = """
import os, signal, sys
from pathlib import Path
import torch
import runs
from point2mask.train import train as training
from point2mask.train import validation
from point2mask.cli import main
from test_checkpoint import stoppable

torch.set_num_threads(1)
where, root, out = sys.argv[1:]

class Stopping(runs.Semantic):
    def forward(self, batch, step):
        if where == "step" and step == 4:
            os.killpg(0, signal.SIGTERM)  # workers that load data get it too
        return super().forward(batch, step)

if where == "evaluation":
    original = validation.evaluate
    def evaluate(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("the evaluation went on")
    validation.evaluate = evaluate
training.build_module = Stopping
training.train.__kwdefaults__["make_module"] = Stopping
sys.exit(main(["train", stoppable(root), "--out", out, "--device", "cpu"]))
"""


def stoppable(root):
    """The file of a recipe whose epochs end with an evaluation, and whose workers are two."""
    config = run_config(root)
    data = replace(config.data, workers=2, val=runs.source("val"))
    path = Path(root) / "stoppable.yaml"
    save_config(path, replace(config, data=data))
    return str(path)


@pytest.mark.parametrize(("where", "step"), [("step", 5), ("evaluation", 4)])
def test_sigterm_leaves_a_checkpoint_of_the_step(root, whole, tmp_path, threads, where, step):
    tests = Path(__file__).resolve().parent
    path = os.pathsep.join([str(tests), os.environ.get("PYTHONPATH", "")])
    process = subprocess.run(
        [sys.executable, "-c", STOPPED, where, str(root), str(tmp_path / "run")],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        start_new_session=True,
    )
    assert process.returncode == 75, process.stderr
    last = process.stderr.splitlines()[-1]
    assert f"stopped by SIGTERM at step {step} of 8, of which there is a checkpoint" in last
    folder = tmp_path / "run/checkpoints"
    assert checkpoint.last_checkpoint(folder) == folder / f"step_{step:08}"
    checkpoint.check_digests(folder / f"step_{step:08}")
    with threads(1):
        config = load_config(stoppable(root))
        before = signal.getsignal(signal.SIGTERM)
        result = train(
            config, tmp_path / "run", resume=True, device="cpu", make_module=runs.Semantic
        )
        assert signal.getsignal(signal.SIGTERM) is before
    assert result["quality"] is not None
    name = "step_00000008"
    assert contents(folder / name) == contents(whole / "checkpoints" / name)
