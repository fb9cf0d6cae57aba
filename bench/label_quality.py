"""Quality of masks made from clicks without training: every assigner, official rules, full size.

    python bench/label_quality.py DATA [--edges DIR] [--seeds 0 1] [--out FILE]

DATA holds a data set of COCO panoptic layout: images/SPLIT and annotations/panoptic_SPLIT.json with
its PNGs. Every segment gets one click, uniform inside it; the seeds are those of the command
``point2mask points sample``. PQ in percent, mIoU the mean IoU of each target's own mask, hit the
share above 1/2; touch and apart the mean IoU of things that touch another of their class, and of
those that do not. The row ``transport, true areas`` is told every segment's area: what areas would
be worth. ``--rows "merge, areas off by 0.3"`` is told areas whose logarithms have an error of that
standard deviation: what somebody's estimate would be worth.
"""

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from point2mask.data import read_panoptic, read_rgb
from point2mask.data.files import write_json
from point2mask.data.points import sample_image_points
from point2mask.evaluation import (
    MaskSums,
    PanopticStatistics,
    image_mask_statistics,
    image_statistics,
)
from point2mask.label import PICTURE_ASSIGNERS, label_image
from point2mask.label.folder import EDGE_SUFFIXES

COLUMNS = ("PQ", "PQ_th", "PQ_st", "mIoU", "hit", "touch", "apart")
TRUE_AREAS = "transport, true areas"
ROUGH_AREAS = ", areas off by "


def measure_image(dataset, images_dir, edges_dir, row, seed, image):
    truth = dataset.segment_map(image)
    error = 0.0 if row == TRUE_AREAS else None
    if ROUGH_AREAS in row:
        error = float(row.partition(ROUGH_AREAS)[2])
    targets = sample_image_points(dataset, image, seed=seed, ids=truth, area_error=error)
    record = image.record
    labels = label_image(
        read_rgb(images_dir / record.file_name),
        targets,
        assigner=row.partition(",")[0],
        edges=None if edges_dir is None else read_edges(edges_dir, record.file_name),
        is_thing=[dataset.categories[target.category_id].isthing for target in targets],
    )
    ids = np.array([target.id for target in targets])[labels]
    rest = (ids, image.segments, dataset.categories)
    things = [s for s in image.segments if dataset.categories[s.category_id].isthing]
    crowded = touching(truth, things)
    groups = (
        image.segments,
        [thing for thing in things if thing.id in crowded],
        [thing for thing in things if thing.id not in crowded],
    )
    own = [image_mask_statistics(truth, group, *rest) for group in groups]
    return image_statistics(truth, image.segments, *rest), own


def touching(truth, things):
    """Ids of the things one of whose pixels is a neighbour of another thing's of their class."""
    height, width = truth.shape
    category = {thing.id: thing.category_id for thing in things}
    found = set()
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        one = truth[: height - dy, max(0, -dx) : width - max(0, dx)]
        other = truth[dy:, max(0, dx) : width - max(0, -dx)]
        for pair in np.unique(np.stack((one, other), 2)[one != other], axis=0).tolist():
            if set(pair) <= category.keys() and category[pair[0]] == category[pair[1]]:
                found.update(pair)
    return found


def read_edges(folder, file_name):
    paths = [folder / Path(file_name).with_suffix(suffix) for suffix in EDGE_SUFFIXES]
    return read_rgb(next(path for path in paths if path.exists())).mean(axis=2)


def measure(pool, dataset, images, work):
    panoptic, masks = PanopticStatistics.zero(dataset.categories), [MaskSums()] * 3
    for image_panoptic, image_masks in pool.map(work, images, chunksize=4):
        panoptic = panoptic + image_panoptic
        masks = [total + own for total, own in zip(masks, image_masks, strict=True)]
    quality, (own, *crowded) = panoptic.quality(), [total.quality().all for total in masks]
    values = (quality.all.pq, quality.things.pq, quality.stuff.pq, own.mean_iou, own.hit_rate)
    return [100 * value for value in (*values, *(group.mean_iou for group in crowded))]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", default="train")
    parser.add_argument("--edges", type=Path, help="folder of edge maps: more rows")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--rows", nargs="+", default=[*PICTURE_ASSIGNERS, TRUE_AREAS])
    parser.add_argument("--limit", type=int, help="only the first images")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, help="JSON, written after every row")
    args = parser.parse_args()
    dataset = read_panoptic(args.data / "annotations" / f"panoptic_{args.split}.json")
    images, images_dir = dataset.images[: args.limit], args.data / "images" / args.split
    results = {
        "data": args.data.name,
        "split": args.split,
        "images": len(images),
        "segments": sum(len(image.segments) for image in images),
        "seeds": args.seeds,
        "columns": COLUMNS,
        "rows": [],
    }
    print(f"{'':36}" + "".join(f"{name:>7}" for name in COLUMNS) + "   PQ of each seed")
    with ProcessPoolExecutor(args.workers, get_context("spawn")) as pool:
        for edges_dir in (None,) if args.edges is None else (None, args.edges):
            for row in args.rows:
                seeds = []
                for seed in args.seeds:
                    work = partial(measure_image, dataset, images_dir, edges_dir, row, seed)
                    seeds.append(measure(pool, dataset, images, work))
                name = row + (", given edges" if edges_dir else "")
                mean = np.mean(seeds, axis=0).tolist()
                results["rows"].append({"name": name, "mean": mean, "seeds": seeds})
                print(
                    f"{name:36}"
                    + "".join(f"{value:7.1f}" for value in mean)
                    + "  "
                    + "".join(f" {values[0]:.1f}" for values in seeds),
                    flush=True,
                )
                if args.out is not None:
                    write_json(args.out, as_written(results))


def as_written(results):
    """Two digits, and null for the mean of nothing."""
    text = json.dumps(results)
    return json.loads(text, parse_float=lambda n: round(float(n), 2), parse_constant=lambda _: None)


if __name__ == "__main__":
    main()
