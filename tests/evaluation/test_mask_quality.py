"""Quality of each target's own mask, against literal masks."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from point2mask.data import Category, ImageRecord, Segment, write_panoptic
from point2mask.evaluation import MaskSums, image_mask_statistics, mask_quality

CATEGORIES = {
    1: Category(1, "cat", True, (1, 1, 1)),
    2: Category(2, "sky", False, (2, 2, 2)),
}
SEGMENTS = [Segment(1, 1), Segment(2, 2), Segment(3, 1, iscrowd=True), Segment(4, 2)]
maps = hnp.arrays(np.int32, (4, 6), elements=st.integers(0, 4))


@given(truth=maps, prediction=maps)
def test_equals_masks(truth, prediction):
    present = [s for s in SEGMENTS if (truth == s.id).any()]
    got = image_mask_statistics(truth, present, prediction, SEGMENTS, CATEGORIES).quality()
    scores = {True: [], False: []}
    for s in present:
        if s.iscrowd:
            continue
        true_mask, mask = truth == s.id, (prediction == s.id) & (truth != 0)
        scores[CATEGORIES[s.category_id].isthing].append(
            (true_mask & mask).sum() / (true_mask | mask).sum()
        )
    for part, values in (
        (got.things, scores[True]),
        (got.stuff, scores[False]),
        (got.all, scores[True] + scores[False]),
    ):
        assert part.targets == len(values)
        if values:
            assert part.mean_iou == pytest.approx(np.mean(values), rel=1e-12)
            assert part.hit_rate == pytest.approx(np.mean([v > 0.5 for v in values]), rel=1e-12)
        else:
            assert math.isnan(part.mean_iou)


def test_category_of_a_mask_does_not_matter_and_one_half_is_no_hit():
    truth = np.array([[1, 1, 1, 2, 2, 2]], np.int32)
    prediction = np.array([[1, 1, 2, 2, 2, 0]], np.int32)
    swapped = [Segment(1, 2), Segment(2, 1)]
    got = image_mask_statistics(truth, SEGMENTS[:2], prediction, swapped, CATEGORIES).quality()
    assert got.things == (2 / 3, 1, 1)
    assert got.stuff == (2 / 4, 0, 1)
    assert got.all == (pytest.approx(7 / 12), 1 / 2, 2)


def test_sums_add_and_files_agree(tmp_path):
    rng = np.random.default_rng(0)
    total = MaskSums()
    truth, prediction = [], []
    for i in range(20):
        maps = np.sort(rng.integers(1, 3, (2, 5, 7), dtype=np.int32), axis=2)
        maps[:, 0, 0], maps[:, 0, 1] = 1, 2
        record = ImageRecord(i, f"{i}.jpg", 5, 7)
        for items, ids in zip((truth, prediction), maps, strict=True):
            items.append((record, ids, SEGMENTS[:2]))
        total += image_mask_statistics(maps[0], SEGMENTS[:2], maps[1], SEGMENTS[:2], CATEGORIES)
    write_panoptic(tmp_path / "truth.json", None, CATEGORIES, truth)
    write_panoptic(tmp_path / "panoptic.json", None, CATEGORIES, prediction)
    got = mask_quality(tmp_path / "truth.json", tmp_path)
    assert got.all.targets == 40
    assert got.all == pytest.approx(total.quality().all, rel=1e-14)
    assert got == mask_quality(tmp_path / "truth.json", tmp_path, workers=2)
