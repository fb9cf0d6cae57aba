"""Example pictures of a run: what it learns from, and what the network finds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from point2mask.data.files import resolve_inside
from point2mask.data.panoptic import PanopticDataset, PanopticImage
from point2mask.data.png import read_rgb
from point2mask.data.records import Category, Segment
from point2mask.data.targets import PointTarget
from point2mask.data.training import class_channels
from point2mask.predict import Predictor
from point2mask.pseudo_masks import PseudoMasks
from point2mask.pseudo_masks.batch import Batch
from point2mask.visualize import legend, overlay, side_by_side, stack

Number = TypeVar("Number", bound=np.integer)

LEAST_SIDE = 320  # pixels: smaller pictures are enlarged by whole numbers


class Panel(NamedTuple):
    """A segment map over a picture; without segments the picture as it is."""

    title: str
    ids: NDArray[np.integer]  # [H, W], 0 = no segment
    segments: Sequence[Segment]
    points: Sequence[PointTarget] = ()


def training_picture(
    batch: Batch, index: int, masks: PseudoMasks | None, predictor: Predictor
) -> NDArray[np.uint8]:
    """An image of a batch with its clicks, the masks that were learned from, and what is found.

    Args:
        batch: of a training step.
        index: of the image.
        masks: of the batch, if the step had some.
        predictor: with the network of the run.
    """
    categories = predictor.categories
    ids = list(class_channels(categories))
    height, width = batch.image_size[index].tolist()
    pixels = (batch.images[index, :, :height, :width].permute(1, 2, 0) * 255).round()
    image = pixels.byte().cpu().numpy()
    segments, targets = [], []
    table = zip(batch.points.category[index].tolist(), batch.points.xy[index].tolist(), strict=True)
    for number, (channel, clicks) in enumerate(table, start=1):
        if channel >= 0:
            points = tuple((x, y) for x, y in clicks if x >= 0)
            segments.append(Segment(number, ids[channel]))
            targets.append(PointTarget(number, ids[channel], points))
    panels = [Panel("clicks", np.zeros((height, width), np.int32), (), targets)]
    if masks is not None:
        labels = masks.panoptic[index, :height, :width].cpu().numpy() + 1
        panels.append(Panel("learned from", labels, segments, targets))
    panels.append(Panel("prediction", *predictor.predict(image)))
    return in_a_row(image, panels, categories)


def prediction_picture(
    predictor: Predictor, images_dir: Path, truth: PanopticDataset, image: PanopticImage
) -> NDArray[np.uint8]:
    """A picture's true segments beside those that a network finds."""
    record = image.record
    path = resolve_inside(images_dir, record.file_name)
    pixels = read_rgb(path, (record.height, record.width), frame=record.frame)
    panels = [
        Panel("truth", truth.segment_map(image), image.segments),
        Panel("prediction", *predictor.predict(pixels)),
    ]
    return in_a_row(pixels, panels, truth.categories)


def in_a_row(
    image: NDArray[np.uint8], panels: Sequence[Panel], categories: Mapping[int, Category]
) -> NDArray[np.uint8]:
    """Panels of one picture ``[H, W, 3]`` side by side, and a legend of the categories in them."""
    factor = -(-LEAST_SIDE // min(image.shape[:2]))
    large = _enlarged(image, factor)
    drawn = [
        overlay(
            large,
            _enlarged(panel.ids, factor),
            panel.segments,
            categories,
            [_moved(target, factor) for target in panel.points],
        )
        for panel in panels
    ]
    row = side_by_side(drawn, [panel.title for panel in panels])
    present = {segment.category_id for panel in panels for segment in panel.segments}
    present |= {target.category_id for panel in panels for target in panel.points}
    shown = [category for key, category in categories.items() if key in present]
    return stack([row, legend(shown, row.shape[1])]) if shown else row


def _enlarged(values: NDArray[Number], factor: int) -> NDArray[Number]:
    return values.repeat(factor, 0).repeat(factor, 1)


def _moved(target: PointTarget, factor: int) -> PointTarget:
    """A target in an enlarged picture: its points in the middle of what was their pixel."""
    points = tuple(((x + 0.5) * factor, (y + 0.5) * factor) for x, y in target.pixels)
    return PointTarget(target.id, target.category_id, points)
