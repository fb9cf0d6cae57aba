"""Quality of the pseudo-masks that a network under training makes of its images' clicks.

    python bench/pseudo_mask_quality.py out/run --set assigner=nearest --set supplies=network

Maps come from the checkpoint, so assigners, supplies and constants can be compared in minutes,
without training. Every thing's mask is compared with its own true mask at the test resolution: as
each click gives one mask, PQ over things is the sum of the IoU above 1/2 over the number of things.
"""

import argparse
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from rich.console import Console
from rich.progress import track
from rich.table import Table

from point2mask.checkpoint import STATE, last_checkpoint, read_json_value
from point2mask.data.augment import AugmentConfig
from point2mask.data.fields import parse
from point2mask.data.files import write_json
from point2mask.data.training import TrainingSet
from point2mask.pseudo_masks import PseudoMaskOptions, SupervisionConfig, TransportOptions
from point2mask.pseudo_masks.grower import among_clicked
from point2mask.train.config import RunConfig
from point2mask.train.module import TrainingModule
from point2mask.trained import load_trained

LONG_AGO = 10**9  # a step beyond the first phase


def supervision_of(text: str, base: SupervisionConfig) -> SupervisionConfig:
    """``key=value,...`` on top of the run's supervision; keys of its parts are known by name."""
    parts: dict[type, dict[str, Any]] = {
        kind: {} for kind in (TransportOptions, PseudoMaskOptions, SupervisionConfig)
    }
    for entry in filter(None, text.split(",")):
        key, _, value = entry.partition("=")
        kinds = [kind for kind in parts if key in {f.name for f in fields(kind)}]
        if not kinds:
            raise SystemExit(f"--set {text}: there is no option {key!r}")
        parts[kinds[0]][key] = yaml.safe_load(value)
    options = base.pseudo_masks
    transport = replace(options.transport, **parts[TransportOptions])
    options = replace(options, transport=transport, **parts[PseudoMaskOptions])
    given = {"kind": "points", "transport_warmup": 0} | parts[SupervisionConfig]
    return replace(base, pseudo_masks=options, **given)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a run, or a checkpoint")
    parser.add_argument("--set", action="append", default=[], dest="sets", metavar="KEY=VALUE,...")
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()

    folder = last_checkpoint(args.run / "checkpoints") or args.run
    state = read_json_value(folder / STATE)
    config, step = parse(RunConfig, state["config"]), state["step"]
    side = config.augment.test_short_side
    sizes = AugmentConfig(short_sides=(side,), max_side=config.augment.max_side, flip=0.0)
    data = TrainingSet(config.data, sizes, with_truth=True)
    kinds = {text: supervision_of(text, config.supervision) for text in ["", *args.sets]}
    module = TrainingModule(load_trained(folder).network, config.loss, kinds[""]).eval()
    overlaps: dict[str, list[float]] = {text: [] for text in kinds}
    semantic: list[float] = []  # shares of pixels of the right class, as trained
    for index in track(range(min(args.images, len(data))), "images"):
        batch, _ = data.collate([data[0, index]])
        output = module.network(module.network.normalise(batch.images), batch.image_size)
        for text, supervision in kinds.items():
            module.grower.supervision = supervision
            seen = among_clicked(output, batch) if supervision.clicked_classes else output
            seen = module.grower.heed(seen, batch)
            masks = module.targets(seen, batch, LONG_AGO).masks
            overlaps[text] += things_overlap(masks.instance, batch)
            if not text:
                semantic.append(right_share(masks.semantic, batch))

    table = Table("pseudo-masks", "PQ things", "mean IoU", "above 1/2")
    rows = {}
    for text, values in overlaps.items():
        iou = np.array(values)
        rows[text or "as trained"] = {
            "pq_things": float(np.where(iou > 0.5, iou, 0).mean()),
            "mean_iou": float(iou.mean()),
            "hit": float((iou > 0.5).mean()),
        }
        shares = [f"{100 * v:.1f}" for v in rows[text or "as trained"].values()]
        table.add_row(text or "as trained", *shares)
    Console().print(table)
    print(f"step {step}, pixels of the right class {100 * np.mean(semantic):.1f} %")
    if args.json:
        write_json(args.json, {"step": step, "rows": rows, "semantic": np.mean(semantic)})


def things_overlap(instance: torch.Tensor, batch: Any) -> list[float]:
    """IoU of every thing's mask with its own truth."""
    values = []
    for target in batch.is_thing[batch.points.category[0]].nonzero()[:, 0].tolist():
        made, true = instance[0] == target, batch.truth[0] == target
        known = batch.truth[0] >= 0
        union = float(((made & known) | true).sum())
        values.append(float((made & true).sum()) / union if union else 0.0)
    return values


def right_share(semantic: torch.Tensor, batch: Any) -> float:
    """Share of the pixels with a true class that have it."""
    known = batch.truth >= 0
    channel = batch.points.category.gather(1, batch.truth.clamp(min=0).long().flatten(1))
    right = channel.view_as(batch.truth) == semantic
    return float(right[known].float().mean())


if __name__ == "__main__":
    main()
