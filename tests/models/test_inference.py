"""The merge of masks to panoptic maps, against a literal one."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from networks import batch, shake, tiny

from point2mask.models import MergeConfig, PanopticNetwork, merge_masks, predict
from point2mask.models.inference import score_masks

CONFIG = MergeConfig()
# An untrained network's masks are alike and of low score.
LOOSE = MergeConfig(
    max_things=9, quality_things=1e-6, quality_stuff=1e-6, overlap_things=0.95, overlap_stuff=0.9
)
SIZES = [(97, 130), (64, 64), (33, 70)]
CANVAS = (104, 150)


def literal_merge(masks, class_scores, labels, things, config):
    """The published procedure on masks ``[K, H, W]`` of any value: map, (label, score) by id."""
    binary = masks > config.mask_threshold
    areas = binary.sum((1, 2))
    scores = class_scores * ((masks * binary).sum((1, 2)) / (areas + 1)) ** 2
    filled = np.zeros(masks.shape[1:], bool)
    segment_map = np.zeros(masks.shape[1:], np.int32)
    segments = []
    for k in sorted(range(len(masks)), key=lambda k: -scores[k]):
        is_thing = labels[k] < things
        if scores[k] < (config.quality_things if is_thing else config.quality_stuff):
            continue
        if areas[k] == 0:
            continue
        taken = (binary[k] & filled).sum() / areas[k]
        if taken > (config.overlap_things if is_thing else config.overlap_stuff):
            continue
        new = binary[k] & ~filled
        filled |= new
        known = [label for label, _ in segments]
        if not is_thing and labels[k] in known:  # a panoptic map has one segment of a stuff class
            segment_map[new] = known.index(labels[k]) + 1
        else:
            segments.append((labels[k], scores[k]))
            segment_map[new] = len(segments)
    return segment_map, segments


def assert_equal(found, expected):
    segment_map, segments = found
    expected_map, expected_segments = expected
    assert segment_map.dtype == torch.int32
    np.testing.assert_array_equal(segment_map.numpy(), expected_map)
    assert [s.id for s in segments] == list(range(1, len(expected_segments) + 1))
    assert [s.label for s in segments] == [label for label, _ in expected_segments]
    assert [s.score for s in segments] == pytest.approx([score for _, score in expected_segments])
    assert [s.area for s in segments] == [(expected_map == s.id).sum() for s in segments]


@given(st.integers(0, 2**32 - 1), st.integers(0, 12), st.integers(1, 12), st.integers(1, 12))
def test_merge_is_the_published_one(seed, count, height, width):
    random = np.random.default_rng(seed)
    masks = np.zeros((count, height, width))
    for mask in masks:  # overlapping boxes, some of them empty, with values around the threshold
        y, x = random.integers(0, height), random.integers(0, width)
        h, w = random.integers(0, height + 1), random.integers(0, width + 1)
        mask[y : y + h, x : x + w] = random.uniform(0.3, 2.0, mask[y : y + h, x : x + w].shape)
    class_scores = random.uniform(0, 1, count).round(1)  # equal scores occur
    labels = random.integers(0, 5, count)
    inside, scores = score_masks(torch.from_numpy(masks), torch.from_numpy(class_scores), CONFIG)
    found = merge_masks(inside, scores, torch.from_numpy(labels), 3, CONFIG)
    assert_equal(found, literal_merge(masks, class_scores, labels, 3, CONFIG))


def merge(masks, scores, labels, **config):
    masks = torch.tensor(masks, dtype=torch.bool)[:, None]
    found = merge_masks(masks, torch.tensor(scores), torch.tensor(labels), 1, MergeConfig(**config))
    return found[0].tolist()[0], [s.label for s in found[1]]


def test_thresholds_are_included_and_differ_by_kind():
    five = [[1, 1, 1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1, 1, 1]]  # two of five pixels are taken
    assert merge(five, [0.9, 0.8], [0, 0]) == ([1, 1, 1, 1, 1, 2, 2, 2], [0, 0])
    assert merge(five, [0.9, 0.8], [0, 1]) == ([1, 1, 1, 1, 1, 0, 0, 0], [0])
    assert merge(five, [0.9, 0.8], [0, 0], overlap_things=0.39) == ([1, 1, 1, 1, 1, 0, 0, 0], [0])
    assert merge(five, [0.9, 0.25], [0, 0]) == ([1, 1, 1, 1, 1, 2, 2, 2], [0, 0])
    assert merge(five, [0.9, 0.24], [0, 0]) == ([1, 1, 1, 1, 1, 0, 0, 0], [0])
    assert merge(five, [0.8, 0.9], [0, 0]) == ([2, 2, 2, 1, 1, 1, 1, 1], [0, 0])


def test_equal_scores_keep_their_order():
    assert merge([[1, 1, 1], [1, 0, 0]], [0.5, 0.5], [0, 0]) == ([1, 1, 1], [0])
    assert merge([[1, 0, 0], [1, 1, 1]], [0.5, 0.5], [0, 0]) == ([1, 2, 2], [0, 0])


def test_a_mask_without_free_pixels_is_no_segment():
    assert merge([[1, 1], [1, 1]], [0.9, 0.8], [0, 0], overlap_things=1.0) == ([1, 1], [0])


def test_nothing_to_merge():
    assert merge([[0, 0]], [0.9], [0]) == ([0, 0], [])
    empty = merge_masks(torch.zeros(0, 2, 3, dtype=torch.bool), torch.zeros(0), torch.zeros(0), 1)
    assert empty[0].tolist() == [[0] * 3] * 2
    assert empty[1] == ()


def build(activation="relu", bias=-4.0, **changes) -> PanopticNetwork:
    torch.manual_seed(0)
    network = shake(PanopticNetwork(tiny(mask_activation=activation, **changes)))
    with torch.no_grad():  # masks that reach the threshold somewhere, but not everywhere
        for module in network.modules():
            if hasattr(module, "mask_bias"):
                module.mask_weight.mul_(5)
                module.mask_bias.fill_(bias)
    return network.double().eval()


def literal_prediction(network, image, size, config):
    """One image, all masks at once: the published resizes, and NumPy's merge."""
    height, width = image.shape[1:]
    encoded = network.encode(image[None], torch.tensor([[height, width]]))
    locations = network.locate(encoded)
    score = locations.class_logits[-1, 0].sigmoid().numpy()
    best = np.argsort(-score, axis=None, kind="stable")[: config.max_things]
    query, label = np.unravel_index(best, score.shape)
    things = network.decode_things(encoded, locations.queries, [torch.from_numpy(query)])
    stuff = network.decode_stuff(encoded)
    masks = torch.cat((things.masks[-1], stuff.masks[-1]), 1)
    full = resized(masks, (height, width), size)
    if network.config.mask_activation == "sigmoid":
        full = full.sigmoid()
    num_things, classes = network.config.num_things, network.config.num_classes
    class_scores = np.concatenate((score[query, label], stuff.class_logits[-1, 0].sigmoid()))
    labels = np.concatenate((label, np.arange(num_things, classes)))
    merged = literal_merge(full.numpy(), class_scores, labels, num_things, config)
    semantics = network.decode_semantics(encoded).logits[-1]
    return merged, resized(semantics, (height, width), size).argmax(0)


def resized(masks, size, original):
    full = F.interpolate(masks, scale_factor=8, mode="bilinear")[..., : size[0], : size[1]]
    return F.interpolate(full, original, mode="bilinear")[0]


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
@torch.no_grad()
def test_predictions_of_a_batch_are_those_of_each_image(activation):
    network = build(activation)
    images, image_size = batch(SIZES, CANVAS)
    originals = [(97, 130), (101, 90), (20, 50)]
    found = predict(network, images, image_size, originals, LOOSE, semantic=True)
    assert sum(len(prediction.segments) for prediction in found) > 8
    for prediction, image, (h, w), size in zip(found, images, SIZES, originals, strict=True):
        expected, semantic = literal_prediction(network, image[:, :h, :w], size, LOOSE)
        assert_equal((prediction.segment_map, prediction.segments), expected)
        assert torch.equal(prediction.semantic, semantic)


def test_predictions_have_the_size_of_the_image_unless_told_otherwise():
    images, image_size = batch(SIZES, CANVAS)
    predictions = predict(build(), images, image_size)
    assert [tuple(p.segment_map.shape) for p in predictions] == SIZES
    assert all(p.semantic is None for p in predictions)
    assert not any(p.segment_map.requires_grad for p in predictions)
    with pytest.raises(ValueError, match="original_size must have 3 entries, got 1"):
        predict(build(), images, image_size, [(5, 5)])


def test_more_things_allowed_than_there_are():
    images, image_size = batch([(33, 40)], (33, 40))
    config = MergeConfig(max_things=10_000, quality_things=0.0, quality_stuff=0.0)
    (prediction,) = predict(build(num_stuff=0, bias=0.0), images, image_size, config=config)
    assert prediction.segments
    assert all(segment.label < 3 for segment in prediction.segments)
