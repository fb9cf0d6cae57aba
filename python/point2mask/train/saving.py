"""Checkpoints of a run: what is in them, and how a run goes on from one."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from point2mask import checkpoint
from point2mask.data.errors import DataError
from point2mask.data.fields import parse, to_plain
from point2mask.data.files import write_json
from point2mask.train.config import RunConfig, check_resumable
from point2mask.train.launch import gather

if TYPE_CHECKING:
    from point2mask.train.train import Run


@dataclass
class RunProgress:
    """What a run has behind it; stored with every checkpoint."""

    step: int = 0
    seconds: float = 0.0
    empty: int = 0  # parts of steps without a click, which were skipped
    broken: dict[str, str] = field(default_factory=dict)  # images not read, and why


def save(run: "Run") -> None:
    """A checkpoint of the present step, by all processes."""
    writer = checkpoint.Writer(run.out / "checkpoints", run.progress.step)
    broken = gather(list(run.progress.broken.items()))
    if run.main:
        writer.start()
    run.accelerator.wait_for_everyone()
    checkpoint.save_random_state(writer.beside, run.rank)
    if run.main:
        folder = writer.beside
        checkpoint.save_tensors(folder / checkpoint.MODEL, run.module.state_dict())
        state = checkpoint.optimizer_tensors(run.module, run.optimizer)
        checkpoint.save_tensors(folder / checkpoint.OPTIMIZER, state)
        if run.average is not None:
            checkpoint.save_tensors(folder / checkpoint.AVERAGE, run.average.state)
        write_json(folder / checkpoint.STATE, _state(run) | {"broken": dict(broken)})
    run.accelerator.wait_for_everyone()
    if run.main:
        writer.finish(run.config.report.keep_checkpoints)
    run.accelerator.wait_for_everyone()


def restore(run: "Run", folder: Path) -> None:
    """Brings a new run to where the checkpoint in a folder was.

    Raises:
        DataError: another number of processes or images, a configuration that computes something
            else, or more steps than the run has.
    """
    state = checkpoint.read_json_value(folder / checkpoint.STATE)
    check_resumable(parse(RunConfig, state["config"]), run.config)
    for key, now in (("processes", run.accelerator.num_processes), ("images", len(run.dataset))):
        if state[key] != now:
            raise DataError(f"{folder}: expected {key} as before, {state[key]}, got {now}")
    if state["step"] > run.total:
        raise DataError(
            f"{folder}: schedule.epochs={run.config.schedule.epochs} is {run.total} steps, "
            "the run to be taken up again has more behind it"
        )
    path = folder / checkpoint.MODEL
    checkpoint.load_weights(run.module, checkpoint.load_tensors(path), path)
    path = folder / checkpoint.OPTIMIZER
    checkpoint.load_optimizer(run.module, run.optimizer, checkpoint.load_tensors(path), path)
    if run.average is not None:
        run.average.load(checkpoint.load_tensors(folder / checkpoint.AVERAGE))
    checkpoint.load_random_state(folder, run.rank)
    run.progress = RunProgress(state["step"], state["seconds"], state["empty"], state["broken"])


def _state(run: "Run") -> dict[str, Any]:
    epoch, index = divmod(run.progress.step, run.batches.steps_per_epoch)
    return {
        "step": run.progress.step,
        "epoch": epoch,
        "index": index,  # steps of the epoch that are done
        "seconds": run.progress.seconds,
        "empty": run.progress.empty,
        "processes": run.accelerator.num_processes,
        "images": len(run.dataset),
        "categories": [to_plain(category) for category in run.dataset.categories.values()],
        "config": to_plain(run.config),
    }
