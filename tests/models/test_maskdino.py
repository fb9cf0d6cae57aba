"""MaskDINO as the network: batches, choice of queries, noise, merge, export."""

from dataclasses import replace

import pytest
import torch
from alike import CANVAS, SIZES, check_batches, check_predictions, exported, maps_of
from networks import TINY_MASKDINO, batch, shake

from point2mask.data.fields import parse, to_plain
from point2mask.models import Geometry, MaskDINOConfig, MaskDINONetwork, MergeConfig
from point2mask.models.denoising import NUMBERS, draws, noised
from point2mask.models.geometry import cells
from point2mask.models.maskdino import drawing_features
from point2mask.models.query_selection import boxes_of_masks, proposals
from point2mask.models.segment_heads import draw

# An untrained network is sure of nothing.
LOOSE = MergeConfig(
    max_things=9,
    mask_threshold=0.3,
    quality_things=1e-6,
    quality_stuff=1e-6,
    overlap_things=0.99,
    overlap_stuff=0.99,
)


def build(dtype=torch.float64, **changes):
    torch.manual_seed(0)
    return shake(MaskDINONetwork(replace(TINY_MASKDINO, **changes))).to(dtype).eval()


def everything(network, images, image_size):
    """All that depends on the images, the batch second."""
    output = network(images, image_size)
    said = output.predictions
    return {
        "class_logits": said.class_logits,
        "boxes": said.boxes,
        "masks": draw(said.embedding, drawing_features(output.encoded)),
        **maps_of(output),
    }


MAPS = ("masks", "semantics", "boundary", "features")


@torch.no_grad()
@pytest.mark.parametrize("canvas", [(64, 96), (97, 131), (8, 8), (1, 200)])
def test_shapes(canvas):
    """Also of images that have fewer cells than there are queries."""
    images, image_size = batch([canvas, (1, 1)], canvas, torch.float32)
    maps = everything(build(torch.float32), images, image_size)
    fine, coarse = (tuple(cells(n, stride) for n in canvas) for stride in (4, 8))
    assert {name: x.shape for name, x in maps.items()} == {
        "class_logits": (4, 2, 12, 5),
        "boxes": (4, 2, 12, 4),
        "masks": (4, 2, 12, *fine),
        "semantics": (2, 2, 5, *coarse),
        "presence": (2, 2, 5),
        "boundary": (1, 2, *coarse),
        "features": (1, 2, 8, *coarse),
    }
    assert all(x.isfinite().all() for x in maps.values())


@pytest.mark.parametrize("anchors", ["boxes", "masks"])
def test_an_image_gives_the_same_in_every_batch(anchors):
    sizes = [*SIZES[:3], (9, 11)]
    check_batches(everything, build(anchors=anchors), MAPS, sizes)


@torch.no_grad()
def test_queries_are_the_cells_whose_best_class_scores_highest():
    network = build()
    encoded = network.encode(*batch(SIZES[:2], CANVAS))
    selected = network.selection(encoded.memory, encoded.geometry, network.heads)
    _, usable = proposals(encoded.geometry)
    score = network.heads.classes(network.selection.norm(network.selection.linear(encoded.memory)))
    for b in range(2):
        own = score[b].amax(1).masked_fill(~usable[b], -torch.inf)
        assert torch.equal(selected.cell[b], own.argsort(descending=True, stable=True)[:12])
    assert encoded.geometry.valid.gather(1, selected.cell).all()


def test_boxes_that_are_proposed():
    """Around the centres of cells, as parts of the image itself; the finest level's are largest."""
    geometry = Geometry.of(torch.tensor([[128, 192]]), torch.zeros(1, 3, 160, 256))
    logits, usable = proposals(geometry)
    boxes = logits.sigmoid()[0].split(geometry.lengths)
    for level, (stride, side) in enumerate(((8, 0.4), (16, 0.2), (32, 0.1), (64, 0.05))):
        rows, columns = geometry.shapes[level]
        inside = usable[0].split(geometry.lengths)[level].view(rows, columns)
        assert inside[: 128 // stride, : 192 // stride].all()
        assert inside.sum() == (128 // stride) * (192 // stride)
        expected = [1.5 * stride / 192, 0.5 * stride / 128, side, side]
        torch.testing.assert_close(boxes[level][1].tolist(), expected, rtol=1e-5, atol=0)


def test_boxes_of_masks_are_tight_within_their_image():
    masks = torch.zeros(1, 3, 6, 8, dtype=torch.bool)
    masks[0, 0, 1:3, 2:5] = True
    masks[0, 1] = True  # also where there is no image
    found = boxes_of_masks(masks, ((18, 30),))[0]
    expected = torch.tensor(
        [[14 / 30, 8 / 18, 12 / 30, 8 / 18], [0.5, 0.5, 1.0, 1.0], [0.0] * 4], dtype=found.dtype
    )
    torch.testing.assert_close(found, expected)


@torch.no_grad()
def test_queries_see_nothing_of_noised_targets_which_see_their_group():
    """With one slot of a group moved, others of its group change, and no other."""
    network = build()
    encoded = network.encode(*batch(SIZES[1:2], (64, 64)))
    _, states = network.decode(encoded)
    label = torch.tensor([[0, 3, 4]])
    boxes = torch.tensor([[[0.3, 0.4, 0.2, 0.3], [0.5, 0.5, 1.0, 1.0], [0.6, 0.6, 0.2, 0.2]]])
    exists = torch.tensor([[True, True, False]])
    drawn = torch.rand(1, 7, NUMBERS, generator=torch.Generator().manual_seed(0))
    denoising = noised(label, boxes, exists, drawn, 5, 0.4)
    assert denoising.target.tolist() == [[0, 1, 0, 1, 0, 1, -1]]
    assert denoising.group.tolist() == [[0, 0, 1, 1, 2, 2, -1]]
    assert denoising.groups.tolist() == [3]
    before = network.decode_denoising(encoded, states, denoising).class_logits[-1, 0]
    moved = denoising.boxes.clone()
    moved[0, 2] = 0.7
    after = network.decode_denoising(encoded, states, denoising._replace(boxes=moved))
    changed = (after.class_logits[-1, 0] - before).abs().amax(1) > 1e-9
    assert changed.tolist() == [False, False, True, True, False, False, False]


def test_noise_stays_within_its_bounds():
    label, exists = torch.tensor([[2, 1]]), torch.ones(1, 2, dtype=torch.bool)
    boxes = torch.tensor([[[0.5, 0.5, 0.2, 0.4], [0.1, 0.9, 0.2, 0.2]]])
    found = noised(label, boxes, exists, draws(["a"], 1000), 5, 0.4)
    own = boxes[0][found.target[0]]
    moved = found.boxes[0] - own
    assert (moved[:, :2].abs() <= 0.2 * own[:, 2:] + 1e-6).all()
    assert (moved[:, 2:].abs() <= 0.4 * own[:, 2:] + 1e-6).all()
    assert moved[:, 2].abs().max() > 0.35 * 0.2
    wrong = (found.label[0] != label[0][found.target[0]]).float().mean()
    assert 0.12 < wrong < 0.2  # a fifth is drawn anew, of which a fifth is right
    none = noised(label, boxes, torch.zeros_like(exists), draws(["a"], 4), 5, 0.4)
    assert (none.target < 0).all()
    assert (none.label < 0).all()
    many = noised(label, boxes, exists, draws(["a"], 1), 5, 0.4)
    assert (many.target < 0).all()


def test_draws_are_those_of_the_seed():
    both = draws(["1/a", "1/b"], 3)
    assert torch.equal(both[1:], draws(["1/b"], 3))
    assert not torch.equal(both[0], both[1])


@torch.no_grad()
def test_candidates_are_the_best_queries():
    network = build()
    encoded = network.encode(*batch(SIZES[:2], CANVAS))
    said, _ = network.decode(encoded)
    probability = said.class_logits[-1].sigmoid()
    masks = draw(said.embedding[-1], drawing_features(encoded))
    found = network.candidates(encoded, 4)
    assert (found.stride, found.logits) == (4, True)
    for b in range(2):
        best = probability[b].amax(1).argsort(descending=True)[:4]
        assert torch.equal(found.score[b], probability[b, best].amax(1))
        assert torch.equal(found.label[b], probability[b, best].argmax(1))
        torch.testing.assert_close(found.masks[b], masks[b, best])


@torch.no_grad()
def test_predictions_of_a_batch_are_those_of_each_image():
    network = build()
    images, image_size = batch(SIZES, CANVAS)
    last = network.heads.masks[-1]  # masks of an untrained network are alike but for a little
    last.bias -= network(images, image_size).predictions.embedding[-1].mean((0, 1))
    for parameter in (last.weight, last.bias):
        parameter *= 100.0
    check_predictions(network, LOOSE, segments=5)


@torch.no_grad()
def test_exported_network_is_the_network():
    network = build(torch.float32)
    found, images, image_size = exported(network)
    maps = everything(network, images, image_size)
    for name in ("class_logits", "boxes", "masks"):
        torch.testing.assert_close(found[name], maps[name][-1], rtol=1e-4, atol=1e-4)


def test_published_sizes_by_default():
    config = MaskDINOConfig(num_things=80, num_stuff=53)
    assert (config.queries, config.decoder_layers, config.encoder_layers) == (300, 9, 6)
    assert (config.width, config.heads, config.points) == (256, 8, 4)
    assert (config.feedforward, config.decoder_feedforward, config.dropout) == (2048, 2048, 0.0)
    assert (config.denoising_queries, config.denoising_noise) == (100, 0.4)


def test_its_configuration_is_read_back():
    plain = to_plain(TINY_MASKDINO)
    assert plain["architecture"] == "maskdino"
    assert parse(MaskDINOConfig, plain) == TINY_MASKDINO
