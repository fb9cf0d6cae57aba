"""Losses of the boundary and the feature map, against their equations in NumPy."""

from dataclasses import replace

import numpy as np
import torch
from training import CANVAS, IS_THING, NUM_THINGS, SIZES, geometry, make_batch, randn

from point2mask.losses import boundary_separation, point_to_mask_contrast, true_masks
from point2mask.pseudo_masks import PointBatch

SHAPE = geometry().shapes[0]


def small_batch():
    """Two images of 16 x 24 and 16 x 18 pixels with two things and one stuff class."""
    scene = [(0, (3.0, 3.0), (0, 9, 0, 8)), (2, (14.0, 8.0), (4, 14, 9, 16))]
    scene += [(NUM_THINGS, (2.0, 15.0), None)]
    sizes, canvas = [(16, 24), (16, 18)], (16, 24)
    return make_batch([scene, scene], sizes, canvas), geometry(sizes, canvas)


def test_boundary_of_every_image_alone():
    batch, places = small_batch()
    masks = true_masks(batch)
    logits = randn(2, *places.shapes[0])
    loss = boundary_separation(logits, places, masks.instance, masks.semantic)
    for b, (height, width) in enumerate(places.sizes):
        p = places.image_to_pixels(b, logits[b : b + 1]).sigmoid()[0].numpy()
        instance, semantic = masks.instance[b].numpy(), masks.semantic[b].numpy()
        sums, counts = np.zeros(3), np.zeros(3)
        for y, x in np.ndindex(height, width):
            for v in range(max(y - 1, 0), min(y + 2, height)):
                for u in range(max(x - 1, 0), min(x + 2, width)):
                    if (v, u) == (y, x):
                        continue
                    a = 1 - max(p[y, x], p[v, u])
                    same = instance[y, x] == instance[v, u]
                    alike = semantic[y, x] == semantic[v, u]
                    kind = 2 if not (same and alike) else 0 if instance[y, x] >= 0 else 1
                    sums[kind] -= np.log(a + 1e-5) if kind < 2 else np.log(1 + 1e-5 - a)
                    counts[kind] += 1
        mean = sums / counts
        expected = ((mean[0] + mean[1]) / 4 + mean[2] / 2) / 2
        np.testing.assert_allclose(loss[b], expected, rtol=1e-9)


def test_boundary_gradient():
    batch, places = small_batch()
    masks = true_masks(batch)
    logits = randn(2, *places.shapes[0]).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda z: boundary_separation(z, places, masks.instance, masks.semantic), logits
    )


def unit(*shape):
    return torch.nn.functional.normalize(randn(*shape), dim=1)


def contrast_of_image(feature, points, instance, semantic):
    """Sum over clicks and their number, for one image; feature [F, h, w]."""
    full = feature.repeat(8, axis=1).repeat(8, axis=2)[:, : instance.shape[0], : instance.shape[1]]
    means = {}
    for k in np.unique(instance[instance >= 0]):
        means["thing", k] = full[:, instance == k].mean(1)
    for c in np.unique(semantic[semantic >= NUM_THINGS]):
        means["stuff", c] = full[:, (semantic == c) & (instance < 0)].mean(1)
    total, count = 0.0, 0
    for k, (category, clicks) in enumerate(points):
        own = ("thing", k) if category < NUM_THINGS else ("stuff", category)
        for x, y in clicks if own in means else ():
            f = feature[:, int(y) // 8, int(x) // 8]
            logits = {name: f @ mean / 0.07 for name, mean in means.items()}
            total += np.log(np.exp(list(logits.values())).sum()) - logits[own]
            count += 1
    return total, count


def test_contrast():
    batch = make_batch()
    # Two clicks on the first target, and one of a stuff class without pixels.
    things = [(0, [(30.0, 30.0), (12.0, 45.0)]), (1, [(90.0, 50.0)]), (0, [(20.0, 66.0)])]
    stuff = [(NUM_THINGS, [(60.0, 5.0)]), (NUM_THINGS + 1, [(100.0, 5.0)])]
    points = [things + stuff] * 2
    batch = replace(batch, points=PointBatch.from_lists(points))
    masks = true_masks(batch)
    masks.semantic[:, :, 60:64] = -1
    features = unit(2, 8, *SHAPE)
    loss = point_to_mask_contrast(features, batch.points, masks.instance, masks.semantic, IS_THING)
    parts = [
        contrast_of_image(features[b].numpy(), points[b], masks.instance[b, :h, :w].numpy(),
                          masks.semantic[b, :h, :w].numpy())
        for b, (h, w) in enumerate(SIZES)
    ]  # fmt: skip
    assert [count for _, count in parts] == [5, 5]
    np.testing.assert_allclose(loss, [total / 10 for total, _ in parts], rtol=1e-10)


def test_contrast_gradient():
    batch = make_batch()
    masks = true_masks(batch)
    features = unit(2, 3, *SHAPE).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda f: point_to_mask_contrast(f, batch.points, masks.instance, masks.semantic, IS_THING),
        features,
        fast_mode=True,
    )


def test_contrast_without_clicks_or_masks_is_zero():
    features = unit(2, 3, *SHAPE).requires_grad_()
    nothing = torch.full((2, *CANVAS), -1, dtype=torch.int32)
    for points in (make_batch().points, PointBatch.from_lists([[], []])):
        loss = point_to_mask_contrast(features, points, nothing, nothing, IS_THING)
        loss.sum().backward()
        assert loss.tolist() == [0, 0]
        assert not features.grad.any()
