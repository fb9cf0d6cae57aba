"""How well each assigner splits instances when the semantic map is already right.

    python bench/instance_splitting.py --data ../shared/data --json bench/results/splitting.json

The semantic map is taken from the ground truth, so that PQ over things measures the assignment
alone: coco_mini, nuclei and penn_fudan (train), 1 and 10 random points an instance, several point
seeds. The edge term is the Sobel-LAB map plus a small cost a step; nothing is learned.
"""

import argparse
import json
import statistics
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from point2mask.data.panoptic import PanopticDataset, PanopticImage, Segment, read_panoptic
from point2mask.data.points import sample_image_points
from point2mask.evaluation.panoptic_quality import PanopticStatistics, image_statistics
from point2mask.pseudo_masks import (
    PointBatch,
    PseudoMaskOptions,
    TransportOptions,
    pseudo_masks,
    sobel_lab_edges,
)

BASE = PseudoMaskOptions(stride=4, boundary_weight=1.0, point_size=1, class_penalty=100.0)
CONVERGED = {"iterations": 1000, "tolerance": 5e-3}
METHODS = {
    "nearest": replace(BASE, assigner="nearest"),
    "shortest_path": replace(BASE, assigner="shortest_path"),
    "transport, centroid": BASE,
    "transport, uniform": replace(BASE, transport=TransportOptions(supplies="uniform")),
    "transport, true areas": replace(BASE, transport=TransportOptions(supplies="given")),
    "transport, true areas, converged": replace(
        BASE, transport=TransportOptions(supplies="given", **CONVERGED)
    ),
}
STEP_COST = 0.01  # a little length, so that flat regions are split by distance


class Case:
    """One image as tensors: the one-hot truth as semantic map, edges, thing segments."""

    def __init__(self, dataset: PanopticDataset, image: PanopticImage, images_dir: Path) -> None:
        self.dataset, self.image = dataset, image
        self.truth = dataset.segment_map(image)
        rgb = Image.open(images_dir / image.record.file_name).convert("RGB")
        pixels = torch.from_numpy(np.array(rgb)).permute(2, 0, 1)[None].float() / 255
        height, width = self.truth.shape
        self.edges = sobel_lab_edges(pixels, height // 4, width // 4).square() + STEP_COST
        things = [s for s in image.segments if self.is_thing(s)]
        self.classes = sorted({s.category_id for s in things})
        # Channels: the thing classes, then one for all else (stuff, crowds, void), never split.
        channel = np.full(self.truth.max() + 1, len(self.classes))
        for segment in things:
            channel[segment.id] = self.classes.index(segment.category_id)
        one_hot = np.arange(len(self.classes) + 1)[:, None, None] == channel[self.truth]
        self.semantic = torch.from_numpy(one_hot[None]).float()
        self.areas = {s.id: int((self.truth == s.id).sum()) for s in things}

    def is_thing(self, segment: Segment) -> bool:
        return self.dataset.categories[segment.category_id].isthing and not segment.iscrowd

    def score(self, options: PseudoMaskOptions, per_segment: int, seed: int) -> PanopticStatistics:
        sampled = sample_image_points(self.dataset, self.image, per_segment, seed)
        targets = [t for t in sampled if t.id in self.areas]
        others = len(self.classes)
        points = PointBatch.from_lists(
            # The remaining channel is present in every image; where it is clicked is immaterial.
            [
                [(self.classes.index(t.category_id), t.points) for t in targets]
                + [(others, [(0, 0)])]
            ]
        )
        areas = torch.tensor([[float(self.areas[t.id]) for t in targets] + [0.0]])
        result = pseudo_masks(
            self.semantic,
            points,
            torch.arange(others + 1) < others,
            low_level=self.edges,
            areas=areas,
            options=options,
        )
        ids = np.array([0, *(t.id for t in targets)])
        instance = result.instance[0].numpy()
        prediction = ids[instance + 1]
        segments = [Segment(t.id, t.category_id) for t in targets if (prediction == t.id).any()]
        return image_statistics(
            self.truth, self.image.segments, prediction, segments, self.dataset.categories
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--sets", nargs="+", default=["coco_mini", "nuclei", "penn_fudan"])
    parser.add_argument("--images", type=int, help="only the first images of a set")
    parser.add_argument("--points", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    args = parser.parse_args()
    rows = []
    for name in args.sets:
        root = args.data / name
        dataset = read_panoptic(root / "annotations" / "panoptic_train.json")
        runs = [(m, p, s) for m in METHODS for p in args.points for s in range(args.seeds)]
        totals = {run: PanopticStatistics.zero(dataset.categories) for run in runs}
        for image in track(dataset.images[: args.images], description=name):
            case = Case(dataset, image, root / "images" / "train")
            if not case.areas:
                continue
            for method, points, seed in runs:
                statistic = case.score(METHODS[method], points, seed)
                totals[method, points, seed] += statistic
        for method in METHODS:
            for points in args.points:
                pq = [
                    100 * totals[method, points, seed].quality().things.pq
                    for seed in range(args.seeds)
                ]
                rows.append({"set": name, "method": method, "points": points, "pq_things": pq})
    show(rows, args.sets, args.points)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


def show(rows: list[dict], sets: list[str], points: list[int]) -> None:
    table = Table(
        "PQ things: mean ± standard deviation over point seeds", title="Semantic map given"
    )
    columns = [(s, p) for s in sets for p in points]
    for s, p in columns:
        table.add_column(f"{s}, {p} pt", justify="right")
    for method in METHODS:
        cells = []
        for s, p in columns:
            [pq] = [
                r["pq_things"]
                for r in rows
                if (r["set"], r["points"], r["method"]) == (s, p, method)
            ]
            spread = statistics.stdev(pq) if len(pq) > 1 else 0.0
            cells.append(f"{statistics.mean(pq):.1f} ± {spread:.1f}")
        table.add_row(method, *cells)
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
