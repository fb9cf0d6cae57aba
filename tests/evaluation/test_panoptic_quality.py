"""Panoptic quality: every rule on a case worked out by hand, and the definition read literally."""

import math
from fractions import Fraction

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from point2mask.data import (
    Category,
    DataError,
    ImageRecord,
    Segment,
    read_panoptic,
    write_panoptic,
)
from point2mask.evaluation import (
    PanopticStatistics,
    image_statistics,
    panoptic_quality,
    segment_pairs,
)

CAT, DOG, SKY, SEA = 1, 2, 3, 9
CATEGORIES = {
    CAT: Category(CAT, "cat", True, (1, 1, 1)),
    DOG: Category(DOG, "dog", True, (2, 2, 2)),
    SKY: Category(SKY, "sky", False, (3, 3, 3)),
    SEA: Category(SEA, "sea", False, (4, 4, 4)),
}


def row(*parts):
    """A map of one row: (id, pixels), (id, pixels), ..."""
    return np.concatenate([np.full(pixels, identity, np.int32) for identity, pixels in parts])[None]


def counts(truth, truth_segments, prediction, prediction_segments, category=CAT):
    result = image_statistics(truth, truth_segments, prediction, prediction_segments, CATEGORIES)
    k = list(CATEGORIES).index(category)
    return (
        result.iou[k],
        result.true_positives[k],
        result.false_positives[k],
        result.false_negatives[k],
    )


ONE_CAT = [Segment(7, CAT)]


def test_perfect_prediction_under_another_id():
    truth, prediction = row((7, 5), (8, 5)), row((90, 5), (70, 5))
    got = image_statistics(
        truth,
        [Segment(7, CAT), Segment(8, SKY)],
        prediction,
        [Segment(90, CAT), Segment(70, SKY)],
        CATEGORIES,
    ).quality()
    assert got.all == (1, 1, 1, 2)
    assert got.things == (1, 1, 1, 1)
    assert got.stuff == (1, 1, 1, 1)
    assert got.per_category[CAT] == (1, 1, 1, 1, 0, 0)
    assert got.per_category[DOG][3:] == (0, 0, 0)
    assert math.isnan(got.per_category[DOG].pq)


def test_iou_of_one_half_is_no_match():
    # 6 of 9 pixels in common, union 12: IoU exactly 1/2.
    truth, prediction = row((7, 9), (8, 3)), row((6, 3), (5, 9))
    segments = [Segment(7, CAT), Segment(8, SKY)], [Segment(6, SKY), Segment(5, CAT)]
    assert counts(truth, segments[0], prediction, segments[1]) == (0, 0, 1, 1)


def test_iou_just_above_one_half_is_a_match():
    # 7 in common, union 12.
    truth, prediction = row((7, 9), (8, 3)), row((6, 2), (5, 10))
    segments = [Segment(7, CAT), Segment(8, SKY)], [Segment(6, SKY), Segment(5, CAT)]
    assert counts(truth, segments[0], prediction, segments[1]) == (7 / 12, 1, 0, 0)


def test_another_category_is_no_match():
    ids = row((7, 9), (0, 1))
    assert counts(ids, ONE_CAT, ids, [Segment(7, DOG)]) == (0, 0, 0, 1)
    assert counts(ids, ONE_CAT, ids, [Segment(7, DOG)], category=DOG) == (0, 0, 1, 0)


def test_predicted_pixels_on_void_leave_the_union():
    # 4 in common; prediction has 4 more on void: union 4 + 0, not 8.
    assert counts(row((7, 4), (0, 6)), ONE_CAT, row((1, 8), (0, 2)), [Segment(1, CAT)]) == (
        1,
        1,
        0,
        0,
    )


def test_missing_pixels_of_the_prediction_stay_in_the_union():
    # Prediction void is no excuse: 6 of 10 pixels.
    assert counts(row((7, 10)), ONE_CAT, row((1, 6), (0, 4)), [Segment(1, CAT)]) == (0.6, 1, 0, 0)


@pytest.mark.parametrize(("on_void", "false_positives"), [(5, 1), (6, 0)])
def test_a_false_positive_mostly_on_void_is_ignored(on_void, false_positives):
    # 10 predicted pixels; exactly half on void is not "mostly".
    truth = row((7, 10 - on_void), (0, on_void), (7, 90))
    prediction = row((1, 10), (0, 90))
    assert counts(truth, ONE_CAT, prediction, [Segment(1, CAT)]) == (0, 0, false_positives, 1)


def test_a_crowd_is_neither_found_nor_missed():
    ids = row((7, 10))
    crowd = [Segment(7, CAT, iscrowd=True)]
    assert counts(ids, crowd, row((0, 10)), []) == (0, 0, 0, 0)
    assert counts(ids, crowd, ids, [Segment(7, CAT)]) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("crowd_category", "false_positives"), [(CAT, 0), (DOG, 1)], ids=["same", "other"]
)
def test_only_a_crowd_of_the_same_category_excuses(crowd_category, false_positives):
    truth, prediction = row((7, 6), (8, 4)), row((1, 10))
    segments = [Segment(7, crowd_category, iscrowd=True), Segment(8, SKY)]
    assert counts(truth, segments, prediction, [Segment(1, CAT)]) == (0, 0, false_positives, 0)


def test_void_and_crowds_excuse_together():
    # Of 10 pixels 2 on void and 2 + 2 on two crowds of the category: 6 > 5.
    truth, prediction = row((0, 2), (7, 2), (5, 2), (8, 4)), row((1, 10))
    segments = [Segment(7, CAT, True), Segment(5, CAT, True), Segment(8, SKY)]
    assert counts(truth, segments, prediction, [Segment(1, CAT)]) == (0, 0, 0, 0)


def test_crowd_pixels_stay_in_the_union():
    # Unlike void: 6 in common, 4 more on a crowd of the category: union 10.
    truth, prediction = row((8, 6), (7, 4)), row((1, 10))
    segments = [Segment(7, CAT, True), Segment(8, CAT)]
    assert counts(truth, segments, prediction, [Segment(1, CAT)]) == (0.6, 1, 0, 0)


def test_a_predicted_crowd_is_an_ordinary_segment():
    ids = row((7, 10))
    assert counts(ids, ONE_CAT, ids, [Segment(7, CAT, iscrowd=True)]) == (1, 1, 0, 0)


def test_empty_images():
    nothing = np.zeros((0, 4), np.int32)
    got = image_statistics(nothing, [], nothing, [], CATEGORIES).quality()
    assert got.all.categories == 0
    assert math.isnan(got.all.pq)
    void = np.zeros((2, 2), np.int32)
    assert counts(void, [], void, []) == (0, 0, 0, 0)


def test_averages_by_hand():
    # cat: IoU .8, one FP -> PQ .8 / 1.5; dog: one FN -> 0; sky: IoU 1; sea: does not occur.
    cat = PanopticStatistics.zero(CATEGORIES)
    cat.iou[:3], cat.true_positives[:3] = (0.8, 0, 1.0), (1, 0, 1)
    cat.false_positives[0] = cat.false_negatives[1] = 1
    got = cat.quality()
    assert got.per_category[CAT][:3] == pytest.approx((0.8 / 1.5, 0.8, 1 / 1.5))
    assert got.per_category[DOG][:3] == (0, 0, 0)
    assert got.things == pytest.approx((0.4 / 1.5, 0.4, 0.5 / 1.5, 2))
    assert got.stuff == (1, 1, 1, 1)
    assert got.all == pytest.approx(((0.8 / 1.5 + 1) / 3, 1.8 / 3, (1 / 1.5 + 1) / 3, 3))
    assert (cat + cat).quality().per_category[SKY].true_positives == 2


def test_pairs_by_hand():
    got = segment_pairs(row((2**24 - 1, 3), (0, 2)), row((0, 1), (5, 3), (2**24 - 1, 1)))
    assert list(zip(*got, strict=True)) == [
        (0, 5, 1),
        (0, 2**24 - 1, 1),
        (2**24 - 1, 0, 1),
        (2**24 - 1, 5, 2),
    ]


def oracle(truth, truth_segments, prediction, prediction_segments, categories=CATEGORIES):
    """The definition read literally: boolean masks, fractions, every pair of segments."""
    iou, tp, fp, fn = ({c: Fraction(0) for c in categories} for _ in range(4))
    true_masks = {s: (truth == s.id) for s in truth_segments}
    predicted_masks = {s: (prediction == s.id) for s in prediction_segments}
    matched = set()
    for t, true_mask in true_masks.items():
        if t.iscrowd:
            continue
        partners = []
        for p, predicted_mask in predicted_masks.items():
            if t.category_id != p.category_id:
                continue
            common = int((true_mask & predicted_mask).sum())
            either = int((true_mask | (predicted_mask & (truth != 0))).sum())
            if either and Fraction(common, either) > Fraction(1, 2):
                partners.append((p, Fraction(common, either)))
        assert len(partners) <= 1  # the theorem that makes matching unique
        if partners:
            matched.add(partners[0][0])
            tp[t.category_id] += 1
            iou[t.category_id] += partners[0][1]
        else:
            fn[t.category_id] += 1
    for p, predicted_mask in predicted_masks.items():
        if p in matched:
            continue
        excuse = truth == 0
        for t, true_mask in true_masks.items():
            if t.iscrowd and t.category_id == p.category_id:
                excuse = excuse | true_mask
        if 2 * (predicted_mask & excuse).sum() <= predicted_mask.sum():
            fp[p.category_id] += 1
    return [[float(part[c]) for c in categories] for part in (iou, tp, fp, fn)]


@st.composite
def image_pairs(draw):
    shape = draw(st.tuples(st.integers(1, 5), st.integers(1, 8)))
    ids = st.integers(0, 3)
    truth = draw(hnp.arrays(np.int32, shape, elements=ids))
    # Mostly the truth with some pixels changed: a random map would hardly ever match.
    prediction = truth.copy()
    changes = draw(hnp.arrays(np.int32, shape, elements=st.sampled_from([0, 0, 0, 0, 1, 2, 3, 4])))
    prediction[changes > 0] = changes[changes > 0] - 1
    categories = st.sampled_from([CAT, CAT, DOG, SKY])

    def segments(ids):
        return [
            Segment(int(i), draw(categories), draw(st.sampled_from([False, False, True])))
            for i in np.unique(ids)
            if i
        ]

    true_segments = segments(truth)
    kept = {s.id: s.category_id for s in true_segments}
    predicted_segments = [
        Segment(s.id, kept.get(s.id, s.category_id) if draw(st.booleans()) else s.category_id)
        for s in segments(prediction)
    ]
    return truth, true_segments, prediction, predicted_segments


@examples(400)
@given(case=image_pairs())
def test_equals_the_definition(case):
    got = image_statistics(*case, CATEGORIES)
    iou, tp, fp, fn = oracle(*case)
    np.testing.assert_allclose(got.iou, iou, rtol=1e-14)  # rounding of a few quotients
    np.testing.assert_array_equal(got.true_positives, tp)
    np.testing.assert_array_equal(got.false_positives, fp)
    np.testing.assert_array_equal(got.false_negatives, fn)


@given(case=image_pairs())
def test_any_map_is_perfect_for_itself(case):
    truth, segments, _, _ = case
    got = image_statistics(truth, segments, truth, segments, CATEGORIES)
    assert not got.false_positives.any()
    assert not got.false_negatives.any()
    np.testing.assert_array_equal(got.iou, got.true_positives)


@given(case=image_pairs())
def test_order_of_segments_and_names_of_ids_do_not_matter(case):
    truth, true_segments, prediction, predicted_segments = case
    renamed = [Segment(9 - s.id, s.category_id) for s in predicted_segments[::-1]]
    ids = np.where(prediction, 9 - prediction, 0)
    a = image_statistics(*case, CATEGORIES)
    b = image_statistics(truth, true_segments[::-1], ids, renamed, CATEGORIES)
    assert a.quality().all == pytest.approx(b.quality().all, nan_ok=True)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ((row((7, 2)), [], row((0, 2)), []), "truth: expected every id to have a segment, got 7"),
        ((row((0, 2)), [], row((7, 2)), []), "prediction: expected every id to have a segment"),
        ((row((7, 2)), [Segment(7, 5)], row((0, 2)), []), "expected a known category, got 5"),
        ((row((7, 2)), ONE_CAT, row((0, 3)), []), r"got truth \[1, 2\] and prediction \[1, 3\]"),
    ],
)
def test_rejects_maps_that_do_not_fit(case, message):
    with pytest.raises(DataError, match=message):
        image_statistics(*case, CATEGORIES)


def test_rejects_sums_over_different_categories():
    with pytest.raises(ValueError, match="different categories"):
        PanopticStatistics.zero(CATEGORIES) + PanopticStatistics.zero({})


def random_dataset(path, seed, images=40):
    rng = np.random.default_rng(seed)
    items = []
    for i in range(images):
        ids = np.kron(np.random.default_rng(i).integers(0, 5, (3, 4)), np.ones((6, 6), np.int32))
        ids = np.roll(ids, rng.integers(0, 3), axis=1)
        segments = [Segment(int(k), (CAT, DOG, SKY, SEA)[k - 1]) for k in np.unique(ids) if k]
        items.append((ImageRecord(i, f"{i}.jpg", *ids.shape), ids, segments))
    return write_panoptic(path, None, CATEGORIES, items)


def test_files_and_workers(tmp_path):
    truth = random_dataset(tmp_path / "truth.json", 0)
    predictions = random_dataset(tmp_path / "out" / "panoptic.json", 1)
    expected = PanopticStatistics.zero(CATEGORIES)
    for true_image, predicted_image in zip(truth.images, predictions.images, strict=True):
        expected += image_statistics(
            truth.segment_map(true_image),
            true_image.segments,
            predictions.segment_map(predicted_image),
            predicted_image.segments,
            CATEGORIES,
        )
    seen = []
    one = panoptic_quality(truth, predictions, progress=lambda *done: seen.append(done))
    assert seen == [(16, 40), (32, 40), (40, 40)]
    assert 0.2 < one.all.pq < 1
    assert one.all == pytest.approx(expected.quality().all, rel=1e-14)
    # The same bits from files, and with processes.
    assert panoptic_quality(tmp_path / "truth.json", tmp_path / "out", workers=2) == one


def test_a_missing_prediction_is_named(tmp_path):
    truth = random_dataset(tmp_path / "truth.json", 0, images=3)
    few = random_dataset(tmp_path / "few.json", 0, images=2)
    with pytest.raises(DataError, match=r"expected a prediction .* image 2 \(2\.jpg\)"):
        panoptic_quality(truth, few)
    assert panoptic_quality(few, truth).all.pq == 1  # images beyond the truth do not matter


def test_a_damaged_file_in_a_worker_is_named(tmp_path):
    truth = random_dataset(tmp_path / "truth.json", 0)
    (tmp_path / "truth" / "33.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"33\.png: expected a PNG of 24 x 18 pixels"):
        panoptic_quality(truth, truth, workers=2)


def test_categories_unknown_to_the_truth_are_refused(tmp_path):
    truth = random_dataset(tmp_path / "truth.json", 0, images=1)
    alien = {**CATEGORIES, 77: Category(77, "alien", True, (0, 0, 0))}
    ids = np.ones((18, 24), np.int32)
    item = (truth.images[0].record, ids, [Segment(1, 77)])
    predictions = write_panoptic(tmp_path / "p.json", None, alien, [item])
    with pytest.raises(DataError, match="expected categories of the truth, got 77 in image 0"):
        panoptic_quality(truth, predictions)


@pytest.mark.data
@pytest.mark.parametrize("name", ["coco_mini", "nuclei"])
def test_real_truth_is_perfect_and_equals_the_definition_when_disturbed(data_root, name):
    dataset = read_panoptic(data_root / name / "annotations" / "panoptic_val.json")
    assert panoptic_quality(dataset, dataset).all[:3] == (1, 1, 1)
    for image in dataset.images[:3]:
        truth = dataset.segment_map(image)[::4, ::4]
        present = set(np.unique(truth).tolist())
        segments = [s for s in image.segments if s.id in present]
        shifted = np.roll(truth, (2, 3), (0, 1))
        case = truth, segments, shifted, segments
        got = image_statistics(*case, dataset.categories)
        iou, *expected = oracle(*case, dataset.categories)
        assert any(iou)
        np.testing.assert_allclose(got.iou, iou, rtol=1e-13)  # rounding of some quotients
        np.testing.assert_array_equal(
            [got.true_positives, got.false_positives, got.false_negatives], expected
        )
