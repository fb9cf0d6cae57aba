"""The semantic map filtered along the picture's tree."""

import numpy as np
import torch

from point2mask.ops import reference
from point2mask.pseudo_masks.refine import refine

SIGMA = 0.05


def random_case(height, width, seed=0):
    g = torch.Generator().manual_seed(seed)
    guide = torch.randn(1, 3, height, width, generator=g, dtype=torch.float64)
    probability = torch.rand(1, 4, height, width, generator=g, dtype=torch.float64).softmax(1)
    return probability, guide, torch.tensor([[height, width]])


def test_equals_the_reference_filter_of_the_map_at_half_size():
    probability, guide, size = random_case(10, 12)
    halves = [
        x.unflatten(3, (6, 2)).unflatten(2, (5, 2)).mean((3, 5)) for x in (guide, probability)
    ]
    colors, maps = (x.numpy() for x in halves)
    weight = np.zeros((1, 2, 5, 6))
    weight[:, 0, :-1] = ((colors[:, :, 1:] - colors[:, :, :-1]) ** 2).sum(1)
    weight[:, 1, :, :-1] = ((colors[..., 1:] - colors[..., :-1]) ** 2).sum(1)
    tree = reference.spanning_tree(weight)
    similarity = np.exp(-tree[-1] / SIGMA)
    both = np.concatenate((maps, np.ones_like(maps[:, :1])), 1).reshape(1, 5, 30)
    sums = reference.tree_filter(both, tree[0], tree[1], similarity)
    mean = torch.from_numpy((sums[:, :-1] / sums[:, -1:]).reshape(1, 4, 5, 6))
    expected = torch.nn.functional.interpolate(mean, (10, 12), mode="bilinear")
    torch.testing.assert_close(refine(probability, guide, size, SIGMA), expected)


def test_stays_a_distribution_and_keeps_a_constant_map():
    probability, guide, size = random_case(16, 20)
    refined = refine(probability, guide, size, SIGMA)
    torch.testing.assert_close(refined.sum(1), torch.ones_like(refined[:, 0]))
    flat = torch.full_like(probability, 0.25)
    torch.testing.assert_close(refine(flat, guide, size, SIGMA), flat)


def test_a_blurred_map_ends_where_colours_change():
    guide = torch.zeros(1, 3, 16, 32)
    guide[..., 16:] = 5.0
    ramp = torch.linspace(1, 0, 32).expand(1, 1, 16, 32) ** 0.5  # crosses 1/2 at column 23
    refined = refine(torch.cat((ramp, 1 - ramp), 1), guide, torch.tensor([[16, 32]]), SIGMA)
    first = refined[0, 0] > refined[0, 1]
    assert first[:, :15].all()
    assert not first[:, 17:].any()


def test_an_image_gives_the_same_in_every_batch_and_padding_is_not_read():
    probability, guide, size = random_case(11, 13)  # half a cell at both ends
    alone = None
    for height, width in ((12, 14), (16, 24)):
        padded = []
        for x in (probability, guide):
            canvas = torch.full((1, x.shape[1], height, width), torch.nan, dtype=x.dtype)
            canvas[..., :11, :13] = x
            padded.append(canvas)
        refined = refine(*padded, size, SIGMA)[..., :11, :13]
        assert refined.isfinite().all()
        alone = refined if alone is None else alone
        torch.testing.assert_close(refined, alone)
