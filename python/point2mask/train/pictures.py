"""Example pictures of a run: pseudo-masks of a training image, predictions beside the truth."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from point2mask.data.files import resolve_inside
from point2mask.data.panoptic import PanopticDataset, PanopticImage
from point2mask.data.png import read_rgb
from point2mask.data.points import PointTarget
from point2mask.data.records import Category, Segment
from point2mask.data.training import class_channels
from point2mask.predict import Predictor
from point2mask.pseudo_masks import PseudoMasks
from point2mask.pseudo_masks.batch import Batch
from point2mask.visualize import overlay, side_by_side


def pseudo_mask_picture(
    batch: Batch, masks: PseudoMasks, categories: Mapping[int, Category]
) -> NDArray[np.uint8]:
    """The first image of a batch, and the same tinted by its pseudo-masks with its clicks."""
    ids = list(class_channels(categories))
    height, width = batch.image_size[0].tolist()
    pixels = (batch.images[0, :, :height, :width].permute(1, 2, 0) * 255).round()
    image = pixels.byte().cpu().numpy()
    segments, targets = [], []
    table = zip(batch.points.category[0].tolist(), batch.points.xy[0].tolist(), strict=True)
    for index, (channel, clicks) in enumerate(table, start=1):
        if channel >= 0:
            points = tuple((x, y) for x, y in clicks if x >= 0)
            segments.append(Segment(index, ids[channel]))
            targets.append(PointTarget(index, ids[channel], points))
    labels = masks.panoptic[0, :height, :width].cpu().numpy() + 1
    tinted = overlay(image, labels, segments, categories, targets)
    return side_by_side([image, tinted], ["image", "pseudo-masks"])


def prediction_picture(
    predictor: Predictor, images_dir: Path, truth: PanopticDataset, image: PanopticImage
) -> NDArray[np.uint8]:
    """A picture's true segments beside those that a network finds."""
    record = image.record
    path = resolve_inside(images_dir, record.file_name)
    pixels = read_rgb(path, (record.height, record.width))
    ids, segments = predictor.predict(pixels)
    return side_by_side(
        [
            overlay(pixels, truth.segment_map(image), image.segments, truth.categories),
            overlay(pixels, ids, segments, predictor.categories),
        ],
        ["truth", "prediction"],
    )
