"""Masks from the partition of a click branch: its assigner, supplies and part of the cost."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pseudo_mask_cases import IS_THING, random_case, random_partition, run

from point2mask.pseudo_masks import PseudoMaskOptions, SupervisionConfig, TransportOptions

LEARNED = PseudoMaskOptions(assigner="learned")
TARGETS = 6


def things(case):
    return [k for k, (category, _) in enumerate(case[3]) if IS_THING[category]]


@pytest.mark.parametrize("seed", range(3))
def test_every_foreground_pixel_goes_to_the_likeliest_thing(seed):
    case, logits = random_case(seed), random_partition(TARGETS, seed=seed)
    masks = run(case, LEARNED, partition=logits)
    nearest = run(case, PseudoMaskOptions(assigner="nearest"))
    foreground = masks.instance >= 0
    assert torch.equal(foreground, nearest.instance >= 0)
    assert foreground.any()
    assert not torch.equal(masks.instance, nearest.instance)
    own = things(case)
    best = np.array(own)[logits[0, own].argmax(0).numpy()]
    np.testing.assert_array_equal(masks.instance[foreground], best[foreground[0]])
    assert torch.equal(masks.semantic, nearest.semantic)  # classes are the map's


@pytest.mark.parametrize("assigner", ["nearest", "transport"])
def test_its_weight_leads_from_paths_to_the_partition(assigner):
    case, logits = random_case(1), random_partition(TARGETS, seed=1)
    options = PseudoMaskOptions(assigner=assigner)
    if assigner == "transport":
        transport = TransportOptions(supplies="learned", iterations=400, epsilon=0.1)
        options = replace(options, transport=transport)
    labels = [
        run(case, replace(options, learned_weight=weight), partition=logits).instance
        for weight in (0.0, 1e-9, 0.1, 1e5)
    ]
    learned = run(case, LEARNED, partition=logits).instance
    plain = run(case, options, partition=logits).instance
    assert torch.equal(labels[0], plain)
    agreement = [float((label == learned).double().mean()) for label in labels]
    assert agreement[0] == pytest.approx(agreement[1], abs=0.02)
    assert agreement[1] < agreement[2] < agreement[3]
    if assigner == "nearest":
        assert agreement[3] == 1


def test_supplies_are_what_the_partition_expects():
    """With a certain partition, transport gives every thing just what the partition does."""
    case, logits = random_case(2), 1e3 * random_partition(TARGETS, seed=2)
    options = PseudoMaskOptions(
        learned_weight=1.0,
        transport=TransportOptions(supplies="learned", iterations=500, epsilon=0.5),
    )
    masks, learned = (run(case, o, partition=logits) for o in (options, LEARNED))
    share = (masks.instance == learned.instance).double().mean()
    assert share > 0.99
    areas = learned.area[0, things(case)]
    assert (areas > 0).sum() > 1
    np.testing.assert_allclose(masks.area[0, things(case)], areas, rtol=0.02, atol=20)


def test_half_precision_is_for_networks_alone():
    case = random_case(0)
    logits = random_partition(TARGETS).to(torch.bfloat16)
    expected = run(case, LEARNED, partition=logits.double())
    assert torch.equal(run(case, LEARNED, partition=logits).panoptic, expected.panoptic)


def test_what_a_target_without_a_click_is_given_does_not_matter():
    case, logits = random_case(3), random_partition(TARGETS, seed=3)
    case[3][1] = (case[3][1][0], [])
    options = PseudoMaskOptions(
        learned_weight=0.3, transport=TransportOptions(supplies="learned", epsilon=0.1)
    )
    for one in (LEARNED, options):
        before = run(case, one, partition=logits)
        other = logits.clone()
        other[:, 1] = 50.0
        assert torch.equal(run(case, one, partition=other).panoptic, before.panoptic)
        assert not (before.instance == 1).any()


@pytest.mark.parametrize(
    "options",
    [
        LEARNED,
        PseudoMaskOptions(learned_weight=0.1),
        PseudoMaskOptions(transport=TransportOptions(supplies="learned")),
    ],
)
def test_a_partition_is_needed_and_has_one_shape(options):
    assert options.learned
    case = random_case(0)
    with pytest.raises(ValueError, match="need the partition of a click branch, got None"):
        run(case, options, partition=None)
    wrong = random_partition(TARGETS)[:, :-1]
    with pytest.raises(ValueError, match=r"partition must be float \[1, 6, 96, 112\], got .*5, 96"):
        run(case, options, partition=wrong)
    with pytest.raises(ValueError, match=r"partition must be float .*got torch\.int64"):
        run(case, options, partition=random_partition(TARGETS).long())


def test_others_do_not_need_it():
    unused = PseudoMaskOptions(assigner="nearest", transport=TransportOptions(supplies="learned"))
    assert not unused.learned
    assert not PseudoMaskOptions().learned
    run(random_case(0), unused)


def test_it_gives_way_while_the_network_warms_up():
    supervision = SupervisionConfig(transport_warmup=5, pseudo_masks=LEARNED)
    assert supervision.warms_up
    assert supervision.at(4) == replace(LEARNED, assigner="nearest")
    assert not supervision.at(4).learned
    assert supervision.at(5) == supervision.pseudo_masks


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("assigner", ["transport", "nearest", "first_phase"])
def test_its_weight_is_zero_while_the_network_warms_up(assigner, published):
    options = PseudoMaskOptions(assigner=assigner, learned_weight=2.0)
    supervision = SupervisionConfig(transport_warmup=5, pseudo_masks=options, published=published)
    assert supervision.warms_up
    first = assigner
    if assigner == "transport":
        first = "first_phase" if published else "nearest"
    assert supervision.at(4) == PseudoMaskOptions(assigner=first)
    assert not supervision.at(4).learned
    assert supervision.at(5) == options
    assert replace(supervision, transport_warmup=0).at(0) == options
    assert not SupervisionConfig(pseudo_masks=PseudoMaskOptions(assigner="nearest")).warms_up


@pytest.mark.parametrize("assigner", ["shortest_path", "learned"])
def test_its_weight_is_refused_where_the_cost_is_not_looked_at(assigner):
    wanted = f"^learned_weight: expected 0 for an assigner that .* cost, {assigner}, got 0.1$"
    with pytest.raises(ValueError, match=wanted):
        PseudoMaskOptions(assigner=assigner, learned_weight=0.1)
    with pytest.raises(ValueError, match=r"^transport_warmup: expected an integer in \[0, "):
        SupervisionConfig(transport_warmup=-1)
