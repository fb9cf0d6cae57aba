"""pseudo_masks: against the published step transcribed literally, and its stated properties."""

import numpy as np
import published
import pytest
import torch
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from pseudo_mask_cases import CLASSES, IS_THING, random_case, random_partition, run

from point2mask.pseudo_masks import (
    MAP_ASSIGNERS,
    SUPPLIES,
    PointBatch,
    PseudoMaskOptions,
    TransportOptions,
    class_presence,
    edge_cost,
    mark_points,
    pseudo_masks,
)
from point2mask.pseudo_masks.points import likeliest_stuff


@pytest.mark.parametrize("points", [1, 3])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_equals_the_published_step(seed, points):
    case = random_case(seed, points=points)
    result = run(case)
    image = published.Image(case[0].numpy(), case[1].numpy(), case[2].numpy(), case[3])
    instance, semantic = published.pseudo_masks(image, IS_THING.numpy())
    np.testing.assert_array_equal(result.semantic[0], semantic)
    # The published loop gives stuff pixels a mass of 1e-8 each, ours none: with 80 iterations the
    # potentials agree to about 1e-8, so labels may differ only on exact ties.
    assert (result.instance[0].numpy() == instance).mean() > 0.9999


def test_transport_with_the_nearest_targets_own_counts_changes_nothing():
    """The published first phase: its transport is a no-op."""
    case = random_case(3)
    nearest = run(case, PseudoMaskOptions(assigner="nearest"))
    options = PseudoMaskOptions(transport=TransportOptions(supplies="given"))
    transport = run(case, options, areas=nearest.area.double())
    assert (nearest.instance == transport.instance).double().mean() > 0.999


@pytest.mark.parametrize("assigner", MAP_ASSIGNERS)
def test_a_batch_is_its_images_and_padding_takes_no_part(assigner):
    options = PseudoMaskOptions(assigner=assigner)
    cases = [random_case(4, 96, 112), random_case(5, 64, 80, things=2), random_case(6, 96, 80)]
    height, width = 96, 112
    partition = torch.full((3, 6, height, width), 0.9, dtype=torch.float64)
    for b, (semantic, *_, targets) in enumerate(cases):
        rows, columns = semantic.shape[1:]
        own = random_partition(len(targets), rows, columns)[0]
        partition[b, : len(targets), :rows, :columns] = own
    padded = []
    for semantic, boundary, feature, _ in cases:
        pad = (0, width - semantic.shape[2], 0, height - semantic.shape[1])
        # Padding full of a confident thing: exactly what must not leak.
        filled = [torch.nn.functional.pad(m, pad, value=0.9) for m in (semantic, boundary, feature)]
        padded.append(filled)
    result = pseudo_masks(
        torch.stack([m[0] for m in padded]),
        PointBatch.from_lists([case[3] for case in cases]),
        IS_THING,
        boundary_logits=torch.stack([m[1] for m in padded]),
        feature=torch.stack([m[2] for m in padded]),
        image_size=torch.tensor([case[0].shape[1:] for case in cases]),
        partition=partition,
        options=options,
    )
    for b, case in enumerate(cases):
        h, w = case[0].shape[1:]
        assert (result.panoptic[b, h:] == -1).all()
        assert (result.panoptic[b, :, w:] == -1).all()
        assert (result.instance[b, h:] == -1).all()
        alone = run(case, options)
        agree = (result.panoptic[b, :h, :w] == alone.panoptic[0]).double().mean()
        # Sizes are multiples of the stride, so the reduced grids agree to rounding.
        assert agree > 0.9999


@pytest.mark.parametrize("size", [(96, 80), (60, 70), (57, 73), (1, 1)])
@pytest.mark.parametrize("assigner", MAP_ASSIGNERS)
def test_what_the_padding_holds_does_not_matter(assigner, size):
    case = random_case(7)
    height, width = case[0].shape[1:]
    inside = (torch.arange(height) < size[0])[:, None] & (torch.arange(width) < size[1])
    targets = [(c, [(x * size[1] / width, y * size[0] / height) for x, y in p]) for c, p in case[3]]
    results = []
    for seed in (0, 1):
        g = torch.Generator().manual_seed(seed)
        noise = [torch.rand(m.shape, generator=g, dtype=m.dtype) for m in case[:3]]
        maps = [torch.where(inside, m, n)[None] for m, n in zip(case[:3], noise, strict=True)]
        partition = random_partition(len(targets))
        partition = torch.where(
            inside, partition, torch.rand(partition.shape, generator=g).double()
        )
        results.append(
            pseudo_masks(
                maps[0],
                PointBatch.from_lists([targets]),
                IS_THING,
                boundary_logits=maps[1],
                feature=maps[2],
                low_level=maps[1].sigmoid(),
                image_size=torch.tensor([size]),
                partition=partition,
                options=PseudoMaskOptions(assigner=assigner),
            )
        )
    for name in ("instance", "semantic", "panoptic", "area", "box"):
        assert torch.equal(getattr(results[0], name), getattr(results[1], name)), name
    assert (results[0].panoptic[0][~inside] == -1).all()
    assert (results[0].panoptic[0][inside] >= 0).any()


def test_naming_the_whole_canvas_changes_nothing():
    case = random_case(11)
    size = torch.tensor([case[0].shape[1:]])
    plain, named = run(case), run(case, image_size=size)
    assert (plain.panoptic == named.panoptic).double().mean() > 0.9999


def test_clicks_outside_the_image_do_not_count():
    semantic, boundary, feature, targets = random_case(12)
    with_outsider = [*targets, (0, [(100.0, 90.0)])]
    size = torch.tensor([[64, 80]])
    results = [
        run((semantic, boundary, feature, t), image_size=size) for t in (targets, with_outsider)
    ]
    assert torch.equal(results[0].panoptic, results[1].panoptic)
    assert int(results[1].area[0, -1]) == 0


def test_any_layout_and_half_precision():
    semantic, boundary, feature, targets = random_case(13)
    expected = run((semantic, boundary, feature, targets)).panoptic
    strided = semantic.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    assert torch.equal(run((strided, boundary, feature, targets)).panoptic, expected)
    half = run((semantic.half(), boundary.bfloat16(), feature.half(), targets)).panoptic
    assert (half == expected).double().mean() > 0.9


@pytest.mark.parametrize("scheme", SUPPLIES)
def test_converged_transport_gives_every_target_its_supply(scheme):
    case = random_case(8)
    areas = torch.tensor([[500.0, 900.0, 700.0, 1200.0, 0.0, 0.0]], dtype=torch.float64)
    transport = TransportOptions(supplies=scheme, iterations=20000, tolerance=1e-6)
    result = run(case, PseudoMaskOptions(transport=transport), areas=areas)
    foreground = int((result.instance >= 0).sum())
    assert int(result.area.sum()) == foreground
    if scheme == "given":
        expected = areas[0, :4] * foreground / areas[0, :4].sum()
        # Entropy blurs the borders by about epsilon; rounding the plan moves a few pixels.
        torch.testing.assert_close(result.area[0, :4].double(), expected, rtol=0.03, atol=5)


def test_step_weight_adds_the_fewest_steps_to_the_cost():
    flat = torch.zeros(1, 3, 5, 9)
    cost = edge_cost(flat, step_weight=0.25)
    assert torch.equal(cost, torch.full((1, 8, 5, 9), 0.25))
    assert not edge_cost(flat).any()


def test_with_step_weight_the_nearer_click_wins_where_the_maps_say_nothing():
    semantic = torch.zeros(1, len(IS_THING), 48, 96)
    semantic[:, 0] = 1.0
    points = PointBatch.from_lists([[(0, [(8.0, 24.0)]), (0, [(88.0, 24.0)])]])
    options = PseudoMaskOptions(assigner="nearest", stride=8, point_size=1, step_weight=0.01)
    instance = pseudo_masks(semantic, points, IS_THING, options=options).instance[0]
    assert (instance[:, :44] == 0).all()
    assert (instance[:, 53:] == 1).all()


@given(seed=st.integers(0, 1000), assigner=st.sampled_from(list(MAP_ASSIGNERS)))
@examples(15)
def test_invariants(seed, assigner):
    case = random_case(seed, 48, 64, things=3)
    result = run(case, PseudoMaskOptions(assigner=assigner))
    labels = result.instance[0]
    assert int(labels.max()) < 3, "stuff targets never appear among the instances"
    stuff = ~IS_THING[result.semantic[0].clamp_min(0).long()] & (result.semantic[0] >= 0)
    assert (labels[stuff] == -1).all()
    categories = torch.tensor([c for c, _ in case[3]])
    shown = result.panoptic[0]
    only_stuff = (shown >= 0) & (labels < 0)
    assert (categories[shown[only_stuff].long()] == result.semantic[0][only_stuff]).all()
    assert torch.equal(shown[labels >= 0], labels[labels >= 0])
    for k in range(3):
        assert int(result.area[0, k]) == int((labels == k).sum())


@pytest.mark.parametrize("assigner", MAP_ASSIGNERS)
def test_an_image_without_things_or_without_points_gives_void_instances(assigner):
    semantic, boundary, feature, targets = random_case(9)
    options = PseudoMaskOptions(assigner=assigner)
    only_stuff = run((semantic, boundary, feature, targets[4:]), options)
    assert (only_stuff.instance == -1).all()
    assert (only_stuff.semantic >= 4).any()
    if assigner == "learned":  # a click branch says nothing of nobody
        options = PseudoMaskOptions()
    nothing = run((semantic, boundary, feature, []), options)
    assert (nothing.panoptic == -1).all()
    assert nothing.box.shape == (1, 0, 4)


def test_an_empty_instance_gets_the_middle_half_as_its_box():
    semantic = torch.zeros(1, CLASSES, 32, 64)
    semantic[:, 5] = 1.0
    # A click on class 0 whose square is wholly covered by stuff of likelihood 1: index order
    # decides the tie for the thing, so put the click's class after the stuff class.
    is_thing = torch.tensor([False, False, False, False, False, True])
    points = PointBatch.from_lists([[(5, [(8.0, 8.0)]), (5, [(8.0, 8.0)])]])
    result = pseudo_masks(semantic, points, is_thing)
    assert result.area.tolist() == [[2048, 0]]
    assert result.box[0, 1].tolist() == [16.0, 8.0, 48.0, 24.0]


def test_mark_points_is_the_published_max_pooling():
    g = torch.Generator().manual_seed(0)
    semantic = torch.rand(2, CLASSES, 40, 30, generator=g)
    targets = [[(0, [(0.0, 0.0)]), (0, [(5.9, 7.2)]), (4, [(29.0, 39.0), (15.0, 2.0)])], []]
    points = PointBatch.from_lists(targets)
    one_hot = torch.zeros_like(semantic)
    for b, image in enumerate(targets):
        for category, xy in image:
            for x, y in xy:
                one_hot[b, category, int(y), int(x)] = 1
    pooled = torch.nn.functional.max_pool2d(one_hot, 17, stride=1, padding=8)
    assert torch.equal(mark_points(semantic.clone(), points, 17), semantic.maximum(pooled))


def test_presence_ignores_padding():
    points = PointBatch.from_lists([[(2, [(1.0, 1.0)])], [(0, []), (5, [(0.0, 0.0)])]])
    expected = torch.zeros(2, CLASSES, dtype=torch.bool)
    expected[0, 2] = expected[1, 5] = True
    assert torch.equal(class_presence(points, CLASSES), expected)


def test_an_empty_batch_gives_empty_labels():
    points = PointBatch(torch.zeros(0, 2, 1, 2), torch.zeros(0, 2, dtype=torch.int64))
    result = pseudo_masks(torch.zeros(0, CLASSES, 32, 48), points, IS_THING)
    assert result.panoptic.shape == (0, 32, 48)


def test_likeliest_stuff_is_of_the_clicked_and_sure_among_them():
    is_thing = torch.tensor([True, False, False, False])
    targets = [(0, [(0.5, 0.5)]), (3, [(1.5, 0.5)]), (1, [(2.5, 0.5)]), (1, []), (3, [(0.5, 0.5)])]
    points = PointBatch.from_lists([targets, targets[:1]])
    # Class 2 has no click. In the last column no class that has one is likely at all.
    semantic = torch.tensor(
        [[0.9, 0.1, 0.5, 1.0], [0.07, 0.2, 0.1, 0], [0, 0.6, 0.3, 0], [0.03, 0.1, 0.1, 0]]
    )
    semantic = semantic[:, None].expand(2, -1, -1, -1)  # of two pictures
    got = likeliest_stuff(semantic, points, is_thing, 0.5)
    assert got.tolist() == [[[2, 2, 2, -1]], [[-1] * 4]]  # shares 0.7, 2/3, 1/2 of the clicked
    got = likeliest_stuff(semantic, points, is_thing, 0.68)
    assert got.tolist() == [[[2, -1, -1, -1]], [[-1] * 4]]
