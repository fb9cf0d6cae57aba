"""MaskDINO beside the published code: outputs, selection, anchors, noise, from golden data."""

import published_maskdino as published
import pytest
import torch

from point2mask.models.base import Candidates
from point2mask.models.config import MergeConfig
from point2mask.models.denoising import Denoising, noised
from point2mask.models.geometry import Geometry
from point2mask.models.inference import _merge_image
from point2mask.models.maskdino import drawing_features, sharpened
from point2mask.models.positional import sine_boxes, sine_position
from point2mask.models.query_selection import boxes_of_masks, proposals
from point2mask.models.segment_heads import draw

CLOSE = {"rtol": 1e-5, "atol": 2e-5}
LEVELS = ("stride8", "stride16", "stride32", "stride64")


@pytest.fixture
def golden():
    return published.golden()


@pytest.fixture
def network(monkeypatch):
    return published.network(monkeypatch).eval()


def by_layer(said, masks):
    """Ours by the names of theirs."""
    names = ["interm", *(f"aux{i}" for i in range(len(said.boxes) - 2)), ""]
    return {
        f"{name}.pred_{part}".lstrip("."): value[layer]
        for layer, name in enumerate(names)
        for part, value in (
            ("logits", said.class_logits),
            ("boxes", said.boxes),
            ("masks", masks),
            ("masks_half", masks[..., ::2, ::2]),
        )
    }


@torch.no_grad()
def test_outputs(golden, network):
    encoded = network.encode(*published.images())
    geometry = encoded.geometry
    for name, level, shape in zip(
        LEVELS, encoded.memory.split(geometry.lengths, 1), geometry.shapes, strict=True
    ):
        expected = golden.eval[f"memory.{name}"]
        torch.testing.assert_close(level.transpose(1, 2).unflatten(2, shape), expected, **CLOSE)
    torch.testing.assert_close(encoded.mask_features, golden.eval["mask_features"], **CLOSE)
    said, _ = network.decode(encoded)
    found = by_layer(said, draw(said.embedding, encoded.mask_features))
    compared = [name for name in golden.eval if name in found]
    assert len(compared) == 12
    for name in compared:
        torch.testing.assert_close(found[name], golden.eval[name], **CLOSE)


def published_order(geometry):
    """Our cell for every one of theirs, which have the coarsest level first."""
    levels = torch.arange(sum(geometry.lengths)).split(geometry.lengths)
    return torch.cat(levels[::-1])


@torch.no_grad()
def test_selection(golden, network):
    encoded = network.encode(*published.images())
    geometry = encoded.geometry
    order = published_order(geometry)
    proposed, usable = proposals(geometry)
    assert usable.all()
    for boxes in proposed:
        torch.testing.assert_close(boxes[order], golden.eval["two_stage.proposals_logit"], **CLOSE)
    selected = network.selection(encoded.memory, geometry, network.heads)
    assert torch.equal(selected.cell, order[golden.eval["two_stage.indices"].long()])


@torch.no_grad()
def test_anchors_around_masks(golden, monkeypatch):
    network = published.network(monkeypatch, anchors="masks").eval()
    encoded = network.encode(*published.images())
    said, _ = network.decode(encoded)
    masks = draw(said.embedding[-1], drawing_features(encoded))
    for name, value in (
        ("initial_boxes", said.boxes[1]),
        ("pred_logits", said.class_logits[-1]),
        ("pred_boxes", said.boxes[-1]),
        ("pred_masks_half", masks[..., ::2, ::2]),
    ):
        torch.testing.assert_close(value, golden.eval[f"bitmask.{name}"], **CLOSE)


def given_denoising(golden):
    """The noised queries of the golden data: two groups of five slots, of which some are empty."""
    boxes, label = golden.train["dn.boxes"], golden.train["dn.labels"].long()
    slot = torch.arange(label.shape[1])
    target = torch.where(label >= 0, slot % 5, -1)
    return Denoising(label, boxes, target, (slot // 5).expand_as(label))


@torch.no_grad()
def test_noised_targets_found_again(golden, network):
    encoded = network.encode(*published.images())
    said, states = network.decode(encoded)
    denoising = given_denoising(golden)
    seen = denoising.others(states)
    expected = golden.train["dn.attention_mask"].bool()
    assert all(torch.equal(hidden, expected[:10]) for hidden in seen[0].hidden)
    again = network.decode_denoising(encoded, states, denoising)
    masks = draw(again.embedding, drawing_features(encoded))[..., ::2, ::2]
    for layer, name in enumerate(("aux0", "aux1", "aux2", "final")):
        for part, value in (
            ("logits", again.class_logits),
            ("boxes", again.boxes),
            ("masks_half", masks),
        ):
            expected = golden.train[f"dn.{name}.pred_{part}"]
            torch.testing.assert_close(value[layer], expected, **CLOSE)
    found = draw(said.embedding, drawing_features(encoded))[1:, ..., ::2, ::2]
    for layer in range(3):
        expected = golden.train[f"aux{layer}.pred_masks_half"]
        torch.testing.assert_close(found[layer], expected, **CLOSE)


def test_noise(golden):
    """Of the first image, with which the largest of the batch has the groups of one alone."""
    train, inputs = golden.train, golden.inputs
    label, boxes = (inputs[f"target0.{name}"][None] for name in ("labels", "boxes"))
    rows = torch.tensor([0, 1, 2, 3, 4, 8, 9, 10, 11, 12])  # of their draws, the first image's
    drawn = torch.zeros(1, 10, 6)
    drawn[0, :, 0] = train["dn.uniform_label"][rows]
    replaced = train["dn.uniform_label"] < golden.config.denoising_noise / 2
    other = torch.zeros(16)
    other[replaced] = train["dn.drawn_labels"].float()
    drawn[0, :, 1] = (other[rows] + 0.5) / 5
    drawn[0, :, 2:] = train["dn.uniform_box"][rows]
    exists = torch.ones(1, 5, dtype=torch.bool)
    found = noised(label.long(), boxes, exists, drawn, 5, golden.config.denoising_noise)
    assert torch.equal(found.label[0], train["dn.labels"][0].long())
    torch.testing.assert_close(found.boxes[0], train["dn.boxes"][0], rtol=0, atol=1e-6)
    assert found.target.tolist() == [[0, 1, 2, 3, 4] * 2]
    assert found.group.tolist() == [[0] * 5 + [1] * 5]


def test_positions(golden):
    units = golden.units
    expected = units["cell_sine.6x10"].flatten(1).T
    found = sine_position((6, 10), torch.tensor([[10.0, 6.0]]), 64, within=1.0)[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    found = sine_boxes(units["query_sine.boxes"], 64)
    torch.testing.assert_close(found, units["query_sine.encoding"], rtol=0, atol=1e-5)


def test_boxes_of_masks(golden):
    units = golden.units
    masks = units["boxes_of_masks.masks"].bool()[None]
    found = boxes_of_masks(masks, ((4 * masks.shape[2], 4 * masks.shape[3]),))[0]
    torch.testing.assert_close(found, units["boxes_of_masks.bitmask.box"], rtol=0, atol=1.1e-5)


def test_proposals_near_the_border(golden):
    """Of maps 2 x 3 and 4 x 60, their first levels, the cells that are too near to it."""
    units = golden.units
    valid = units["proposals.valid"].bool()
    size = torch.tensor([[256, 3840]])
    geometry = Geometry.of(size, torch.zeros(1, 3, 256, 3840))
    assert geometry.shapes[3] == (4, 60)
    _, usable = proposals(geometry)
    assert torch.equal(usable[0, -240:], valid[-240:])


def test_panoptic_map(golden):
    """Pixels are the same but for the border, which theirs blends with the padding."""
    units, told = golden.units, golden.values["panoptic"]
    logits, masks = units["panoptic.class_logits"][None], units["panoptic.mask_logits"][None]
    probability = logits.sigmoid()
    score, label = probability.max(-1)
    weight = sharpened(probability)
    torch.testing.assert_close(weight[0].tolist(), told["scores_used"], rtol=1e-5, atol=0)
    torch.testing.assert_close(score[0].tolist(), told["sigmoid_scores"], rtol=1e-5, atol=0)
    assert label[0].tolist() == told["labels_used"]
    height, width = told["image_size"]
    geometry = Geometry.of(torch.tensor([[height, width]]), torch.zeros(1, 3, 128, 192))
    merge = MergeConfig(quality_things=0.25, quality_stuff=0.25, overlap_things=0.2)
    size = tuple(told["output_size"])
    found, segments = _merge_image(
        Candidates(masks, score, label, 4, True, weight), geometry, 0, size, 3, merge
    )
    pixels = {s["id"]: s["category_id"] for s in told["segments_info"]}
    expected = units["panoptic.segments"]
    assert len(segments) == len(pixels)
    inside = (slice(-2), slice(-2))
    found, expected = found[inside], expected[inside]
    assert (found > 0).equal(expected > 0)
    for segment in segments:
        (theirs,) = expected[found == segment.id].unique().tolist()
        assert pixels[theirs] == segment.label
        assert (found == segment.id).equal(expected == theirs)
