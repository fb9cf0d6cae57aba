"""Draws the figures of docs/method.md from one generated picture: python docs/method_figures.py."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from point2mask import ops
from point2mask.data import PointTarget, Segment
from point2mask.data.png import write_rgb
from point2mask.data.shapes import CATEGORIES, draw_shapes
from point2mask.pseudo_masks import PointBatch, PseudoMaskOptions, edge_cost, pseudo_masks
from point2mask.visualize import overlay, side_by_side

FOLDER = Path(__file__).parent / "method"
ZOOM = 2
RAMP = np.array([(13, 8, 60), (126, 3, 168), (204, 71, 120), (248, 149, 64), (240, 249, 33)])
# The second scene of this seed in which two things of one class touch.
INDEX, SEED = 8, 7


def colored(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Values between their least and their 98th percentile as colours from dark to bright."""
    low, high = values.min(), np.percentile(values, 98)
    place = np.clip((values - low) / (high - low + 1e-12), 0, 1)
    steps = np.linspace(0, 1, len(RAMP))
    return np.stack([np.interp(place, steps, RAMP[:, c]) for c in range(3)], -1).astype(np.uint8)


def semantic_map(ids: NDArray[np.int32], channels: dict[int, int]) -> Tensor:
    """What a half-trained network might say: the true classes, blurred and unsure. [1, C, H, W]."""
    classes = np.vectorize(lambda i: channels.get(i, 0))(ids)
    one_hot = torch.nn.functional.one_hot(torch.from_numpy(classes)).permute(2, 0, 1)[None].float()
    blurred = torch.nn.functional.avg_pool2d(one_hot, 9, 1, 4, count_include_pad=False)
    noise = torch.randn(blurred.shape, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.avg_pool2d(noise, 11, 1, 5, count_include_pad=False)
    return (4 * blurred + 3 * smooth).softmax(1)


def boundary_map(ids: NDArray[np.int32]) -> Tensor:
    """What a boundary head might say: the true outlines, three pixels wide and faint. [1, H, W]."""
    labels = torch.from_numpy(ids)[None].float()
    edges = ops.neighbor_difference(labels[None], 8).gt(0).any(1).float()
    return 0.9 * torch.nn.functional.avg_pool2d(edges, 3, 1, 1)


def main() -> None:
    scene = draw_shapes(INDEX, (128, 160), SEED, things=6, scale=1.6)
    names = sorted({segment.category_id for segment in scene.segments})
    channel = {category: c for c, category in enumerate(names)}
    clicks = {s.id: _middle(scene.ids == s.id) for s in scene.segments}
    semantic = semantic_map(scene.ids, {s.id: channel[s.category_id] for s in scene.segments})
    boundary = boundary_map(scene.ids)
    is_thing = torch.tensor([CATEGORIES[name].isthing for name in names])
    points = PointBatch.from_lists(
        [[(channel[s.category_id], [clicks[s.id]]) for s in scene.segments]]
    )
    things = [k for k, s in enumerate(scene.segments) if CATEGORIES[s.category_id].isthing]
    chosen = max(things, key=lambda k: (scene.ids == scene.segments[k].id).sum())

    edges = edge_cost(semantic, boundary)
    x, y = (int(v) for v in clicks[scene.segments[chosen].id])
    distance = ops.geodesic_distance(edges, torch.tensor([[[y * 160 + x]]], dtype=torch.int32))
    masks = {
        name: pseudo_masks(
            semantic,
            points,
            is_thing,
            boundary_logits=boundary.logit(1e-6),
            options=PseudoMaskOptions(assigner=name, stride=4, point_size=9),
        ).panoptic[0]
        for name in ("nearest", "transport")
    }
    targets = [PointTarget(s.id, s.category_id, (clicks[s.id],)) for s in scene.segments]
    nothing = np.zeros_like(scene.ids)
    classes = semantic[0].argmax(0).numpy()
    by_class = [Segment(c + 1, name) for c, name in enumerate(names)]

    def shown(ids: NDArray[np.int32]) -> NDArray[np.uint8]:
        return overlay(scene.image, ids, scene.segments, CATEGORIES)

    def instances(panoptic: Tensor) -> NDArray[np.uint8]:
        ids = np.array([0, *(s.id for s in scene.segments)], np.int32)[panoptic.numpy() + 1]
        return shown(ids)

    _write(
        "cues.png",
        {
            "picture and clicks": overlay(scene.image, nothing, [], CATEGORIES, targets),
            "semantic map": overlay(
                scene.image, (classes + 1).astype(np.int32), by_class, CATEGORIES
            ),
            "boundary map": colored(boundary[0].numpy()),
        },
    )
    _write(
        "cost.png",
        {
            "cost of a step": colored(edges[0].mean(0).numpy()),
            "cost from one click": colored(distance[0, 0].numpy()),
        },
    )
    _write(
        "labels.png",
        {
            "nearest": instances(masks["nearest"]),
            "transport": instances(masks["transport"]),
            "truth": shown(scene.ids),
        },
    )


def _middle(mask: NDArray[np.bool_]) -> tuple[float, float]:
    """The pixel (x, y) of a mask that is farthest from its rim, counted in erosions."""
    inside = torch.from_numpy(mask)[None, None].float()
    last = inside
    while inside.any():
        last, inside = inside, -torch.nn.functional.max_pool2d(-inside, 3, 1, 1) * _interior(inside)
    y, x = np.argwhere(last[0, 0].numpy() > 0)[0]
    return float(x), float(y)


def _interior(mask: Tensor) -> Tensor:
    """1 but for the outermost pixels, so that masks shrink from the picture's rim as well."""
    inside = torch.zeros_like(mask)
    inside[..., 1:-1, 1:-1] = 1
    return inside


def _write(name: str, panels: dict[str, NDArray[np.uint8]]) -> None:
    pictures = [picture.repeat(ZOOM, 0).repeat(ZOOM, 1) for picture in panels.values()]
    FOLDER.mkdir(exist_ok=True)
    write_rgb(FOLDER / name, side_by_side(pictures, list(panels)))


if __name__ == "__main__":
    main()
