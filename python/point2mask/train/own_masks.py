"""Masks of the training pictures that a run's network grows from clicks, to be learned from."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch

from point2mask import checkpoint
from point2mask.data.errors import BrokenPictureError
from point2mask.data.gathering import gather
from point2mask.data.making import Spreading
from point2mask.data.places import is_url
from point2mask.data.results import INDEX, MASKS, Shard
from point2mask.data.training import TrainingSet, images_folder, training_clicks
from point2mask.label.folder import NETWORK, LabelOptions, forget_network, label_folder
from point2mask.progress import Progress, ignore
from point2mask.train.config import RunConfig
from point2mask.train.errors import Stopped
from point2mask.train.module import TrainingModule
from point2mask.train.saving import OWN_MASKS, save, stopped

if TYPE_CHECKING:
    from point2mask.train.train import Run

ENLARGED = 1.5  # pictures on which masks are grown, against test images: masks get finer


def grow_masks(
    config: RunConfig,
    run: Path,
    labels: Path,
    device: str,
    spreading: Spreading,
    progress: Progress = ignore,
    *,
    redraw: bool,
    skip_broken: bool = False,
) -> dict[str, str]:
    """Masks of a configuration's training pictures, grown by a run's network from their clicks.

    Args:
        config: whose pictures and clicks.
        run: the folder of the network, whose last checkpoint is taken.
        labels: where the masks go.
        device: where the network works.
        spreading: which pictures, and whether what is there is gone on with.
        progress: called after every picture.
        redraw: whether what the network finds without clicks has a say; masks of a finished
            network gain by it.
        skip_broken: leave pictures out that cannot be read, or whose true masks cannot be, which
            clicks are sampled from; else the first is an error.

    Returns:
        Why pictures are left out, by name.

    Raises:
        DataError: as :func:`~point2mask.label.folder.label_folder`.
    """

    def pass_over(error: BrokenPictureError) -> None:
        """It is among those that are left out."""

    source = config.data.train
    options = LabelOptions(
        assigner=NETWORK,
        checkpoint=run,
        network_side=round(ENLARGED * config.augment.test_short_side),
        device=device,
        redraw=redraw,
    )
    left_out: dict[str, str] = {}
    clicks = training_clicks(source, config.data.root, left_out if skip_broken else None)
    try:
        made = label_folder(
            images_folder(source, config.data.root),
            clicks,
            labels,
            options,
            spreading,
            progress,
            pass_over if skip_broken else None,
        )
    finally:
        forget_network()
        if device.startswith("cuda"):
            torch.cuda.empty_cache()
    return left_out | made.left_out


def learning_from(config: RunConfig, labels: Path) -> RunConfig:
    """The same run, learning from the masks in a folder as from true ones."""
    # Beside a root in a store, a path without a scheme would be one of the store.
    remote = is_url(config.data.root)
    index, masks = (
        path.as_uri() if remote else str(path)
        for path in (labels.absolute() / INDEX, labels.absolute() / MASKS)
    )
    source = replace(
        config.data.train,
        annotations=index,
        masks=masks,
        points=None,
        first=None,
        frame=None,
    )
    return replace(
        config,
        data=replace(config.data, train=source),
        supervision=replace(config.supervision, kind="masks"),
    )


def turn_to_own_masks(run: "Run") -> bool:
    """Where it is due, a run learns from here on from masks that its averaged weights grow once.

    They are grown by the checkpoint of this step and stay in the run's folder: a run that is taken
    up again has the same.

    Returns:
        Whether it was due: the run has another dataset now.
    """
    start = run.config.supervision.masks_from
    if start is None or run.from_own_masks:
        return False
    # Asked for before the first step: another module than the method's may lack it.
    learn_from_masks = cast(TrainingModule, run.module).learn_from_masks
    if run.counters.step < start:
        return False
    folder = run.out / OWN_MASKS
    if run.counters.step == start:
        run.report.say(f"step {start}: the masks to learn from now, into {folder}")
        _grow_together(run, folder)
    config = learning_from(run.config, folder)
    run.dataset = TrainingSet(config.data, config.augment, config.seed, with_truth=True)
    learn_from_masks()
    run.from_own_masks = True
    return True


def _grow_together(run: "Run", folder: Path) -> None:
    """Masks by the checkpoint of this step; each process grows its share."""
    checkpoints = run.out / "checkpoints"
    own = checkpoints / checkpoint.checkpoint_name(run.counters.step)
    run.accelerator.wait_for_everyone()
    is_saved = checkpoint.last_checkpoint(checkpoints) == own
    run.accelerator.wait_for_everyone()
    if not is_saved:
        save(run)
    alone = run.accelerator.num_processes == 1
    try:
        # Several processes wait for each other: there it goes on to its end.
        with run.stop.leaving_at_once() if alone else nullcontext():
            left_out = grow_masks(
                run.config,
                run.out,
                folder,
                str(run.accelerator.device),
                Spreading(shard=Shard(run.rank + 1, run.accelerator.num_processes), resume=True),
                run.report.progress("masks"),
                redraw=False,
                skip_broken=run.config.data.skip_broken,
            )
    except Stopped:
        raise stopped(run) from None
    run.counters.broken |= left_out
    run.accelerator.wait_for_everyone()
    if run.main and not alone:
        gather([folder])
    run.accelerator.wait_for_everyone()
    # A network was made to grow them; a run that is taken up later makes none.
    checkpoint.load_random_state(own, run.rank)
