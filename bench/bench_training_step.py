"""One training step, stage by stage: CPU time, peak memory, and the published memory reckoned up.

    python bench/bench_training_step.py shapes_tiny --size 128 160
    python bench/bench_training_step.py voc_r50 network.backbone.pretrained=none
    python bench/bench_training_step.py voc_maskdino_r50 network.backbone.pretrained=none

Generated pictures with about ten things and a random click a target, in phase 2, one thread. Times
are medians of process CPU time, which a busy machine inflates least. A stage of the forward pass is
what runs inside its module or function. The backward pass is split by the order in which autograd
numbers its nodes: a node belongs to the stage that was running when it was made, the sum over a
parameter's gradients to the stage that owns it, and a hook before every node takes the time.

The memory is the largest resident size of the process while a stage runs, in its first step: all
that is kept for the backward pass by then, imports (0.5 GiB) and weights included. Beside it is
what autograd keeps of each stage for the backward pass.
"""

import argparse
import os
import statistics
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from step_stages import OPTIMIZER, Stages

from point2mask.data.files import write_json
from point2mask.data.shapes import CATEGORIES, draw_shapes
from point2mask.models.config import STRIDES, AnyNetworkConfig
from point2mask.pseudo_masks import PointBatch
from point2mask.pseudo_masks.batch import Batch
from point2mask.train.build import build_module
from point2mask.train.config import RunConfig, load_config
from point2mask.train.module import TrainingModule
from point2mask.train.optimizer import make_optimizer

OURS = ("pseudo-labels", "tree", "pair losses")  # what the method adds to a panoptic network
OUT = Path(__file__).parent / "results" / "training_step.json"
MIB = 2**20


def make_batch(network: AnyNetworkConfig, count: int, size: tuple[int, int], things: int) -> Batch:
    """Generated pictures with ``things`` +- 2 things each; classes of a kind are shared out."""
    rng = np.random.default_rng(0)
    images, truths, points, index = [], [], [], 0
    while len(images) < count:
        scene = draw_shapes(index, size)
        index += 1
        kinds = [CATEGORIES[segment.category_id].isthing for segment in scene.segments]
        if abs(sum(kinds) - things) > 2:
            continue
        truth = np.full(size, -1, np.int32)
        clicks: list[tuple[int, list[tuple[float, float]]]] = []
        for segment, is_thing in zip(scene.segments, kinds, strict=True):
            pixels = np.flatnonzero(scene.ids == segment.id)
            y, x = divmod(int(rng.choice(pixels)), size[1])
            channel = segment.category_id % network.num_things
            if not is_thing:
                channel = network.num_things + segment.category_id % network.num_stuff
            truth.flat[pixels] = len(clicks)
            clicks.append((channel, [(float(x), float(y))]))
        images.append(torch.from_numpy(scene.image).permute(2, 0, 1) / 255)
        truths.append(torch.from_numpy(truth))
        points.append(clicks)
    return Batch(
        torch.stack(images),
        torch.tensor([size] * count),
        PointBatch.from_lists(points),
        torch.arange(network.num_classes) < network.num_things,
        torch.stack(truths),
        tuple(f"shapes/{b}" for b in range(count)),
    )


def optimize(module: TrainingModule, optimizer: torch.optim.Optimizer, clip: float) -> None:
    torch.nn.utils.clip_grad_norm_(module.parameters(), clip)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def measure(module: TrainingModule, config: RunConfig, batch: Batch, steps: int) -> list[Stages]:
    """All steps, those to warm up too."""
    optimizer = make_optimizer(module, config.schedule)
    step = config.supervision.transport_warmup + 1
    runs = []
    for _ in range(steps):
        stages = Stages(module)
        with stages.watch():
            losses, _ = module(batch, step)
            total = torch.stack(list(losses.values())).sum()
        stages.backward(total)
        with stages.stage(OPTIMIZER):
            optimize(module, optimizer, config.schedule.clip_norm)
        del losses, total
        runs.append(stages)
    return runs


def published_memory(
    network: AnyNetworkConfig, images: int, size: tuple[int, int]
) -> dict[str, float]:
    """MiB of tensors of the published code, from their shapes alone: nothing is measured.

    It makes one-hot maps of 256 int64 channels, several a step, brings the semantic maps of all
    decoder layers to full resolution, where the last is used, and unfolds the neighbours of the
    larger LAB window of every layer.
    """
    pixels = images * size[0] * size[1]
    cells = images * -(-size[0] // STRIDES[0]) * -(-size[1] // STRIDES[0])
    layers, classes = network.semantic_layers, network.num_classes
    return {
        "one one-hot, 256 int64 channels": pixels * 256 * 8 / MIB,
        f"semantic maps of {layers} layers, full resolution": pixels * layers * classes * 4 / MIB,
        f"24 unfolded neighbours of {layers} layers": cells * layers * classes * 24 * 4 / MIB,
    }


def tabulate(runs: list[Stages], warmup: int) -> tuple[dict[str, dict[str, float]], float]:
    """Median seconds of every stage and its peak in MiB; and the seconds of a step."""
    timed = runs[warmup:]
    rows = {
        name: {
            "forward": statistics.median(run.forward.get(name, 0.0) for run in timed),
            "backward": statistics.median(run.backwards.get(name, 0.0) for run in timed),
            "peak_mib": runs[0].peaks.get(name, 0) / MIB,
            "kept_mib": runs[0].kept.get(name, 0) / MIB,
        }
        for name in runs[0].names
    }
    return rows, sum(row["forward"] + row["backward"] for row in rows.values())


def show(console: Console, result: dict[str, Any]) -> None:
    rows, total = result["stages"], result["seconds"]
    table = Table("stage", *("forward s", "backward s", "both s", "share", "peak MiB", "kept MiB"))
    for column in table.columns[1:]:
        column.justify = "right"
    for name, row in rows.items():
        both = row["forward"] + row["backward"]
        times = (f"{t:.3f}" for t in (row["forward"], row["backward"], both))
        rest = (f"{both / total:.1%}", f"{row['peak_mib']:.0f}", f"{row['kept_mib']:.0f}")
        table.add_row(name, *times, *rest, style="bold" if name in OURS else "")
    table.add_section()
    sums = [sum(row[part] for row in rows.values()) for part in ("forward", "backward")]
    peak = max(row["peak_mib"] for row in rows.values())
    kept = sum(row["kept_mib"] for row in rows.values())
    sizes = f"{peak:.0f}", f"{kept:.0f}"
    table.add_row("step", *(f"{t:.3f}" for t in (*sums, total)), "100.0%", *sizes)
    table.add_row(
        " + ".join(OURS), "", "", "", f"{result['share_of_the_method']:.1%}", style="bold"
    )
    console.print(table)
    console.print(f"{result['parameters'] / 1e6:.1f} M trained parameters")
    memory = Table("memory of the published code, reckoned from its shapes", "MiB")
    memory.columns[1].justify = "right"
    for name, value in result["memory_published_arithmetic"].items():
        memory.add_row(name, f"{value:.0f}")
    console.print(memory)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", metavar="RECIPE")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="of the configuration")
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--size", type=int, nargs=2, default=(600, 800), metavar=("H", "W"))
    parser.add_argument("--things", type=int, default=10)
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = load_config(args.config, args.overrides)
    size = (args.size[0], args.size[1])
    batch = make_batch(config.network, args.images, size, args.things)
    module = build_module(config).train()
    parameters = sum(p.numel() for p in module.parameters() if p.requires_grad)
    runs = measure(module, config, batch, args.warmup + args.repeats)
    rows, total = tabulate(runs, args.warmup)
    own = sum(rows[name]["forward"] + rows[name]["backward"] for name in OURS)
    result = {
        "config": args.config,
        "architecture": config.network.architecture,
        "parameters": parameters,
        "overrides": args.overrides,
        "images": args.images,
        "size": size,
        "targets": batch.points.category.ge(0).sum(1).tolist(),
        "repeats": args.repeats,
        "seconds": total,
        "share_of_the_method": own / total,
        "stages": rows,
        "memory_published_arithmetic": published_memory(config.network, args.images, size),
    }
    show(Console(), result)
    write_json(args.out, result)


if __name__ == "__main__":
    main()
