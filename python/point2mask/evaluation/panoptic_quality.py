"""Panoptic quality by the rules of the COCO panoptic challenge.

Kirillov et al., "Panoptic Segmentation" (CVPR 2019): PQ = sum of IoU over matches divided by
TP + FP / 2 + FN / 2, a product of segmentation quality SQ (mean IoU of matches) and recognition
quality RQ (F1 score), for each category, averaged over the categories that occur.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from point2mask.data.errors import DataError
from point2mask.data.panoptic import PanopticDataset
from point2mask.data.records import Category, Segment
from point2mask.evaluation.pairs import (
    OnBroken,
    SegmentPairs,
    open_pair,
    pair_images,
    segment_pairs,
    sum_over_images,
)
from point2mask.progress import Progress, ignore

VOID = 0


class Quality(NamedTuple):
    """Averages over categories, in [0, 1]; NaN where there are none."""

    pq: float
    sq: float
    rq: float
    categories: int


class CategoryQuality(NamedTuple):
    """Figures of one category; NaN where it occurs neither in the truth nor in predictions."""

    pq: float
    sq: float
    rq: float
    true_positives: int
    false_positives: int
    false_negatives: int


@dataclass(frozen=True)
class PanopticQuality:
    """Panoptic quality of all categories, of things, of stuff, and of each category by its id."""

    all: Quality
    things: Quality
    stuff: Quality
    per_category: dict[int, CategoryQuality]


@dataclass(frozen=True)
class PanopticStatistics:
    """Counts an image or many; sums of them are those of the images together."""

    categories: tuple[Category, ...]
    iou: NDArray[np.float64]  # [C], sum over the matches of a category
    true_positives: NDArray[np.int64]  # [C]
    false_positives: NDArray[np.int64]  # [C]
    false_negatives: NDArray[np.int64]  # [C]

    @classmethod
    def zero(cls, categories: Mapping[int, Category]) -> "PanopticStatistics":
        counts = np.zeros((3, len(categories)), np.int64)
        return cls(tuple(categories.values()), np.zeros(len(categories)), *counts)

    def __add__(self, other: "PanopticStatistics") -> "PanopticStatistics":
        if self.categories != other.categories:
            raise ValueError("statistics of different categories cannot be added")
        return PanopticStatistics(
            self.categories,
            self.iou + other.iou,
            self.true_positives + other.true_positives,
            self.false_positives + other.false_positives,
            self.false_negatives + other.false_negatives,
        )

    def quality(self) -> PanopticQuality:
        per_category = {
            category.id: _category_quality(float(iou), int(tp), int(fp), int(fn))
            for category, iou, tp, fp, fn in zip(
                self.categories,
                self.iou,
                self.true_positives,
                self.false_positives,
                self.false_negatives,
                strict=True,
            )
        }
        things = [per_category[c.id] for c in self.categories if c.isthing]
        stuff = [per_category[c.id] for c in self.categories if not c.isthing]
        return PanopticQuality(
            _average(per_category.values()), _average(things), _average(stuff), per_category
        )


def panoptic_quality(
    truth: PanopticDataset | str | Path,
    predictions: PanopticDataset | str | Path,
    workers: int | None = None,
    progress: Progress = ignore,
    on_broken: OnBroken | None = None,
) -> PanopticQuality:
    """Panoptic quality of predictions for every image of a data set.

    Args:
        truth: data set, or the path of its JSON.
        predictions: data set, or a path as :func:`read_predictions` takes it.
        workers: processes; None works in this one, at some 200 images a second. The result does
            not depend on it. As always with processes, a script that asks for several needs
            ``if __name__ == "__main__":``.
        progress: called with the numbers of images done and of all.
        on_broken: called for every image that has no prediction or cannot be read and is left out;
            None makes the first of them an error.

    Raises:
        DataError: an image without prediction, or files that are not of the layout.
    """
    pairs = pair_images(*open_pair(truth, predictions), on_broken)
    zero = PanopticStatistics.zero(pairs.truth.categories)
    return sum_over_images(image_statistics, zero, pairs, workers, progress, on_broken).quality()


def image_statistics(
    truth: NDArray[np.integer],
    truth_segments: Sequence[Segment],
    prediction: NDArray[np.integer],
    prediction_segments: Sequence[Segment],
    categories: Mapping[int, Category],
) -> PanopticStatistics:
    """The counts of one image.

    Args:
        truth: segment map ``[H, W]``, 0 = void.
        truth_segments: the segments of the map; a crowd region is no object to be found.
        prediction: segment map ``[H, W]``, 0 = no prediction.
        prediction_segments: its segments; their ``iscrowd`` is not part of the rules.
        categories: by id.

    Raises:
        DataError: sizes differ, an id of a map has no segment, or an unknown category.

    >>> categories = {1: Category(1, "cat", True, (200, 40, 60))}
    >>> truth, found = np.array([[7, 7, 7, 0]]), np.array([[4, 4, 0, 0]])
    >>> image_statistics(truth, [Segment(7, 1)], found, [Segment(4, 1)], categories).iou
    array([0.66666667])
    """
    pairs = segment_pairs(truth, prediction)
    by_id = {segment.id: segment for segment in truth_segments}
    predicted_by_id = {segment.id: segment for segment in prediction_segments}
    for name, ids, known in (
        ("truth", pairs.truth, by_id),
        ("prediction", pairs.prediction, predicted_by_id),
    ):
        for unknown in set(ids) - known.keys() - {VOID}:
            raise DataError(f"{name}: expected every id to have a segment, got {unknown} without")
    index = {category: k for k, category in enumerate(categories)}
    for segment in (*truth_segments, *prediction_segments):
        if segment.category_id not in index:
            raise DataError(f"expected a known category, got {segment.category_id}")

    result = PanopticStatistics.zero(categories)
    matches = _match(pairs, by_id, predicted_by_id)
    for true_id, (_, iou) in matches.items():
        result.iou[index[by_id[true_id].category_id]] += iou
        result.true_positives[index[by_id[true_id].category_id]] += 1
    for segment in truth_segments:
        if segment.id not in matches and not segment.iscrowd:
            result.false_negatives[index[segment.category_id]] += 1
    matched = {predicted_id for predicted_id, _ in matches.values()}
    ignored = _mostly_ignored(pairs, by_id, predicted_by_id)
    for segment in prediction_segments:
        if segment.id not in matched and segment.id not in ignored:
            result.false_positives[index[segment.category_id]] += 1
    return result


def _match(
    pairs: SegmentPairs, truth: Mapping[int, Segment], prediction: Mapping[int, Segment]
) -> dict[int, tuple[int, float]]:
    """True id -> predicted id and IoU. Above 1/2 a segment has at most one partner."""
    true_area = _areas(pairs.truth, pairs.pixels)
    # Predicted pixels on void count for nobody: they leave the union.
    seen_area = _areas(
        pairs.prediction,
        [0 if t == VOID else n for t, n in zip(pairs.truth, pairs.pixels, strict=True)],
    )
    matches = {}
    for true_id, predicted_id, intersection in zip(*pairs, strict=True):
        if VOID in (true_id, predicted_id) or truth[true_id].iscrowd:
            continue
        if truth[true_id].category_id != prediction[predicted_id].category_id:
            continue
        union = true_area[true_id] + seen_area[predicted_id] - intersection
        if 2 * intersection > union:  # in integers: exactly 1/2 is no match
            matches[true_id] = predicted_id, intersection / union
    return matches


def _mostly_ignored(
    pairs: SegmentPairs, truth: Mapping[int, Segment], prediction: Mapping[int, Segment]
) -> set[int]:
    """Predicted ids with more than half of their pixels on void or on crowds of their category."""
    area = _areas(pairs.prediction, pairs.pixels)
    excused: dict[int, int] = {}
    for true_id, predicted_id, pixels in zip(*pairs, strict=True):
        if predicted_id == VOID:
            continue
        if true_id == VOID or (
            truth[true_id].iscrowd
            and truth[true_id].category_id == prediction[predicted_id].category_id
        ):
            excused[predicted_id] = excused.get(predicted_id, 0) + pixels
    return {identity for identity, pixels in excused.items() if 2 * pixels > area[identity]}


def _areas(ids: Iterable[int], pixels: Iterable[int]) -> dict[int, int]:
    areas: dict[int, int] = {}
    for identity, count in zip(ids, pixels, strict=True):
        areas[identity] = areas.get(identity, 0) + count
    return areas


def _category_quality(iou: float, tp: int, fp: int, fn: int) -> CategoryQuality:
    if tp + fp + fn == 0:
        return CategoryQuality(math.nan, math.nan, math.nan, 0, 0, 0)
    found = tp + fp / 2 + fn / 2
    return CategoryQuality(iou / found, iou / tp if tp else 0.0, tp / found, tp, fp, fn)


def _average(qualities: Iterable[CategoryQuality]) -> Quality:
    present = [quality[:3] for quality in qualities if not math.isnan(quality.pq)]
    if not present:
        return Quality(math.nan, math.nan, math.nan, 0)
    pq, sq, rq = (math.fsum(column) / len(present) for column in zip(*present, strict=True))
    return Quality(pq, sq, rq, len(present))
