"""Quality of the pseudo-masks that a network under training makes of its images' clicks.

    python bench/pseudo_mask_quality.py out/run --set assigner=nearest --set supplies=network

Maps come from the checkpoint, so assigners, supplies and constants can be compared in minutes,
without training. Every thing's mask is compared with its own true mask at the resolution that the
network sees, by default that of test images: as each click gives one mask, PQ over things is the
sum of the IoU above 1/2 over the number of things.

    python bench/pseudo_mask_quality.py out/run --click-seeds 0 1 2 3 --areas 0.3 0.5 \
      --set assigner=transport,iterations=1000

draws clicks anew, and also tells the pseudo-masks the things' areas, whose logarithms are off by so
many standard deviations. What that gains is paired by the seed of the clicks.
"""

import argparse
from dataclasses import fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import yaml
from rich.console import Console
from rich.progress import track
from rich.table import Table

from point2mask.checkpoint import STATE, last_checkpoint, read_json_value
from point2mask.data import sample_points, write_points
from point2mask.data.augment import AugmentConfig
from point2mask.data.fields import parse
from point2mask.data.files import write_json
from point2mask.data.training import DataConfig, TrainingSet, read_source
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
    parser.add_argument(
        "--side", type=int, metavar="PIXELS", help="shorter side; default: that of test images"
    )
    parser.add_argument("--json", type=Path)
    parser.add_argument("--click-seeds", type=int, nargs="+", help="default: the run's own")
    parser.add_argument("--areas", type=float, nargs="+", default=[], metavar="LOG_ERROR")
    args = parser.parse_args()

    folder = last_checkpoint(args.run / "checkpoints") or args.run
    state = read_json_value(folder / STATE)
    config, step = parse(RunConfig, state["config"]), state["step"]
    side = args.side or config.augment.test_short_side
    longest = config.augment.max_side * side // config.augment.test_short_side
    sizes = AugmentConfig(short_sides=(side,), max_side=longest, flip=0.0)
    seeds = args.click_seeds or [config.data.train.point_seed]
    data = {
        (seed, error): clicked(config.data, sizes, seed, error)
        for seed in seeds
        for error in (None, *args.areas)
    }
    some = next(iter(data.values()))
    kinds = {text: supervision_of(text, config.supervision) for text in ["", *args.sets]}
    module = TrainingModule(load_trained(folder).network, config.loss, kinds[""]).eval()
    overlaps: dict[tuple[str, float | None], dict[int, list[float]]] = {
        (text, error): {seed: [] for seed in seeds}
        for text in kinds
        for error in (None, *args.areas)
    }
    semantic: list[float] = []  # shares of pixels of the right class, as trained
    for index in track(range(min(args.images, len(some))), "images"):
        batch, _ = some.collate([some[0, index]])
        output = module.network(module.network.normalise(batch.images), batch.image_size)
        for (seed, error), dataset in data.items():
            batch, _ = dataset.collate([dataset[0, index]])
            for text, supervision in kinds.items():
                module.grower.supervision = supervision
                seen = among_clicked(output, batch) if supervision.clicked_classes else output
                seen = module.grower.heed(seen, batch)
                masks = module.targets(seen, batch, LONG_AGO).masks
                overlaps[text, error][seed] += things_overlap(masks.instance, batch)
                if not text and error is None:
                    semantic.append(right_share(masks.semantic, batch))

    table = Table("pseudo-masks", "areas", "PQ things", "mean IoU", "above 1/2", "gain by areas")
    rows: list[dict[str, Any]] = []
    for (text, error), by_seed in overlaps.items():
        name = text or "as trained"
        row = {"set": name, "areas": error, "seeds": seeds, **figures(by_seed)}
        rows.append(row)
        gain = ""
        if error is not None:
            without = next(r for r in rows if r["set"] == name and r["areas"] is None)
            gain = spread(np.subtract(row["pq_things"], without["pq_things"]))
        shares = [spread(row[key]) for key in ("pq_things", "mean_iou", "hit")]
        table.add_row(name, "" if error is None else f"off by {error}", *shares, gain)
    Console().print(table)
    print(f"step {step}, pixels of the right class {100 * np.mean(semantic):.1f} %")
    if args.json:
        write_json(args.json, {"step": step, "rows": rows, "semantic": np.mean(semantic)})


def clicked(data: DataConfig, sizes: AugmentConfig, seed: int, error: float | None) -> TrainingSet:
    """The run's pictures with the clicks of a seed, and with areas off by an error."""
    if seed == data.train.point_seed and error is None:
        return TrainingSet(data, sizes, with_truth=True)
    truth = read_source(data.train, data.root).truth
    if truth is None:
        raise SystemExit("--click-seeds, --areas: the run has no true masks to draw clicks from")
    labels = sample_points(truth, data.train.points_per_segment, seed, area_error=error)
    with TemporaryDirectory() as folder:
        points = Path(folder) / "points.json"
        write_points(points, labels)
        train = replace(data.train, points=str(points), points_per_segment=1)
        return TrainingSet(replace(data, train=train), sizes, with_truth=True)


def figures(by_seed: dict[int, list[float]]) -> dict[str, list[float]]:
    """PQ, mean IoU and the share of masks above 1/2 of every seed, from the IoU of its things."""
    overlaps = [np.array(values) for values in by_seed.values()]
    return {
        "pq_things": [float(np.where(iou > 0.5, iou, 0).mean()) for iou in overlaps],
        "mean_iou": [float(iou.mean()) for iou in overlaps],
        "hit": [float((iou > 0.5).mean()) for iou in overlaps],
    }


def spread(shares: Any) -> str:
    """Mean in per cent, and the standard deviation where there are several."""
    mean = f"{100 * np.mean(shares):.1f}"
    return mean if len(shares) < 2 else f"{mean} ± {100 * np.std(shares, ddof=1):.1f}"


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
