"""Masks from clicks and a checkpoint: the pseudo-masks that training would have made."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import runs
import torch
from networks import shake

from point2mask.app import Cues, Masks
from point2mask.data import DataError, PointTarget, read_panoptic, read_rgb, sample_points
from point2mask.data.marks import NO_MARKS, Marks, Stroke
from point2mask.data.records import Category
from point2mask.data.training import class_channels
from point2mask.hub import load_predictor
from point2mask.label.connected import keep_connected
from point2mask.label.network import TrainedNetwork
from point2mask.label.outlines import edge_strength, move_to_edges
from point2mask.models import MergeConfig, PanopticNetwork
from point2mask.pseudo_masks import (
    PointBatch,
    PseudoMaskOptions,
    SupervisionConfig,
    pseudo_masks,
)
from point2mask.pseudo_masks.batch import Batch
from point2mask.pseudo_masks.points import likeliest_stuff
from point2mask.train.module import TrainingModule
from point2mask.train.train import train


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    runs.write_data(root)
    return root


@pytest.fixture(scope="module")
def network(root, tmp_path_factory):
    """Trained for three steps, which is enough to disagree with everything else."""
    config = runs.config(root)
    config = replace(config, schedule=replace(config.schedule, epochs=1))
    out = tmp_path_factory.mktemp("run")
    train(config, out, device="cpu", make_module=runs.Semantic)
    return TrainedNetwork(load_predictor(out))


def test_mends_the_pseudo_masks_of_training(root, network):
    dataset = read_panoptic(root / "annotations" / "panoptic_val.json")
    record, targets = sample_points(dataset).images[0]
    folder = root / "images" / "val"
    masks = Masks(folder, Cues(network=network))
    got = masks.segment_map(record, targets, dataset.categories, "checkpoint")

    channels = class_channels(dataset.categories)
    assert record.height == network.short_side  # nothing is resized
    image = torch.from_numpy(read_rgb(folder / record.file_name)).permute(2, 0, 1).float() / 255
    image = torch.nn.functional.pad(image, (0, -record.width % 32, 0, -record.height % 32))
    size = torch.tensor([[record.height, record.width]])
    with torch.no_grad():
        output = network.network(network.network.normalise(image)[None], size)
    clicks = [(channels[t.category_id], [(x + 0.5, y + 0.5) for x, y in t.pixels]) for t in targets]
    points = PointBatch.from_lists([clicks])
    is_thing = torch.tensor([dataset.categories[key].isthing for key in channels])
    semantic = output.geometry.to_pixels(output.semantics.logits[-1]).softmax(1)
    grown = pseudo_masks(
        semantic,
        points,
        is_thing,
        boundary_logits=output.boundary_logits,
        feature=output.features,
        image_size=size,
        options=network.options,
    ).panoptic
    stuff = likeliest_stuff(semantic, points, is_thing, network.options.confidence)
    whole = keep_connected(grown, stuff, points, [[]], is_thing)[0]
    inside = slice(record.height), slice(record.width)
    expected = move_to_edges(whole[inside], edge_strength(image[:, *inside]))
    assert (expected != whole[inside]).any()
    ids = np.array([t.id for t in targets] + [0])[expected]
    for target in targets:
        for x, y in target.pixels:
            ids[y, x] = target.id
    np.testing.assert_array_equal(got, ids)
    assert len(np.unique(got)) > 2
    without = masks.segment_map(record, [], dataset.categories, "checkpoint")
    assert not without.any()


def test_a_run_can_grow_masks_without_scikit_image(root, network, monkeypatch):
    """The extra for training lacks it."""
    dataset = read_panoptic(root / "annotations" / "panoptic_val.json")
    record, targets = sample_points(dataset).images[0]
    picture = read_rgb(root / "images" / "val" / record.file_name)
    expected = network.prepare(picture).label(targets, dataset.categories)
    for name in ("skimage", "skimage.color"):
        monkeypatch.setitem(sys.modules, name, None)
    got = network.prepare(picture).label(targets, dataset.categories)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("clicked_classes", [False, True])
def test_a_click_branch_sees_all_clicks_of_a_picture(clicked_classes, root, monkeypatch):
    """Each click changes what is everybody's, and goes as it came; as in training."""
    config = runs.config(root)
    torch.manual_seed(0)
    branched = PanopticNetwork(replace(config.network, click_layers=2))
    predictor = runs.predictor(root, config.augment, MergeConfig())
    supervision = SupervisionConfig(
        pseudo_masks=PseudoMaskOptions(assigner="learned"), clicked_classes=clicked_classes
    )
    branched.load_state_dict(predictor.network.state_dict(), strict=False)
    predictor = replace(predictor, network=shake(branched).eval(), supervision=supervision)
    network = TrainedNetwork(predictor)
    categories = network.categories
    things = [c.id for c in categories.values() if c.isthing]
    targets = [
        PointTarget(1, things[0], ((8.0, 8.0),)),
        PointTarget(2, things[0], ((40.0, 24.0),)),
        PointTarget(3, things[0], ((24.0, 16.0),)),
    ]
    image = read_rgb(root / "images" / "val" / "000001.png")
    prepared = network.prepare(image)
    seen = []

    def spy(*arguments, **named):
        seen.append(named["partition"])
        return pseudo_masks(*arguments, **named)

    monkeypatch.setattr("point2mask.pseudo_masks.grower.pseudo_masks", spy)
    labels = [prepared.label(targets[:count], categories) for count in (2, 3, 2)]
    assert [part.shape[1] for part in seen] == [2, 3, 2]
    # The third click changes what the others have of each other.
    odds = [part[0, 0] - part[0, 1] for part in seen]
    assert not torch.allclose(odds[0], odds[1])
    assert torch.equal(seen[0], seen[2])
    np.testing.assert_array_equal(labels[0], labels[2])

    pixels = torch.from_numpy(image).permute(2, 0, 1).float() / 255
    pixels = torch.nn.functional.pad(pixels, (0, -image.shape[1] % 32, 0, -image.shape[0] % 32))
    things_first = torch.tensor([c.isthing for c in categories.values()]).sort(descending=True)
    points = [(0, [(x + 0.5, y + 0.5)]) for ((x, y),) in (t.points for t in targets[:2])]
    size = torch.tensor([image.shape[:2]])
    batch = Batch(
        pixels[None], size, PointBatch.from_lists([points]), things_first.values, None, ("",)
    )
    module = TrainingModule(predictor.network, config.loss, supervision).eval()
    module(batch, supervision.transport_warmup)
    torch.testing.assert_close(seen[3], seen[0])
    assert set(np.unique(labels[1])) <= {-1, 0, 1, 2}


def test_larger_pictures_are_reduced_and_clicks_with_them(network, root):
    image = np.repeat(np.repeat(read_rgb(root / "images" / "val" / "000001.png"), 3, 0), 3, 1)
    categories = network.categories
    thing = next(c for c in categories.values() if c.isthing)
    targets = [
        PointTarget(1, thing.id, ((20.0, 10.0),)),
        PointTarget(2, thing.id, ((130.0, 80.0),)),
    ]
    labels = network.prepare(image).label(targets, categories)
    assert labels.shape == (96, 144)
    assert (labels[10, 20], labels[80, 130]) == (0, 1)


def test_areas_are_those_on_the_picture_that_the_network_sees(network, root, monkeypatch):
    """Of 96 x 144 pixels it sees 32 x 48; a picture without areas beside it has none."""
    small = read_rgb(root / "images" / "val" / "000001.png")
    large = np.repeat(np.repeat(small, 3, 0), 3, 1)
    categories, seen = network.categories, []
    thing = next(c.id for c in categories.values() if c.isthing)
    stated = [
        PointTarget(1, thing, ((20.0, 10.0),), 900.0),
        PointTarget(2, thing, ((130.0, 80.0),)),
    ]
    plain = [PointTarget(1, thing, ((20.0, 10.0),))]

    def spy(semantic, points, *arguments, **named):
        seen.append(points.area)
        return pseudo_masks(semantic, points, *arguments, **named)

    monkeypatch.setattr("point2mask.pseudo_masks.grower.pseudo_masks", spy)
    prepared = network.prepare_batch([large, small], ["large", "small"])
    prepared.label_batch([(stated, NO_MARKS), (plain, NO_MARKS)], categories)
    prepared.label_batch([(plain, NO_MARKS), (plain, NO_MARKS)], categories)
    nobody = float("nan")
    expected = torch.tensor([[100.0, nobody], [nobody, nobody]])
    torch.testing.assert_close(seen[0], expected, equal_nan=True)
    assert seen[1:] == [None]


def test_categories_are_matched_by_name_and_kind(network):
    image = np.zeros((32, 48, 3), np.uint8)
    known = next(iter(network.categories.values()))
    target = PointTarget(1, 77, ((3.0, 3.0),))
    prepared = network.prepare(image)
    assert (prepared.label([target], {77: replace(known, id=77)}) == 0).any()
    for category in (Category(77, "unicorn", True, (0, 0, 0)), replace(known, isthing=False)):
        with pytest.raises(DataError, match=f"does not know {category.name}"):
            prepared.label([target], {77: category})


def test_maps_of_the_clicked_classes_follow_the_clicks(network, root, monkeypatch):
    changed = replace(network.grower.supervision, clicked_classes=True)
    image = read_rgb(root / "images" / "val" / "000001.png")
    categories = network.categories
    first, second, third = list(categories)[:2] + list(categories)[-1:]
    before = [PointTarget(1, first, ((9.0, 9.0),)), PointTarget(2, third, ((40.0, 25.0),))]
    after = [PointTarget(1, second, ((9.0, 9.0),)), PointTarget(2, third, ((40.0, 25.0),))]
    with monkeypatch.context() as patch:
        patch.setattr(network.grower, "supervision", changed)
        prepared = network.prepare(image)
        prepared.label(before, categories)
        np.testing.assert_array_equal(
            prepared.label(after, categories), network.prepare(image).label(after, categories)
        )
        assert prepared.semantic is not None
        kinds = [categories[key] for key in (second, third)]
        clicked = {network.channels[category.name, category.isthing] for category in kinds}
        shown = prepared.semantic[1][0, :, : image.shape[0], : image.shape[1]].sum((1, 2))
        assert set(shown.nonzero().flatten().tolist()) == clicked


@pytest.mark.parametrize("clicked", [False, True])
def test_a_picture_does_not_mind_its_company(network, root, monkeypatch, clicked):
    """Pictures of other sizes beside it, more clicks or none: its own masks stay as they are."""
    changed = replace(network.grower.supervision, clicked_classes=clicked)
    monkeypatch.setattr(network.grower, "supervision", changed)
    whole = read_rgb(root / "images" / "val" / "000001.png")
    images = [whole, whole[:, :30], whole[5:25].repeat(2, 1), whole[:20]]
    keys = list(network.categories)
    one, two, three = (
        PointTarget(number, key, ((7.0 * number, 5.0 * number),))
        for number, key in enumerate((keys[0], keys[1], keys[-1]), start=1)
    )
    strokes = Marks(rest=((3.0, 3.0),))
    clicks = [
        ([one, two, three], NO_MARKS),
        ([two], strokes),
        ([], NO_MARKS),
        ([three, one], strokes),
    ]
    together = network.prepare_batch(images, list(map(str, range(4))))
    labels = together.label_batch(clicks, network.categories)
    for number, (image, (targets, marks)) in enumerate(zip(images, clicks, strict=True)):
        alone = network.prepare(image)
        # Sums in another order: the last bits of float32.
        np.testing.assert_allclose(together.edges()[number], alone.edges()[0], atol=1e-6)
        expected = alone.label(targets, network.categories, marks)
        np.testing.assert_array_equal(labels[number], expected)
        assert labels[number].shape == image.shape[:2]


def test_too_many_strokes_name_their_picture(root, network, monkeypatch):
    image = read_rgb(root / "images" / "val" / "000001.png")
    target = PointTarget(1, next(iter(network.categories)), ((3.0, 3.0),))
    strokes = Marks(strokes=(Stroke(1, "line", ((0.0, 0.0), (20.0, 20.0)), 2.0),))
    prepared = network.prepare_batch([image, image], ["a.png", "b.png"])
    monkeypatch.setattr("point2mask.data.strokes.MAX_WORK", 10)
    with pytest.raises(DataError, match=r"^b\.png: expected strokes of at most 10 pixels"):
        prepared.label_batch([([target], NO_MARKS), ([target], strokes)], network.categories)
