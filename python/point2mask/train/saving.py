"""Checkpoints of a run: what is in them, and how a run goes on from one."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from point2mask import checkpoint
from point2mask.data.errors import DataError
from point2mask.data.fields import parse, to_plain
from point2mask.train.config import RunConfig, check_resumable
from point2mask.train.errors import Stopped
from point2mask.train.launch import of_all_processes
from point2mask.trained import categories_from_plain, first_difference

if TYPE_CHECKING:
    from point2mask.train.train import Run

OWN_MASKS = "masks"  # in the folder of a run that learns from such


@dataclass
class RunCounters:
    """What a run has behind it; stored with every checkpoint."""

    step: int = 0
    seconds: float = 0.0
    empty: int = 0  # parts of steps without a click, which were skipped
    learned: int = 0  # steps of the present epoch that changed the network
    broken: dict[str, str] = field(default_factory=dict)  # images not read, and why
    losses: dict[str, float] = field(default_factory=dict)  # of the last line of the report


def made_by(config: RunConfig) -> tuple[str, ...]:
    """Names of what a run makes in its folder and goes on from."""
    own = () if config.supervision.masks_from is None else (OWN_MASKS,)
    return ("config.yaml", "result.json", "checkpoints", *own)


def stopped(run: "Run") -> Stopped:
    """Why a run ends whose last step has its checkpoint."""
    return Stopped(
        f"{run.out}: stopped by SIGTERM at step {run.counters.step} of {run.total}, of which there "
        "is a checkpoint; --resume goes on from it"
    )


def save(run: "Run") -> None:
    """A checkpoint of the present step, by all processes."""
    writer = checkpoint.Writer(run.out / "checkpoints", run.counters.step)
    broken = of_all_processes(list(run.counters.broken.items()))
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
        checkpoint.write_state(folder, _state(run, dict(broken)))
    run.accelerator.wait_for_everyone()
    if run.main:
        writer.finish(run.config.report.keep_checkpoints)
    run.accelerator.wait_for_everyone()


def take_up(run: "Run", folder: Path) -> tuple[Path | None, list[str]]:
    """Goes on from the last whole checkpoint in a folder; tells which, and which are damaged.

    Damaged ones are set aside under another name.

    Raises:
        DataError: as of :func:`restore`, or all checkpoints are damaged.
    """
    last, damaged = checkpoint.last_whole_checkpoint(folder)
    if last is not None:
        restore(run, last)
    elif OWN_MASKS in made_by(run.config) and (masks := run.out / OWN_MASKS).exists():
        raise DataError(f"{masks}: masks of an earlier run, whose checkpoints are gone; remove it")
    run.accelerator.wait_for_everyone()
    if run.main:
        for path in damaged:
            checkpoint.set_aside(path)
    return last, [f"{reason}; set aside, going on from {last}" for reason in damaged.values()]


def restore(run: "Run", folder: Path) -> None:
    """Brings a new run to where the checkpoint in a folder was.

    Raises:
        DataError: another number of processes or images, other categories, a configuration that
            computes something else, or more steps than the run has.
    """
    state = checkpoint.read_state(folder)
    saved = parse(RunConfig, state.config, f"{folder / checkpoint.STATE}: config")
    check_resumable(saved, run.config)
    for key, before, now in (
        ("processes", state.processes, run.accelerator.num_processes),
        ("images", state.images, run.images),
    ):
        if before != now:
            raise DataError(f"{folder}: expected {key} as before, {before}, got {now}")
    known = categories_from_plain(state.categories)
    if other := first_difference(known, run.dataset.categories):
        raise DataError(f"{folder}: expected the categories as before, {other}")
    if state.step > run.total:
        raise DataError(
            f"{folder}: schedule.epochs={run.config.schedule.epochs} is {run.total} steps, "
            "the run to be taken up again has more behind it"
        )
    path = folder / checkpoint.MODEL
    checkpoint.load_weights(run.module, checkpoint.load_tensors(path), path)
    path = folder / checkpoint.OPTIMIZER
    checkpoint.load_optimizer(run.module, run.optimizer, checkpoint.load_tensors(path), path)
    if run.average is not None:
        path = folder / checkpoint.AVERAGE
        average = checkpoint.load_tensors(path)
        checkpoint.check_tensors(run.average.state, average, path)
        run.average.load(average)
    checkpoint.load_random_state(folder, run.rank)
    run.counters = RunCounters(
        state.step, state.seconds, state.empty, state.learned, state.broken, state.losses
    )


def _state(run: "Run", broken: dict[str, str]) -> checkpoint.State:
    counters = run.counters
    return checkpoint.State(
        step=counters.step,
        seconds=counters.seconds,
        empty=counters.empty,
        learned=counters.learned,
        processes=run.accelerator.num_processes,
        images=run.images,
        categories=[to_plain(category) for category in run.dataset.categories.values()],
        config=to_plain(run.config),
        broken=broken,
        losses=counters.losses,
    )
