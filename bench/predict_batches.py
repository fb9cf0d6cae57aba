"""What showing the network several pictures at once gains: one by one against eights.

    python bench/predict_batches.py [--recipes ...] [--pictures 32] [--batch 8] [--size 128 160]

New networks of recipes on generated pictures, one thread; printed is processor time a picture of
everything between pixels and maps. No segment is too bad to be kept, and maps must be the same.
"""

import argparse
import time
from dataclasses import replace

import numpy as np
import torch

from point2mask.data.shapes import CATEGORIES, draw_shapes
from point2mask.models import make_network
from point2mask.predict import Predictor
from point2mask.train.config import load_config

RECIPES = ("shapes_tiny", "shapes_mask2former", "shapes_maskdino")


def predictor(recipe: str) -> Predictor:
    """Of a network that has learned nothing, which finds something all the same."""
    torch.manual_seed(0)
    config = load_config(recipe)
    network = make_network(replace(config.network, num_things=6, num_stuff=4))
    merge = replace(config.merge, quality_things=0.0, quality_stuff=0.0)
    return Predictor(network.eval(), CATEGORIES, config.augment, merge, config.supervision)


def seconds(predictor: Predictor, pictures: list[np.ndarray], batch: int) -> tuple[float, list]:
    """Processor time a picture, and what is found."""
    predictor.predict_batch(pictures[:batch])  # what is made once
    begin, found = time.process_time(), []
    for start in range(0, len(pictures), batch):
        found += predictor.predict_batch(pictures[start : start + batch])
    return (time.process_time() - begin) / len(pictures), found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipes", nargs="+", default=RECIPES)
    parser.add_argument("--pictures", type=int, default=32)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, nargs=2, default=(128, 160), metavar=("H", "W"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    pictures = [draw_shapes(n, tuple(args.size)).image for n in range(args.pictures)]
    for recipe in args.recipes:
        found = predictor(recipe)
        alone, maps = seconds(found, pictures, 1)
        together, others = seconds(found, pictures, args.batch)
        for (ids, segments), (other_ids, other_segments) in zip(maps, others, strict=True):
            if segments != other_segments or not np.array_equal(ids, other_ids):
                raise SystemExit(f"{recipe}: pictures together have other maps than alone")
        count = sum(len(segments) for _, segments in maps)
        print(
            f"{recipe}: {1 / alone:.1f} pictures a second of a processor one by one, "
            f"{1 / together:.1f} in batches of {args.batch} ({count} segments, the same)",
            flush=True,
        )


if __name__ == "__main__":
    main()
