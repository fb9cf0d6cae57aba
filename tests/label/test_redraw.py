"""Things drawn anew: by hand, against a plain reference, and with the networks."""

import json
from dataclasses import replace

import numpy as np
import pytest
import runs
import torch
from hypothesis import given
from hypothesis import strategies as st
from networks import shake
from scipy.optimize import linear_sum_assignment

from point2mask.cli import main
from point2mask.data import read_panoptic, read_rgb, sample_points, write_points
from point2mask.data.marks import NO_MARKS
from point2mask.hub import load_predictor, save_pretrained
from point2mask.label import LabelOptions
from point2mask.label.network import TrainedNetwork
from point2mask.label.redraw import Drawn, redraw, shared_map
from point2mask.models import MergeConfig, make_network
from point2mask.predict import Predictor
from point2mask.pseudo_masks import PointBatch, SupervisionConfig

# Sigmoids of new networks are of hardly any class.
CLASS_BIASES = {"location_decoder.class_heads.1.bias", "heads.classes.bias"}
THINGS = 2  # classes 0 and 1; 2 and 3 are stuff
IS_THING = torch.arange(4) < THINGS


def disc(y, x, radius, shape=(24, 32)):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def of(masks, score, label):
    values = np.stack(masks).astype(np.float32)
    return Drawn(torch.from_numpy(values), torch.tensor(score), torch.tensor(label))


def redrawn(grown, drawn, clicks, stuff=2, crowds=None):
    labels = torch.from_numpy(grown.astype(np.int32))[None]
    stuff = torch.from_numpy(np.broadcast_to(stuff, grown.shape).copy())[None]
    crowds = [k for k, crowd in enumerate(crowds or ()) if crowd]
    points = PointBatch.from_lists([clicks])
    return redraw(labels, stuff, [drawn], points, [crowds], IS_THING)[0].numpy()


CLICKS = [(0, [(8.5, 8.5)]), (0, [(24.5, 12.5)]), (3, [(0.5, 0.5)]), (2, [(31.5, 23.5)])]
GROWN = np.where(disc(8, 8, 6), 0, np.where(disc(12, 24, 5), 1, 2))


def test_a_thing_becomes_what_is_drawn_for_it():
    stuff = np.where(np.arange(32) < 8, 2, -1)  # to the right there is none
    got = redrawn(GROWN, of([0.9 * disc(8, 9, 4)], [0.8], [0]), CLICKS, stuff)
    lost = disc(8, 8, 6) & ~disc(8, 9, 4)
    expected = np.where(disc(8, 9, 4), 0, np.where(lost, stuff, GROWN))
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    ("mask", "score", "label"),
    [
        (disc(8, 8, 4), 0.8, 1),  # another class
        (disc(8, 8, 4), 0.2, 0),  # hardly sure
        (disc(8, 8, 5) & ~disc(8, 8, 2), 0.8, 0),  # the click is outside
        (disc(8, 8, 2), 0.8, 0),  # a small part
        (disc(8, 8, 14), 0.8, 0),  # far more than what was grown
        (0.4 * disc(8, 8, 6), 0.8, 0),  # nowhere above a half
    ],
)
def test_what_does_not_fit_changes_nothing(mask, score, label):
    np.testing.assert_array_equal(redrawn(GROWN, of([mask], [score], [label]), CLICKS), GROWN)


def test_crowds_keep_what_was_grown():
    """And lose nothing to others; a thing without clicks is nobody's."""
    drawn = of([disc(8, 8, 5), disc(12, 22, 6)], [0.8, 0.8], [0, 0])
    got = redrawn(GROWN, drawn, CLICKS, crowds=[True, False, False, False])
    np.testing.assert_array_equal(got == 0, GROWN == 0)
    np.testing.assert_array_equal(got == 1, disc(12, 22, 6) & (GROWN != 0))
    got = redrawn(GROWN, drawn, [(0, []), *CLICKS[1:]])
    np.testing.assert_array_equal(got == 1, disc(12, 22, 6))
    np.testing.assert_array_equal(redrawn(GROWN, drawn, [(0, []), (1, []), *CLICKS[2:]]), GROWN)


SIDE_BY_SIDE = disc(12, 15, 8)


@pytest.mark.parametrize(
    ("masks", "label"),
    [
        ([0.95 * SIDE_BY_SIDE, 0.9 * SIDE_BY_SIDE], [0, 0]),
        ([0.9 * SIDE_BY_SIDE, 0.9 * SIDE_BY_SIDE], [0, 1]),
    ],
)
def test_queries_that_draw_the_same_take_nothing_from_anybody(masks, label):
    clicks = [(0, [(12.5, 12.5)]), (label[1], [(18.5, 12.5)]), (3, [(0.5, 0.5)])]
    left = np.arange(32) < 16
    grown = np.where(SIDE_BY_SIDE & left, 0, np.where(SIDE_BY_SIDE, 1, 2))
    np.testing.assert_array_equal(redrawn(grown, of(masks, [0.9, 0.8], label), clicks), grown)


def test_one_query_stands_for_one_thing():
    """Of two people grown side by side, one keeps what it had."""
    clicks = [(0, [(12.5, 12.5)]), (0, [(18.5, 12.5)]), (3, [(0.5, 0.5)])]
    both = SIDE_BY_SIDE
    grown = np.where(both & (np.arange(32) < 16), 0, np.where(both, 1, 2))
    got = redrawn(grown, of([both], [0.9], [0]), clicks)
    np.testing.assert_array_equal(got, grown)  # what was grown is taken from nobody
    halves = [both & (np.arange(32) < 14), both & (np.arange(32) >= 14)]
    got = redrawn(grown, of(halves[::-1], [0.9, 0.8], [0, 0]), clicks)
    np.testing.assert_array_equal(got, np.where(halves[0], 0, np.where(halves[1], 1, 2)))


def test_all_clicks_of_a_thing_count():
    """A mask that lacks two of three clicks is another's."""
    mask, far = disc(8, 8, 5), [(20.5, 8.5), (22.5, 8.5)]
    for points, taken in (([(8.5, 8.5)], True), ([(8.5, 8.5), *far], False)):
        got = redrawn(GROWN, of([mask], [0.7], [0]), [(0, points), *CLICKS[1:]])
        assert np.array_equal(got == 0, mask) == taken


def reference(grown, stuff, masks, score, label, clicks, crowds):
    """The same in float64 and in loops over pixels' sets."""
    every = [t for t, (channel, _) in enumerate(clicks) if channel < THINGS]
    things = [t for t in every if not crowds[t]]
    if not things:
        return grown
    value = np.array(
        [[np.mean([m[int(y), int(x)] for x, y in clicks[t][1]]) for t in things] for m in masks]
    )
    at, soft, hard = np.zeros((3, len(masks), len(things)))
    for q, mask in enumerate(masks):
        for k, t in enumerate(things):
            at[q, k] = score[q] * value[q, k] * (clicks[t][0] == label[q])
            own = grown == t
            soft[q, k] = mask[own].sum() / max(mask.sum() + own.sum() - mask[own].sum(), 1e-6)
            inside = mask > 0.5
            hard[q, k] = (inside & own).sum() / max((inside | own).sum(), 1e-6)
    result, strength = grown.copy(), np.where(np.isin(grown, every), 1.0, 0.5)
    pairs = zip(*linear_sum_assignment(-np.log(at + 1e-4) - np.log(soft + 1e-2)), strict=True)
    pairs = [(q, k) for q, k in pairs if at[q, k] > 0.25 and hard[q, k] >= 0.3]
    pairs = [(q, k) for q, k in pairs if all(value[q, k] > value[o, k] for o, _ in pairs if o != q)]
    for _, k in pairs:
        own = grown == things[k]
        strength[own], result[own] = 0.5, stuff[own]
    for q, k in pairs:
        better = masks[q] > strength
        result[better], strength[better] = things[k], masks[q][better]
    return result


@st.composite
def pictures(draw):
    """Targets, each with a disc grown and, of most, another one drawn about its click."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (draw(st.integers(4, 20)), draw(st.integers(4, 20)))
    count = draw(st.integers(1, 6))
    grown = np.full(shape, -1)
    clicks, masks, score, label = [], [], [], []
    for target in range(count):
        channel, y, x = (int(random.integers(size)) for size in (4, *shape))
        clicks.append((channel, [(x + 0.5, y + 0.5)]))
        grown[disc(y, x, random.uniform(0, 8), shape)] = target
        if random.random() < 0.8:
            soft = random.uniform(0.3, 1, shape) * disc(y, x, random.uniform(0, 8), shape)
            masks.append(soft.astype(np.float32))
            score.append(random.uniform(0.1, 1))
            label.append(channel if random.random() < 0.8 else int(random.integers(4)))
    free = [-1, *(target for target, (channel, _) in enumerate(clicks) if channel >= THINGS)]
    crowds = [random.random() < 0.15 for _ in clicks]
    return grown, random.choice(free, shape), masks, score, label, clicks, crowds


@given(pictures())
def test_is_the_reference(picture):
    grown, stuff, masks, score, label, clicks, crowds = picture
    if not masks:
        masks, score, label = [np.zeros(grown.shape, np.float32)], [0.1], [0]
    got = redrawn(grown, of(masks, score, label), clicks, stuff, crowds)
    doubles = [mask.astype(float) for mask in masks]
    expected = reference(grown, stuff, doubles, score, label, clicks, crowds)
    np.testing.assert_array_equal(got, expected)
    assert set(np.unique(got)) <= {-1, *range(len(clicks))}


def test_padding_is_left_alone_and_pictures_do_not_meet():
    drawn = of([disc(8, 9, 4)], [0.8], [0])
    small = Drawn(drawn.masks[:, :20, :28], drawn.score, drawn.label)
    grown = torch.from_numpy(np.stack([GROWN, GROWN]))
    points = PointBatch.from_lists([CLICKS] * 2)
    stuff = torch.full(grown.shape, 2)
    both = redraw(grown, stuff, [drawn, small], points, [[], []], IS_THING).numpy()
    whole = redrawn(GROWN, drawn, CLICKS)
    np.testing.assert_array_equal(both[0], whole)
    np.testing.assert_array_equal(both[1, :20, :28], whole[:20, :28])
    np.testing.assert_array_equal(both[1, 20:], GROWN[20:])
    np.testing.assert_array_equal(both[1, :, 28:], GROWN[:, 28:])


def test_the_map_is_the_mean_of_both():
    semantic = torch.tensor([0.6, 0.3, 0.1, 0.0]).view(1, 4, 1, 1).repeat(1, 1, 2, 3)
    masks = torch.zeros(2, 2, 2)  # the last column is padding
    masks[0, 0] = torch.tensor([1.0, 0.5])
    masks[1, 0] = torch.tensor([0.0, 0.5])
    drawn = Drawn(masks, torch.tensor([0.8, 0.4]), torch.tensor([1, 2]))
    shared = shared_map(semantic, [drawn])[0]
    first = torch.tensor([0.12, 0.86, 0.02, 0.0])  # 0.8 are drawn, 0.2 as the map says
    second = torch.tensor([0.24, 0.52, 0.24, 0.0])  # 0.4 and 0.2
    torch.testing.assert_close(shared[:, 0, 0], (first + semantic[0, :, 0, 0]) / 2)
    torch.testing.assert_close(shared[:, 0, 1], (second + semantic[0, :, 0, 0]) / 2)
    torch.testing.assert_close(shared[:, 1, :2], semantic[0, :, 1, :2])  # nothing is drawn
    assert torch.equal(shared[..., 2], semantic[0, ..., 2])
    torch.testing.assert_close(shared.sum(0), torch.ones(2, 3))
    # More is drawn than there is.
    drawn = Drawn(torch.ones(2, 2, 2), torch.tensor([0.9, 0.6]), torch.tensor([0, 3]))
    shared = shared_map(semantic, [drawn])[0, :, 0, 0]
    torch.testing.assert_close(shared, torch.tensor([0.6, 0.15, 0.05, 0.2]))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    runs.write_data(root, train=1, val=3)
    dataset = read_panoptic(root / "annotations/panoptic_val.json")
    write_points(root / "points.json", sample_points(dataset))
    return dataset, root


def predictor_of(architecture, data):
    """With a network that was never trained, whose queries are sure of a class."""
    dataset, root = data
    config = runs.of(architecture, runs.config(root))
    torch.manual_seed(1)
    network = shake(make_network(config.network)).eval()
    for name, bias in network.named_parameters():
        if name in CLASS_BIASES:
            bias.data.add_(3)
    return Predictor(
        network, dataset.categories, config.augment, MergeConfig(), SupervisionConfig()
    )


@pytest.mark.parametrize("architecture", ["panoptic_segformer", "mask2former", "maskdino"])
def test_every_network_has_a_say(architecture, data):
    """Several pictures at once as each alone, and other masks than without."""
    dataset, root = data
    predictor = predictor_of(architecture, data)
    plain, drawing = TrainedNetwork(predictor), TrainedNetwork(predictor, redraw=True)
    clicks = [targets for _, targets in sample_points(dataset).images]
    pictures = [
        read_rgb(root / "images/val" / image.record.file_name)[: 32 - 8 * number]
        for number, image in enumerate(dataset.images)
    ]
    clicks = [
        [target for target in own if all(y < len(picture) for _, y in target.pixels)]
        for own, picture in zip(clicks, pictures, strict=True)
    ]
    names = [image.record.file_name for image in dataset.images]
    asked = [(own, NO_MARKS) for own in clicks]
    together = drawing.prepare_batch(pictures, names).label_batch(asked, dataset.categories)
    differ = 0
    for picture, own, labels in zip(pictures, clicks, together, strict=True):
        alone = drawing.prepare(picture).label(own, dataset.categories)
        np.testing.assert_array_equal(alone, labels)
        differ += (alone != plain.prepare(picture).label(own, dataset.categories)).sum()
    assert differ
    half = TrainedNetwork(replace(predictor, precision="bfloat16"), redraw=True)
    labels = half.prepare(pictures[0]).label(clicks[0], dataset.categories)
    assert (labels == together[0]).mean() > 0.8


def test_label_redraw(data, tmp_path):
    dataset, root = data
    predictor = predictor_of("maskdino", data)
    save_pretrained(predictor, tmp_path / "model")
    command = ["label", "--images", root / "images/val", "--points", root / "points.json"]
    command += ["--checkpoint", tmp_path / "model", "--assigner", "network", "--network-side", 48]
    for name, options in (("plain", []), ("redrawn", ["--redraw"])):
        arguments = [*command, "--out", tmp_path / name, *options]
        assert main([str(argument) for argument in arguments]) == 0
    network = TrainedNetwork(load_predictor(tmp_path / "model"), 48, redraw=True)
    made = read_panoptic(tmp_path / "redrawn/panoptic.json")
    before = read_panoptic(tmp_path / "plain/panoptic.json")
    clicks = dict(sample_points(dataset).images)
    differ = 0
    for image, old in zip(made.images, before.images, strict=True):
        targets = clicks[image.record]
        pixels = read_rgb(root / "images/val" / image.record.file_name)
        index = network.prepare(pixels).label(targets, dataset.categories)
        ids = np.array([target.id for target in targets] + [0])[index]
        np.testing.assert_array_equal(made.segment_map(image), ids)
        differ += (before.segment_map(old) != ids).sum()
    assert differ
    summary = json.loads((tmp_path / "redrawn/summary.json").read_text())
    assert summary["checkpoint"] == network.digest()
    assert network.digest().endswith(", redrawn")
    # What is there was made in another way.
    arguments = [*command, "--out", tmp_path / "plain", "--redraw", "--resume"]
    assert main([str(argument) for argument in arguments]) == 0
    again = read_panoptic(tmp_path / "plain/panoptic.json")
    for image, new in zip(made.images, again.images, strict=True):
        np.testing.assert_array_equal(made.segment_map(image), again.segment_map(new))


def test_it_needs_the_assigner_network(data, tmp_path, capsys):
    _, root = data
    command = ["label", "--images", root / "images/val", "--points", root / "points.json"]
    command += ["--out", tmp_path / "out", "--checkpoint", tmp_path / "run", "--redraw"]
    assert main([str(argument) for argument in command]) == 2
    assert "--redraw needs --assigner network" in capsys.readouterr().err
    with pytest.raises(ValueError, match="redraw needs assigner 'network', got 'merge'"):
        LabelOptions(checkpoint=tmp_path / "run", redraw=True)
