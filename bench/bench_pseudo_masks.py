"""The whole pseudo-label step beside the published one: ``python bench/bench_pseudo_masks.py``.

A batch of two 600 x 800 images with 20 things each, 21 classes, stride-16 graph, 80 Sinkhorn
iterations, all threads of the machine for both.
"""

import argparse
import json

import numpy as np
import published
import torch
import torch.nn.functional as F
from timing import interleaved

from point2mask.pseudo_masks import PointBatch, pseudo_masks

CLASSES, THINGS, HEIGHT, WIDTH = 21, 20, 600, 800


def make_batch(images: int, seed: int = 0):
    g = torch.Generator().manual_seed(seed)

    def smooth(channels, height, width):
        coarse = torch.randn(images, channels, 10, 13, generator=g)
        return F.interpolate(coarse, (height, width), mode="bicubic")

    semantic = (3 * smooth(CLASSES, HEIGHT, WIDTH)).softmax(1)
    boundary = smooth(1, HEIGHT // 8, WIDTH // 8).sigmoid()[:, 0]
    feature = F.normalize(smooth(128, HEIGHT // 8, WIDTH // 8), dim=1)
    targets = []
    for _ in range(images):
        category = [*torch.randint(0, CLASSES - 1, (THINGS,), generator=g).tolist(), CLASSES - 1]
        xy = torch.rand(THINGS + 1, 2, generator=g) * torch.tensor([WIDTH, HEIGHT])
        targets.append([(c, [tuple(p)]) for c, p in zip(category, xy.tolist(), strict=True)])
    return semantic, boundary, feature, targets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", help="also write the figures to this file")
    args = parser.parse_args()
    semantic, boundary, feature, targets = make_batch(args.images)
    is_thing = torch.arange(CLASSES) < CLASSES - 1
    points = PointBatch.from_lists(targets)

    def ours():
        return pseudo_masks(semantic, points, is_thing, boundary=boundary, feature=feature)

    def literal():
        return [
            published.pseudo_masks(
                published.Image(semantic[b].numpy(), boundary[b].numpy(), feature[b].numpy(), t),
                is_thing.numpy(),
                dtype=torch.float32,
            )[0]
            for b, t in enumerate(targets)
        ]

    agreement = np.mean(ours().instance.numpy() == np.stack(literal()))
    times = interleaved({"point2mask": ours, "published": literal}, args.repeats, warmup=0)
    ratio = times["published"]["wall"] / times["point2mask"]["wall"]
    for name, t in times.items():
        print(f"{name:12s} wall {t['wall']:8.3f} s   cpu {t['cpu']:8.3f} s   x{t['spread']:.2f}")
    print(f"threads {torch.get_num_threads()}   same labels {agreement:.2%}   ratio {ratio:.1f}x")
    if args.json:
        with open(args.json, "w") as file:
            json.dump({"times": times, "ratio": ratio, "same_labels": agreement}, file, indent=1)


if __name__ == "__main__":
    main()
