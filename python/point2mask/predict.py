"""A network's panoptic maps of a folder of pictures, as COCO panoptic files, and their quality."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from point2mask.data.augment import AugmentConfig, resize_image, target_size
from point2mask.data.files import resolve_inside
from point2mask.data.panoptic import PanopticDataset, write_panoptic
from point2mask.data.png import read_rgb, write_rgb
from point2mask.data.records import Category, ImageRecord, Segment
from point2mask.data.training import MULTIPLE, class_channels
from point2mask.evaluation import PanopticStatistics, image_statistics
from point2mask.models import MergeConfig, PointNetwork, predict
from point2mask.progress import Progress, ignore
from point2mask.pseudo_masks import SupervisionConfig
from point2mask.visualize import overlay

Predicted = tuple[ImageRecord, NDArray[np.int32], list[Segment]]


@dataclass(frozen=True)
class Predictor:
    """A network with all that it takes to turn a picture into a panoptic map, or clicks into masks.

    The network must be in evaluation mode.
    """

    network: PointNetwork
    categories: Mapping[int, Category]
    augmentation: AugmentConfig  # for the size of test images
    merge: MergeConfig
    supervision: SupervisionConfig  # how masks are grown from clicks

    def predict(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.int32], list[Segment]]:
        """Segment map ``[H, W]``, 0 where there is no segment, of a picture ``[H, W, 3]``."""
        image = torch.from_numpy(pixels).permute(2, 0, 1)
        original = (image.shape[1], image.shape[2])
        size = target_size(original, self.augmentation.test_short_side, self.augmentation.max_side)
        batch = self._normalise(resize_image(image, size))
        (prediction,) = predict(self.network, batch, torch.tensor([size]), [original], self.merge)
        ids = list(class_channels(self.categories))
        segments = [Segment(s.id, ids[s.label], area=s.area) for s in prediction.segments]
        return prediction.segment_map.cpu().numpy(), segments

    def _normalise(self, image: Tensor) -> Tensor:
        """``[1, 3, H', W']`` as the backbone wants it, padded to a multiple of its strides."""
        device = next(self.network.parameters()).device
        backbone = self.network.backbone
        mean, std = (
            torch.tensor(v, device=device)[:, None, None] for v in (backbone.mean, backbone.std)
        )
        normal = (image.to(device).float() / 255 - mean) / std
        height, width = normal.shape[1:]
        padding = (0, -width % MULTIPLE, 0, -height % MULTIPLE)
        return torch.nn.functional.pad(normal, padding)[None]


def predictions(
    predictor: Predictor,
    images_dir: Path,
    records: Sequence[ImageRecord],
    progress: Progress = ignore,
) -> Iterator[Predicted]:
    """Records with their maps and segments, one picture in memory at a time."""
    for done, record in enumerate(records, start=1):
        path = resolve_inside(images_dir, record.file_name)
        pixels = read_rgb(path, (record.height, record.width))
        ids, segments = predictor.predict(pixels)
        yield record, ids, segments
        progress(done, len(records))


def predict_folder(
    predictor: Predictor,
    images_dir: Path,
    records: Sequence[ImageRecord],
    out: Path,
    progress: Progress = ignore,
    overlays: bool = False,
) -> PanopticDataset:
    """Writes ``panoptic/*.png``, ``overlays/*.jpg`` if wanted, and ``panoptic.json`` at the end."""
    items = predictions(predictor, images_dir, records, progress)
    if overlays:
        items = _drawn(items, images_dir, out / "overlays", predictor.categories)
    return write_panoptic(out / "panoptic.json", out / "panoptic", predictor.categories, items)


def _drawn(
    items: Iterator[Predicted], images_dir: Path, out: Path, categories: Mapping[int, Category]
) -> Iterator[Predicted]:
    """The items; on the way, pictures tinted by their segments are written."""
    for record, ids, segments in items:
        pixels = read_rgb(resolve_inside(images_dir, record.file_name))
        name = Path(record.file_name).with_suffix(".jpg").as_posix()
        write_rgb(resolve_inside(out, name), overlay(pixels, ids, segments, categories))
        yield record, ids, segments


def evaluate(
    predictor: Predictor,
    images_dir: Path,
    truth: PanopticDataset,
    indices: Sequence[int],
    progress: Progress = ignore,
) -> PanopticStatistics:
    """Counts for panoptic quality over some images of a data set; nothing is written."""
    chosen = [truth.images[index] for index in indices]
    total = PanopticStatistics.zero(truth.categories)
    items = predictions(predictor, images_dir, [image.record for image in chosen], progress)
    for image, (_, ids, segments) in zip(chosen, items, strict=True):
        total += image_statistics(
            truth.segment_map(image), image.segments, ids, segments, truth.categories
        )
    return total
