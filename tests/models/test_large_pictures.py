"""The merge at sizes far beyond the network's: few masks at a time, the same maps."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from networks import TINY_MASK2FORMER, TINY_MASKDINO, batch, shake, tiny
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from point2mask.models import MergeConfig, make_network, predict
from point2mask.models.base import Candidates

SIZE, ORIGINAL = (33, 70), (400, 500)
PIXELS = ORIGINAL[0] * ORIGINAL[1]
EVERY_MASK = MergeConfig(quality_things=0.0, quality_stuff=0.0, mask_threshold=0.3)


class Largest(TorchDispatchMode):
    """The elements of the largest tensor that is made."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self.elements = max(self.elements, leaf.numel())
        return result


@pytest.mark.parametrize("config", [tiny(), TINY_MASK2FORMER, TINY_MASKDINO])
@torch.no_grad()
def test_few_masks_are_large_at_a_time(config, monkeypatch):
    torch.manual_seed(0)
    network = shake(make_network(config)).eval()
    images, image_size = batch([SIZE], SIZE, torch.float32)
    (expected,) = predict(network, images, image_size, [ORIGINAL], EVERY_MASK, semantic=True)
    monkeypatch.setattr("point2mask.models.inference._CHUNK_PIXELS", 2 * PIXELS)
    with Largest() as largest:
        (found,) = predict(network, images, image_size, [ORIGINAL], EVERY_MASK, semantic=True)
    assert largest.elements == 2 * PIXELS
    assert torch.equal(found.segment_map, expected.segment_map)
    assert torch.equal(found.semantic, expected.semantic)
    assert [s[:2] + s[3:] for s in found.segments] == [s[:2] + s[3:] for s in expected.segments]
    np.testing.assert_allclose(
        [s.score for s in found.segments], [s.score for s in expected.segments], rtol=1e-6
    )


def literal_share_out(masks, score, label, weight, things, config):
    """Each pixel to the mask of highest weight · probability: map, (label, area) by id."""
    is_thing = label < things
    good = score >= np.where(is_thing, config.quality_things, config.quality_stuff)
    claim = masks * (weight * good)[:, None, None]
    owner = np.where(claim.max(0) > 0, claim.argmax(0), -1)
    segment_map = np.zeros(masks.shape[1:], np.int32)
    segments = []
    for k in np.flatnonzero(good):
        own, won = masks[k] >= config.mask_threshold, owner == k
        left = 1 - (config.overlap_things if is_thing[k] else config.overlap_stuff)
        if not (own & won).any() or won.sum() < left * own.sum():
            continue
        known = [name for name, _ in segments]
        if not is_thing[k] and label[k] in known:  # a panoptic map has one segment of a stuff class
            segment_map[own & won] = known.index(label[k]) + 1
        else:
            segments.append((label[k], score[k]))
            segment_map[own & won] = len(segments)
    return segment_map, segments


def merged(candidates, config):
    """The map that ``predict`` makes of masks of 6 x 7 pixels, two classes of which are things."""
    geometry = SimpleNamespace(sizes=[(6, 7)], image_to_pixels=lambda image, maps, stride: maps)
    network = SimpleNamespace(
        config=SimpleNamespace(num_things=2),
        encode=lambda images, image_size: SimpleNamespace(geometry=geometry),
        candidates=lambda encoded, max_things: candidates,
    )
    (found,) = predict(network, torch.zeros(1, 3, 6, 7), torch.tensor([[6, 7]]), None, config)
    return found


def test_masks_that_are_not_shared_out_are_painted():
    """Of two masks of one thing, which take half of each other, the better one stays."""
    rows = torch.arange(6)[:, None].expand(6, 7)
    masks = torch.stack([torch.where(rows < 3, *p) for p in ((0.8, 0.7), (0.7, 0.8))]).double()
    candidates = Candidates(
        masks[None],
        torch.tensor([[0.5, 0.6]]),
        torch.tensor([[0, 0]]),
        stride=1,
        logits=False,
        weight=torch.tensor([[1.0, 1.0]]),
    )
    assert not merged(candidates, MergeConfig()).segments
    painted = MergeConfig(share_out=False)
    found = merged(candidates, painted)
    assert [segment.area for segment in found.segments] == [42]
    as_others = merged(candidates._replace(weight=None), MergeConfig())
    assert torch.equal(found.segment_map, as_others.segment_map)
    assert found.segments == as_others.segments


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.sampled_from([1, 3, 100]))
def test_pixels_are_shared_out_as_said(seed, count, chunk):
    """Values are multiples of a quarter: claims and thresholds are met exactly, and often tie."""
    rng = np.random.default_rng(seed)
    masks = rng.integers(0, 5, (count, 6, 7)) / 4
    score, weight = np.sort(rng.random(count))[::-1].copy(), rng.integers(0, 5, count) / 4
    label = rng.integers(0, 4, count)
    config = MergeConfig(
        mask_threshold=0.5,
        quality_things=0.25,
        quality_stuff=0.5,
        overlap_things=0.5,
        overlap_stuff=0.75,
    )
    candidates = Candidates(
        *(torch.from_numpy(x)[None] for x in (masks, score, label)),
        stride=1,
        logits=False,
        weight=torch.from_numpy(weight)[None],
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("point2mask.models.inference._CHUNK", chunk)
        found = merged(candidates, config)
    segment_map, segments = literal_share_out(masks, score, label, weight, 2, config)
    np.testing.assert_array_equal(found.segment_map.numpy(), segment_map)
    assert [(s.label, s.score) for s in found.segments] == segments
    assert [s.area for s in found.segments] == [(segment_map == s.id).sum() for s in found.segments]
