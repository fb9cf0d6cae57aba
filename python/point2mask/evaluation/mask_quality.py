"""Quality of each target's own mask: no matching, the target says which segment is meant."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from point2mask.data.panoptic import PanopticDataset
from point2mask.data.records import Category, Segment
from point2mask.evaluation.pairs import (
    OnBroken,
    open_pair,
    pair_images,
    segment_pairs,
    sum_over_images,
)
from point2mask.progress import Progress, ignore


class MaskScore(NamedTuple):
    """Over targets, not averaged over categories; NaN where there are none."""

    mean_iou: float
    hit_rate: float  # share of targets with IoU > 1/2
    targets: int


@dataclass(frozen=True)
class MaskQuality:
    """Quality of the targets' own masks, of all, of things and of stuff."""

    all: MaskScore
    things: MaskScore
    stuff: MaskScore


@dataclass(frozen=True)
class MaskSums:
    """Sums over targets, of stuff and of things; sums of them are those of images together."""

    iou: tuple[float, float] = (0.0, 0.0)  # stuff, things
    hits: tuple[int, int] = (0, 0)
    targets: tuple[int, int] = (0, 0)

    def __add__(self, other: "MaskSums") -> "MaskSums":
        return MaskSums(
            (self.iou[0] + other.iou[0], self.iou[1] + other.iou[1]),
            (self.hits[0] + other.hits[0], self.hits[1] + other.hits[1]),
            (self.targets[0] + other.targets[0], self.targets[1] + other.targets[1]),
        )

    def quality(self) -> MaskQuality:
        return MaskQuality(
            all=_score(sum(self.iou), sum(self.hits), sum(self.targets)),
            things=_score(self.iou[1], self.hits[1], self.targets[1]),
            stuff=_score(self.iou[0], self.hits[0], self.targets[0]),
        )


def mask_quality(
    truth: PanopticDataset | str | Path,
    predictions: PanopticDataset | str | Path,
    workers: int | None = None,
    progress: Progress = ignore,
    on_broken: OnBroken | None = None,
) -> MaskQuality:
    """Mean IoU and hit rate of masks whose ids are those of the true segments.

    Masks made from sampled points have them: a target keeps the id of its segment. Arguments and
    errors as in :func:`point2mask.evaluation.panoptic_quality`.
    """
    pairs = pair_images(*open_pair(truth, predictions), on_broken)
    return sum_over_images(
        image_mask_statistics, MaskSums(), pairs, workers, progress, on_broken
    ).quality()


def image_mask_statistics(
    truth: NDArray[np.integer],
    truth_segments: Sequence[Segment],
    prediction: NDArray[np.integer],
    prediction_segments: Sequence[Segment],
    categories: Mapping[int, Category],
) -> MaskSums:
    """Sums of one image; arguments as in :func:`point2mask.evaluation.image_statistics`.

    The mask of a segment is where the prediction has its id, whatever category it claims; a
    segment without mask has IoU 0. Void pixels of the truth leave the union, as in panoptic
    quality. Crowds are no targets.
    """
    intersection: dict[int, int] = {}
    union: dict[int, int] = {}
    for true_id, predicted_id, pixels in zip(*segment_pairs(truth, prediction), strict=True):
        if true_id == 0:
            continue
        if true_id == predicted_id:
            intersection[true_id] = pixels
        for identity in {true_id, predicted_id}:
            union[identity] = union.get(identity, 0) + pixels
    total = MaskSums()
    for segment in truth_segments:
        if segment.iscrowd or segment.id not in union:
            continue
        common, either = intersection.get(segment.id, 0), union[segment.id]
        isthing = categories[segment.category_id].isthing
        one = (0, 1) if isthing else (1, 0)
        total += MaskSums(
            iou=(common / either * one[0], common / either * one[1]),
            hits=one if 2 * common > either else (0, 0),
            targets=one,
        )
    return total


def _score(iou: float, hits: int, targets: int) -> MaskScore:
    if not targets:
        return MaskScore(math.nan, math.nan, 0)
    return MaskScore(iou / targets, hits / targets, targets)
