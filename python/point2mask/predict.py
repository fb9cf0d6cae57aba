"""A network's panoptic maps of a folder of pictures, as COCO panoptic files, and their quality."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from point2mask.data.augment import AugmentConfig, resize_image, target_size
from point2mask.data.errors import BrokenPictureError
from point2mask.data.files import fingerprint, resolve_inside
from point2mask.data.making import (
    ONE_PROCESS,
    Known,
    Made,
    MadePicture,
    Outcome,
    Spreading,
    look_up,
    make_results,
    of_whole,
    put_pictures,
    unless_broken,
)
from point2mask.data.panoptic import PanopticDataset
from point2mask.data.png import read_rgb
from point2mask.data.records import Category, ImageRecord, Segment
from point2mask.data.results import Making, ResultFolder
from point2mask.data.training import class_channels
from point2mask.evaluation import PanopticStatistics, image_statistics
from point2mask.models import MergeConfig, PointNetwork, on_canvas, predict
from point2mask.models.precision import Precision, mixed
from point2mask.progress import Progress, ignore
from point2mask.pseudo_masks import SupervisionConfig
from point2mask.visualize import overlay
from point2mask.workers import Stages

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
    precision: Precision = "float32"  # of the network

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    def digest(self) -> str:
        """32 hexadecimal digits that stand for the weights and all settings."""
        hashed = hashlib.sha256()
        settings = self.categories, self.augmentation, self.merge, self.supervision, self.precision
        for part in settings:
            hashed.update(repr(part).encode())
        for name, tensor in sorted(self.network.state_dict().items()):
            hashed.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
            hashed.update(tensor.cpu().reshape(-1).view(torch.uint8).numpy().data)
        return hashed.hexdigest()[:32]

    def predict(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.int32], list[Segment]]:
        """Segment map ``[H, W]``, 0 where there is no segment, of a picture ``[H, W, 3]``."""
        (found,) = self.predict_batch([pixels])
        return found

    def predict_batch(
        self, pictures: Sequence[NDArray[np.uint8]]
    ) -> list[tuple[NDArray[np.int32], list[Segment]]]:
        """The same of several pictures at once; padding has no influence."""
        images = [torch.from_numpy(picture).permute(2, 0, 1) for picture in pictures]
        originals = [(image.shape[1], image.shape[2]) for image in images]
        augmentation = self.augmentation
        sizes = [
            target_size(size, augmentation.test_short_side, augmentation.max_side)
            for size in originals
        ]
        resized = [resize_image(image, size) for image, size in zip(images, sizes, strict=True)]
        batch = self.network.normalise(on_canvas(resized).to(self.device).float() / 255)
        with mixed(self.precision, self.device):
            found = predict(self.network, batch, torch.tensor(sizes), originals, self.merge)
        ids = list(class_channels(self.categories))
        return [
            (
                prediction.segment_map.cpu().numpy(),
                [Segment(s.id, ids[s.label], area=s.area) for s in prediction.segments],
            )
            for prediction in found
        ]


def predictions(
    predictor: Predictor,
    images_dir: Path,
    records: Sequence[ImageRecord],
    progress: Progress = ignore,
) -> Iterator[Predicted]:
    """Records with their maps and segments, one picture in memory at a time."""
    for done, record in enumerate(records, start=1):
        path = resolve_inside(images_dir, record.file_name)
        pixels = read_rgb(path, (record.height, record.width), frame=record.frame)
        ids, segments = predictor.predict(pixels)
        yield record, ids, segments
        progress(done, len(records))


def predict_folder(
    predictor: Predictor,
    images_dir: Path,
    records: Sequence[ImageRecord],
    out: Path,
    spreading: Spreading = ONE_PROCESS,
    progress: Progress = ignore,
    overlays: bool = False,
    on_broken: Callable[[BrokenPictureError], None] | None = None,
) -> Made:
    """Writes ``panoptic/*.png``, ``overlays/*.jpg`` if wanted, and ``panoptic.json`` at the end.

    Args:
        predictor: its network is used on the device that it is on.
        images_dir: the folder that the file names of the images start from.
        records: the pictures.
        out: made if need be. Must be empty, or of an earlier run that is resumed.
        spreading: which pictures, in batches of how many, and by which processes.
        progress: called after every picture.
        overlays: whether pictures tinted by their segments are written.
        on_broken: called for every picture that cannot be read and is left out of the result; None
            makes the first of them an error.

    Raises:
        BrokenPictureError: a picture is missing, broken or of another size.
        DataError: an ``out`` with other results, or no picture that can be read.
    """
    device = predictor.device
    settings = {"network": predictor.digest(), "batch": spreading.batch}
    making = Making("predict", version("point2mask"), settings, overlays)
    folder, categories = ResultFolder(out), predictor.categories
    work = Stages(
        partial(_read, images_dir, folder, making),
        partial(_find, predictor, str(device)),
        partial(_write, folder, making, categories),
    )
    if spreading.cluster is not None:
        predictor.network.cpu()  # from where it goes to other machines
    gpus = float(device.type == "cuda")
    return make_results(
        out, making, categories, records, work, records, spreading, progress, on_broken, gpus
    )


Pixels = NDArray[np.uint8]
Found = tuple[Pixels, NDArray[np.int32], list[Segment]]


def _read(
    images_dir: Path, folder: ResultFolder, making: Making, records: Sequence[ImageRecord]
) -> tuple[Known, list[Pixels | BrokenPictureError]]:
    """The pictures of a batch, unless the results of all are there."""
    paths = [resolve_inside(images_dir, record.file_name) for record in records]
    known = look_up(folder, making, records, [[fingerprint(path)] for path in paths])
    if known.all_there:
        return known, []
    return known, [
        unless_broken(partial(read_rgb, path, (record.height, record.width), frame=record.frame))
        for record, path in zip(records, paths, strict=True)
    ]


def _find(
    predictor: Predictor, device: str, read: tuple[Known, list[Pixels | BrokenPictureError]]
) -> tuple[Known, list[Found | BrokenPictureError]]:
    """The pictures with their maps and segments."""

    def find(whole: list[Pixels]) -> Iterator[Found]:
        for picture, found in zip(whole, predictor.predict_batch(whole), strict=True):
            yield picture, *found

    known, pictures = read
    predictor.network.to(device)
    return known, of_whole(find, pictures)


def _write(
    folder: ResultFolder,
    making: Making,
    categories: Mapping[int, Category],
    read: tuple[Known, list[Found | BrokenPictureError]],
) -> list[Outcome]:
    def draw(whole: list[Found]) -> Iterator[MadePicture]:
        for picture, ids, segments in whole:
            drawn = overlay(picture, ids, segments, categories) if making.overlays else None
            yield ids, segments, drawn

    known, found = read
    return put_pictures(folder, categories, known, of_whole(draw, found))


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
