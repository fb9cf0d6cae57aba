"""Training in rounds: a network grows masks from its clicks, and the next one learns from them.

A finished network's masks are better than those that it learnt from, so a network that learns from
them is better too. What it finds without clicks has a say in them, see
:mod:`point2mask.label.redraw`.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from point2mask.data.errors import DataError
from point2mask.data.files import write_json
from point2mask.data.json_files import read_json
from point2mask.data.making import Spreading
from point2mask.progress import Progress, ignore
from point2mask.train.config import FINISHED, RunConfig, check_resumable, load_config
from point2mask.train.errors import Stopped
from point2mask.train.own_masks import grow_masks, learning_from
from point2mask.train.stopping import Stop
from point2mask.train.train import train

RESULT = "rounds.json"


@dataclass(frozen=True)
class Round:
    """What came of a round.

    Attributes:
        number: from 1.
        folder: of its run.
        result: as :func:`point2mask.train.train.train` returns it.
    """

    number: int
    folder: Path
    result: dict[str, Any]

    @property
    def quality(self) -> float | None:
        """PQ of the validation images in [0, 1], None without any."""
        quality = self.result["quality"]
        share: float | None = None if quality is None else quality["all"]["pq"]
        return share


def train_rounds(
    config: RunConfig,
    out: Path,
    rounds: int,
    *,
    resume: bool = False,
    device: str | None = None,
    say: Callable[[str], None] = print,
    progress: Progress = ignore,
) -> list[Round]:
    """Trains up to ``rounds`` networks, each from the masks that the one before has grown.

    ``out`` gets ``round_1``, ``labels_2``, ``round_2`` and so on, and ``rounds.json`` with the
    quality of each. From the third on, a round is made only if the last one was better than the
    one before, where there are validation images.

    Args:
        config: of the first round, from clicks; later ones differ in what they learn from.
        out: the folder.
        rounds: at least 2.
        resume: go on with what there is in ``out``; a round that is finished is kept, and must be
            one of this configuration.
        device: where to work, as torch names it; by default a GPU where there is one.
        say: told in a sentence what is begun.
        progress: called after every picture that is labelled.

    Raises:
        DataError: several processes, a configuration that does not learn from clicks, or as for
            training and labelling.
        TrainingError: as for training.
        Stopped: as for training; ``resume`` goes on.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise DataError("rounds are trained by one process; of several, run each round by itself")
    if config.supervision.kind != "points":
        raise DataError(
            f"supervision.kind: expected points for the first of {rounds} rounds, got "
            f"{config.supervision.kind}"
        )
    finished: list[Round] = []
    while len(finished) < rounds and _improves(finished):
        number = len(finished) + 1
        folder = out / f"round_{number}"
        if number > 1:
            labels = out / f"labels_{number}"
            say(f"round {number}: masks of the training pictures, into {labels}")
            left_out = _grow(config, finished[-1].folder, labels, resume, device, progress)
            if left_out:
                say(f"left out, as they cannot be read: {len(left_out)}, such as {left_out[0]}")
        say(f"round {number} of at most {rounds}: {folder}")
        current = config if number == 1 else learning_from(config, out / f"labels_{number}")
        finished.append(Round(number, folder, _train(current, folder, resume, device)))
    write_json(
        out / RESULT,
        [{"round": r.number, "folder": r.folder.name, **r.result} for r in finished],
    )
    return finished


def _improves(finished: list[Round]) -> bool:
    """Whether another round may be worth it."""
    if len(finished) < 2:
        return True
    before, last = (entry.quality for entry in finished[-2:])
    return before is None or last is None or last > before


def _grow(
    config: RunConfig,
    before: Path,
    labels: Path,
    resume: bool,
    device: str | None,
    progress: Progress,
) -> list[str]:
    """Labels the training pictures by the network of a run; tells why some are left out."""
    by = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        with Stop() as stop, stop.leaving_at_once():
            left_out = grow_masks(
                config,
                before,
                labels,
                by,
                Spreading(resume=resume),
                progress,
                redraw=True,
                skip_broken=config.data.skip_broken,
            )
    except Stopped:
        raise Stopped(f"{labels}: stopped by SIGTERM; --resume goes on from there") from None
    return list(left_out.values())


def _train(config: RunConfig, folder: Path, resume: bool, device: str | None) -> dict[str, Any]:
    path = folder / "result.json"
    if resume and path.is_file():
        check_resumable(load_config(folder / "config.yaml", needs_weights=False), config, FINISHED)
        return read_json(path, dict[str, Any], "the result of a run")
    return train(config, folder, resume=resume, device=device)
