"""Measures of masks against the truth: panoptic quality and the quality of each target's mask."""

from point2mask.evaluation.figures import category_figures, figures
from point2mask.evaluation.mask_quality import (
    MaskQuality,
    MaskScore,
    MaskSums,
    image_mask_statistics,
    mask_quality,
)
from point2mask.evaluation.pairs import (
    SegmentPairs,
    pair_images,
    read_predictions,
    read_truth,
    segment_pairs,
    sum_over_images,
)
from point2mask.evaluation.panoptic_quality import (
    CategoryQuality,
    PanopticQuality,
    PanopticStatistics,
    Quality,
    image_statistics,
    panoptic_quality,
)

__all__ = [
    "CategoryQuality",
    "MaskQuality",
    "MaskScore",
    "MaskSums",
    "PanopticQuality",
    "PanopticStatistics",
    "Quality",
    "SegmentPairs",
    "category_figures",
    "figures",
    "image_mask_statistics",
    "image_statistics",
    "mask_quality",
    "pair_images",
    "panoptic_quality",
    "read_predictions",
    "read_truth",
    "segment_pairs",
    "sum_over_images",
]
