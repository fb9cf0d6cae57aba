"""Areas that come with the clicks: who gets what, and that nothing changes where there are none."""

from dataclasses import replace
from functools import cache

import pytest
import torch
from hypothesis import given as randomly
from hypothesis import strategies as st
from networks import TINY_MASK2FORMER, TINY_MASKDINO, shake, tiny
from pseudo_mask_cases import CLASSES, IS_THING, random_case, random_partition
from training import SCENE, make_batch, take

from point2mask.losses import published_losses
from point2mask.models import make_network
from point2mask.pseudo_masks import (
    SUPPLIES,
    PointBatch,
    PseudoMaskOptions,
    SupervisionConfig,
    TransportOptions,
    pseudo_masks,
)
from point2mask.pseudo_masks.supplies import supplies
from point2mask.train.module import TrainingModule

THINGS = 4  # of the random case, before two classes of stuff
NOBODY = float("nan")
CONVERGED = TransportOptions(iterations=20000, tolerance=1e-6)


def grow(seeds, areas=(), options=None, given=None, **named):
    """Masks of random cases as one batch, with stated areas, and such that the caller gives."""
    cases = [random_case(seed) for seed in seeds]
    semantic, boundary, feature = (torch.stack([case[i] for case in cases]) for i in range(3))
    points = PointBatch.from_lists([case[3] for case in cases], areas)
    partition = random_partition(len(cases[0][3])).expand(len(cases), -1, -1, -1)
    if given is None:
        given = torch.ones(points.category.shape, dtype=torch.float64).cumsum(1)
    return pseudo_masks(
        semantic,
        points,
        IS_THING,
        boundary_logits=boundary,
        feature=feature,
        partition=partition,
        areas=given,
        options=options,
        **named,
    )


def equal(a, b):
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in ("instance", "panoptic"))


class FixedProblem:
    """What :func:`supplies` reads of a problem whose scheme is ``given``."""

    def __init__(self, guess, stated, is_target, foreground):
        self.areas, self.is_target = guess, is_target
        self.points = PointBatch(torch.zeros(*guess.shape, 1, 2), is_target.long(), stated)
        self.foreground = (
            torch.arange(1200).view(1, 30, 40) < torch.tensor(foreground)[:, None, None]
        )
        self.cost = torch.zeros(1, dtype=guess.dtype)


def supplied(guess, stated, foreground, is_target=None):
    guess = torch.tensor(guess, dtype=torch.float64)
    is_target = torch.ones_like(guess, dtype=torch.bool) if is_target is None else is_target
    stated = torch.tensor(stated, dtype=torch.float64)
    return supplies(FixedProblem(guess, stated, is_target, foreground), "given")


@pytest.mark.parametrize(
    ("guess", "stated", "foreground", "expected"),
    [
        # 100^(2/3) 800^(1/3) = 200; the others share what is left as the scheme guesses.
        ([8, 1, 1], [100, NOBODY, NOBODY], 1000, [200, 400, 400]),
        # More is stated than there is: the others keep half of their guesses, all are scaled.
        ([1, 1, 2], [1200, NOBODY, NOBODY], 600, [4800 / 11, 600 / 11, 1200 / 11]),
        # All are stated: in proportion.
        ([1, 8, 1], [100, 100, 800], 1000, [1000 / 7, 2000 / 7, 4000 / 7]),
        # The scheme gives it nothing; gives the others nothing; there is nothing to give.
        ([0, 1, 1], [100, NOBODY, NOBODY], 600, [100, 250, 250]),
        ([1, 0, 0], [100, NOBODY, NOBODY], 600, [600, 0, 0]),
        ([1, 1, 1], [100, NOBODY, NOBODY], 0, [0, 0, 0]),
    ],
)
def test_supplies_by_literals(guess, stated, foreground, expected):
    found = supplied([[*map(float, guess)]], [[*map(float, stated)]], [foreground])[0]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_what_is_stated_of_stuff_does_not_count():
    is_target = torch.tensor([[True, True, False]])
    for first, expected in ((37.5, [75, 525, 0]), (NOBODY, [300, 300, 0])):
        found = supplied([[1.0] * 3], [[first, NOBODY, 400.0]], [600], is_target)
        torch.testing.assert_close(found, torch.tensor([expected], dtype=torch.float64))


sizes = st.floats(0.5, 5000)


@randomly(
    guess=st.lists(sizes, min_size=4, max_size=4),
    stated=st.lists(st.one_of(st.none(), sizes), min_size=4, max_size=4),
    foreground=st.integers(1, 1200),
)
def test_supplies_add_up_to_the_foreground(guess, stated, foreground):
    rows = [NOBODY if area is None else area for area in stated]
    # Beside an image without areas, which keeps its guesses to the bit.
    both = supplied([guess, guess], [rows, [NOBODY] * 4], [foreground] * 2)
    (alone,) = supplied([guess], [[NOBODY] * 4], [foreground])
    assert torch.equal(both[1], alone)
    torch.testing.assert_close(both[0].sum(), torch.tensor(foreground).double())
    assert (both[0] > 0).all()
    guesses = [share * foreground / sum(guess) for share in guess]
    pairs = list(zip(rows, guesses, strict=True))
    mean = [area ** (2 / 3) * share ** (1 / 3) for area, share in pairs]
    known = [k for k, area in enumerate(stated) if area is not None]
    others = [k for k in range(4) if k not in known]
    for group, shares in ((known, mean), (others, guess)):
        wanted = torch.tensor([shares[k] for k in group], dtype=torch.float64)
        if group:
            torch.testing.assert_close(both[0][group] / both[0][group].sum(), wanted / wanted.sum())
    left = foreground - sum(mean[k] for k in known)
    if known and others and left > sum(guesses[k] for k in others) / 2:
        wanted = torch.tensor([mean[k] for k in known], dtype=torch.float64)
        torch.testing.assert_close(both[0][known], wanted)


@pytest.mark.parametrize("scheme", SUPPLIES)
def test_transport_gives_things_more_of_what_is_stated_larger(scheme):
    options = PseudoMaskOptions(transport=replace(CONVERGED, supplies=scheme))
    plain = grow([8], options=options)
    stated = plain.area[0].double()
    stated[0] *= 8
    result = grow([8], [[*stated[:THINGS].clamp(min=1).tolist(), 7.0, NOBODY]], options)
    assert torch.equal(result.instance >= 0, plain.instance >= 0)
    assert result.area[0, 0] > 1.2 * plain.area[0, 0]
    assert (result.area[0, 1:THINGS] <= plain.area[0, 1:THINGS]).sum() >= THINGS - 2


def test_converged_transport_gives_things_the_mean_of_two_areas():
    """All of them: as if the caller had given these areas."""
    options = PseudoMaskOptions(transport=replace(CONVERGED, supplies="given"))
    stated = [100.0, 300.0, 200.0, 400.0, 7.0, NOBODY]
    given = torch.tensor([[100.0, 100, 100, 100, 0, 0]], dtype=torch.float64)
    result = grow([8], [stated], options, given)
    mean = torch.tensor(stated[:THINGS], dtype=torch.float64) ** (2 / 3)
    foreground = (result.instance >= 0).sum()
    # Entropy blurs the borders by about epsilon; rounding the plan moves a few pixels.
    found = result.area[0, :THINGS].double() / foreground
    torch.testing.assert_close(found, mean / mean.sum(), rtol=0.05, atol=0.001)


@pytest.mark.parametrize("scheme", SUPPLIES)
@pytest.mark.parametrize("padded", [False, True])
def test_a_batch_with_some_areas_is_its_images(scheme, padded):
    """Two of four images, of which one has areas of some targets; and no area is no change."""
    options = PseudoMaskOptions(transport=TransportOptions(supplies=scheme, iterations=500))
    some = [None, [100.0, NOBODY, 900.0, 50.0, NOBODY, 9.0], [300.0] * 6, None]
    size = torch.tensor([[96, 112]])
    whole = grow(range(4), some, options, image_size=size.expand(4, 2) if padded else None)
    plain = grow(range(4), (), options, image_size=size.expand(4, 2) if padded else None)
    for b, areas in enumerate(some):
        single = grow([b], [areas], options, image_size=size if padded else None)
        assert torch.equal(single.instance[0], whole.instance[b])
        assert torch.equal(plain.instance[b], whole.instance[b]) == (areas is None)
    nobody = grow(range(4), [[NOBODY] * 6] * 4, options)
    assert equal(nobody, grow(range(4), (), options))


def test_absence_is_no_tensor():
    points = PointBatch.from_lists([[(0, [(1.0, 1.0)])], []], [None, None])
    assert points.area is None
    size = torch.tensor([[9, 9]] * 2)
    for derived in (points.nonempty(), points.inside(size), points.of([1])):
        assert derived.area is None
    stated = PointBatch.from_lists([[(0, [(1.0, 1.0)]), (1, [])], []], [[4.0, NOBODY], None])
    expected = torch.tensor([[4.0, NOBODY], [NOBODY, NOBODY]])
    for derived in (stated, stated.nonempty(), stated.inside(size), stated.to(torch.device("cpu"))):
        torch.testing.assert_close(derived.area, expected, equal_nan=True)
    torch.testing.assert_close(stated.of([1]).area, expected[1:], equal_nan=True)
    tiny_ones = PointBatch.from_lists([[(0, [(1.0, 1.0)])] * 3], [[1e-300, 0.5, 1.5]])
    assert tiny_ones.area.tolist() == [[1.0, 1.0, 1.5]]


@pytest.mark.parametrize("bad", [0.0, -1.0, float("inf")])
def test_rejects_areas_that_are_none(bad):
    semantic, _, _, targets = random_case(0)
    points = replace(PointBatch.from_lists([targets]), area=torch.full((1, 6), bad))
    with pytest.raises(RuntimeError, match="areas that are finite and positive, or NaN"):
        pseudo_masks(semantic[None], points, torch.arange(CLASSES) < 4)


def test_rejects_areas_of_other_targets():
    semantic, _, _, targets = random_case(0)
    points = PointBatch.from_lists([targets])
    for area in (torch.ones(1, 2), torch.ones(1, 6, dtype=torch.int64)):
        with pytest.raises(ValueError, match=r"points must have a float area \[1, 6\], got"):
            pseudo_masks(semantic[None], replace(points, area=area), torch.arange(CLASSES) < 4)


@cache
def module(config):
    torch.manual_seed(0)
    network = shake(make_network(config))
    options = PseudoMaskOptions(transport=TransportOptions(iterations=2000))
    supervision = SupervisionConfig(pseudo_masks=options, transport_warmup=0)
    return TrainingModule(network, published_losses(config.architecture), supervision).eval()


@pytest.mark.parametrize(
    "config",
    [tiny(), replace(tiny(), published=True), TINY_MASK2FORMER, TINY_MASKDINO],
    ids=["panoptic_segformer", "published", "mask2former", "maskdino"],
)
@torch.no_grad()
def test_a_step_of_training_heeds_them(config):
    """Of the images that have them alone; also on the published grids, of images of two sizes."""
    training, batch = module(config), make_batch(dtype=torch.float32)
    few = [60.0, 2000.0, NOBODY, NOBODY]
    points = PointBatch(batch.points.xy, batch.points.category, torch.tensor([[NOBODY] * 4, few]))
    sized = replace(batch, points=points)
    masks, plain = (training(each, 0)[1] for each in (sized, batch))
    assert torch.equal(masks.instance[0], plain.instance[0])
    assert not torch.equal(masks.instance[1], plain.instance[1])
    before, after = (float(m.area[1, 1] / m.area[1, 0].clamp(min=1)) for m in (plain, masks))
    assert after > before
    (alone,) = training(take(sized, 1), 0)[1].instance
    height, width = alone.shape
    assert (alone == masks.instance[1, :height, :width]).float().mean() > 0.99
    for scenes in ((SCENE[3:], []), ([], [])):
        empty = make_batch(scenes, dtype=torch.float32)
        area = torch.full(empty.points.category.shape, 30.0)
        training(replace(empty, points=replace(empty.points, area=area)), 0)
