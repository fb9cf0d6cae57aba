"""Random maps with clicks, and their pseudo-masks."""

import torch

from point2mask.pseudo_masks import PointBatch, pseudo_masks

CLASSES = 6
IS_THING = torch.tensor([True, True, True, True, False, False])


def random_case(seed, height=96, width=112, things=4, points=1):
    """Smooth random maps of one image with a few things and two stuff classes."""
    g = torch.Generator().manual_seed(seed)

    def smooth(channels, scale):
        coarse = torch.randn(1, channels, 5, 6, generator=g, dtype=torch.float64) * scale
        return torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")[0]

    semantic = smooth(CLASSES, 3.0).softmax(0)
    boundary = smooth(1, 2.0)[0]
    feature = torch.nn.functional.normalize(smooth(8, 1.0), dim=0)
    category = [int(c) for c in torch.randint(0, 4, (things,), generator=g)] + [4, 5]
    where = torch.rand(len(category), points, 2, generator=g) * torch.tensor([width, height])
    targets = [(c, [(x, y) for x, y in xy.tolist()]) for c, xy in zip(category, where, strict=True)]
    return semantic, boundary, feature, targets


def random_partition(targets, height=96, width=112, seed=0):
    """Smooth logits of a click branch, ``[1, K, H, W]``."""
    g = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, targets, 6, 7, generator=g, dtype=torch.float64) * 3
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")


def run(case, options=None, **kwargs):
    """The pseudo-masks of one image; a click branch says something where it is asked."""
    if options is not None and options.learned:
        size = case[0].shape[1:]
        kwargs.setdefault("partition", random_partition(len(case[3]), *size))
    semantic, boundary, feature, targets = case
    return pseudo_masks(
        semantic[None],
        PointBatch.from_lists([targets]),
        IS_THING,
        boundary_logits=boundary[None],
        feature=feature[None],
        options=options,
        **kwargs,
    )
