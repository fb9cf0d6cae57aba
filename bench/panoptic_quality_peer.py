"""Panoptic quality beside that of torchmetrics, of the same maps.

    pip install torchmetrics
    python bench/panoptic_quality_peer.py TRUTH PREDICTIONS

TRUTH and PREDICTIONS as for ``point2mask evaluate``. torchmetrics knows no crowds: they are void to
it. The second row hands it predictions whose void pixels have the nearest segment: what is left of
the difference is crowds and rounding.
"""

import argparse

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torchmetrics.detection import PanopticQuality

from point2mask.evaluation import PanopticStatistics, image_statistics
from point2mask.evaluation.pairs import open_pair

VOID = 0  # as a category too; those of data sets start at 1


def pairs(ids, segments):
    """Category and segment of every pixel, ``[1, H, W, 2]``; (0, 0) where there is none."""
    result = np.zeros((*ids.shape, 2), np.int64)
    for segment in segments:
        if not segment.iscrowd:
            result[ids == segment.id] = segment.category_id, segment.id
    return torch.from_numpy(result)[None]


def filled(ids):
    """Segment maps ``[H, W]`` whose void pixels have the nearest segment."""
    if not ids.any():
        return ids
    return ids[
        tuple(distance_transform_edt(ids == VOID, return_distances=False, return_indices=True))
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("truth")
    parser.add_argument("predictions")
    args = parser.parse_args()
    truth, predictions = open_pair(args.truth, args.predictions)
    by_id = {image.record.id: image for image in predictions.images}
    kinds = [{c.id for c in truth.categories.values() if c.isthing is k} for k in (True, False)]
    void = crowd = pixels = 0
    for name, change in (("as they are", np.asarray), ("void filled", filled)):
        ours = PanopticStatistics.zero(truth.categories)
        theirs = PanopticQuality(*kinds, allow_unknown_preds_category=True)
        for image in truth.images:
            predicted = by_id[image.record.id]
            true_ids, ids = truth.segment_map(image), change(predictions.segment_map(predicted))
            ours += image_statistics(
                true_ids, image.segments, ids, predicted.segments, truth.categories
            )
            theirs.update(pairs(ids, predicted.segments), pairs(true_ids, image.segments))
            if change is np.asarray:
                void, pixels = void + int((ids == VOID).sum()), pixels + ids.size
                crowd += sum(segment.iscrowd for segment in image.segments)
        found = 100 * ours.quality().all.pq, 100 * float(theirs.compute())
        missed = ours.false_negatives.sum(), int(theirs.false_negatives.sum())
        print(
            f"{name}: PQ {found[0]:.2f}, torchmetrics {found[1]:.2f}; "
            f"missed segments {missed[0]}, torchmetrics {missed[1]}"
        )
    print(f"void in the predictions: {100 * void / pixels:.1f} % of the pixels; {crowd} crowds")


if __name__ == "__main__":
    main()
