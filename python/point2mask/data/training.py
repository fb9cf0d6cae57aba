"""Images with clicks for training: a map-style data set whose items are given by epoch and index.

An item depends on the seed, the epoch and the image alone: not on workers, batches or restarts.
"""

import random
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from point2mask.data.augment import VOID, AugmentConfig, Sample, augment
from point2mask.data.compact import Positions
from point2mask.data.errors import DataError
from point2mask.data.files import resolve_inside
from point2mask.data.panoptic import PanopticDataset, PanopticImage, in_frame, read_panoptic
from point2mask.data.places import is_folder, path_of, written_in
from point2mask.data.png import read_rgb
from point2mask.data.points import (
    read_point_pngs,
    read_points,
    sample_image_points,
    sample_points,
)
from point2mask.data.records import Category, ImageId, ImageRecord
from point2mask.data.sampling import Key
from point2mask.data.segments import segment_labels
from point2mask.data.targets import PointLabels, PointTarget, labels_in_frame, stated_areas
from point2mask.messages import shown
from point2mask.models import on_canvas
from point2mask.pseudo_masks.batch import Batch
from point2mask.pseudo_masks.points import PointBatch
from point2mask.ranges import Checked, Count, PathText, Range, Seed


@dataclass(frozen=True, kw_only=True)
class SourceConfig(Checked):
    """Images, their truth, and their clicks; paths start from :attr:`DataConfig.root`.

    With ``annotations`` alone, clicks are sampled from the true masks. ``points`` is a JSON of
    clicks, or a folder of PNGs in the published format; then ``annotations`` names the segments,
    and the true masks are read only if ``masks`` is given too.
    """

    images: PathText
    annotations: PathText | None = None  # COCO panoptic JSON
    masks: PathText | None = None  # its folder of PNGs; the folder of the JSON's stem by default
    points: PathText | None = None
    points_per_segment: Annotated[int, Range(1, 10_000)] = 1  # where clicks are sampled
    point_seed: Seed = 0
    first: Count | None = None  # only the first so many images of the file
    # What masks and clicks are on, where the files do not say: pictures as stored, or as viewers
    # show them, turned by their EXIF tag.
    frame: Literal["stored", "shown"] | None = None

    def check(self) -> None:
        if self.annotations is None and self.points is None:
            raise ValueError("annotations: expected annotations or points, got neither")
        if self.points is not None and self.points_per_segment > 1:
            raise ValueError(
                f"points_per_segment: expected 1 as points names the clicks, got "
                f"{self.points_per_segment}; set points to null to sample them from annotations"
            )


@dataclass(frozen=True, kw_only=True)
class DataConfig(Checked):
    train: SourceConfig
    val: SourceConfig | None = None
    root: PathText = "."
    # Processes that load images; 0 loads in the training process.
    workers: Annotated[int, Range(0, 128)] = 2
    skip_without_things: bool = True  # as published: images without a thing are not trained on
    skip_broken: bool = False  # go on without images that cannot be read; they are listed

    def check(self) -> None:
        if self.val is not None and self.val.annotations is None:
            raise ValueError("val.annotations: expected annotations to score against, got none")


@dataclass(frozen=True)
class Source:
    """What the files of a :class:`SourceConfig` say."""

    images_dir: Path
    categories: dict[int, Category]
    truth: PanopticDataset | None
    labels: PointLabels | None


@dataclass(frozen=True)
class Broken:
    """An image that could not be read, and why."""

    name: str
    reason: str


Loaded = tuple[str, Sample]  # an image by its name
Collated = tuple[Batch | None, tuple[Broken, ...]]  # no batch where all images were broken


def class_channels(categories: Mapping[int, Category]) -> dict[int, int]:
    """The network's class of every category id: things first, each kind in the file's order.

    >>> sky, cat = Category(7, "sky", False, (0, 0, 9)), Category(9, "cat", True, (9, 0, 0))
    >>> class_channels({7: sky, 9: cat})
    {9: 0, 7: 1}
    """
    order = sorted(categories.values(), key=lambda category: not category.isthing)
    return {category.id: channel for channel, category in enumerate(order)}


def thing_channels(categories: Mapping[int, Category]) -> Tensor:
    """Bool ``[C]``, whether a class is a thing."""
    return torch.tensor([categories[key].isthing for key in class_channels(categories)])


def read_source(config: SourceConfig, root: str | Path, with_truth: bool = False) -> Source:
    """Reads the JSON files of a source (PNGs of points too, but neither images nor masks).

    Beside PNGs of points the annotations say what the points are on; they are the true masks, too,
    where ``masks`` is given or ``with_truth`` asks for them.
    """
    root = path_of(root)
    annotations, masks, points = (
        None if name is None else written_in(root, name)
        for name in (config.annotations, config.masks, config.points)
    )
    labels = None
    published = False
    if points is not None and is_folder(points):
        if annotations is None:
            raise DataError(f"{points}: PNGs of points need annotations, a panoptic JSON")
        labels, published = read_point_pngs(annotations, points), True
    elif points is not None:
        labels = read_points(points)
    if labels is not None:
        labels = labels_in_frame(labels, config.frame)
    truth = None
    if annotations is not None and (with_truth or masks is not None or not published):
        truth = in_frame(read_panoptic(annotations, masks), config.frame)
    if truth is not None and labels is not None:
        _check_agreement(labels, truth, points)
    if truth is not None:
        truth = replace(truth, images=truth.images[: config.first])
    if labels is not None:
        labels = replace(labels, images=labels.images[: config.first])
    known = labels or truth
    assert known is not None  # SourceConfig sees to it
    return Source(images_folder(config, root), known.categories, truth, labels)


def training_clicks(
    config: SourceConfig, root: str | Path, left_out: dict[str, str] | None = None
) -> PointLabels:
    """The clicks that training learns from: those of files, or those that it samples itself.

    Images whose masks cannot be read, so that clicks cannot be sampled from them, are left out and
    get into ``left_out``, by name, with the reason; without it the first is an error.
    """
    source = read_source(config, root)
    if source.labels is not None:
        return source.labels
    assert source.truth is not None  # SourceConfig sees to it
    per_segment, seed = config.points_per_segment, config.point_seed
    return sample_points(source.truth, per_segment, seed, left_out=left_out)


def images_folder(config: SourceConfig, root: str | Path) -> Path:
    """The folder that the names of a source's images start from."""
    return written_in(path_of(root), config.images)


class TrainingSet(Dataset[Loaded | Broken]):
    """Augmented images with clicks. What cannot be read comes as :class:`Broken`.

    Attributes:
        categories: by id.
        skipped: images left out because no thing is labelled in them.
    """

    def __init__(
        self,
        config: DataConfig,
        augmentation: AugmentConfig,
        seed: int = 0,
        with_truth: bool = False,
    ) -> None:
        source = read_source(config.train, config.root, with_truth)
        self.categories = source.categories
        self._source, self._config = source, config
        self._augmentation, self._seed, self._with_truth = augmentation, seed, with_truth
        if with_truth and source.truth is None:
            raise DataError("training with full masks needs annotations, got points only")
        self._channels = class_channels(source.categories)
        # The number of every image in the truth, -1 where it is not in it.
        self._in_truth = array("i")
        if source.truth is not None and source.labels is not None:
            positions = _positions(source.truth)
            found = (positions.find(record.id) for record in source.labels.records)
            self._in_truth.extend(-1 if number is None else number for number in found)
        listed = source.truth if source.labels is None else source.labels
        assert listed is not None
        count = len(listed.images)
        self._numbers = np.arange(count)  # of the images in the file
        if config.skip_without_things:
            self._numbers = np.flatnonzero(_with_things(source))
        self.skipped = count - len(self._numbers)
        if not len(self._numbers):
            files = config.train.points or config.train.annotations
            needed = "a thing" if config.skip_without_things else "an entry"
            raise DataError(f"{files}: expected images with {needed} to learn from, got none")

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, key: Key) -> Loaded | Broken:
        epoch, index = key
        name = self._entry(index)[0].file_name
        try:
            sample = self.load(index)
        except DataError as error:
            # Not raised: a worker's exception would arrive with its traceback in its message.
            return Broken(name, str(error))
        # A seed of text is hashed: the same choices on every machine.
        generator = random.Random(f"{self._seed}/{epoch}/{index}")
        return (name, augment(sample, self._augmentation, generator))

    def load(self, index: int) -> Sample:
        """The image as it is on disk, with truth where known."""
        record, given, image = self._entry(index)
        path = resolve_inside(self._source.images_dir, record.file_name)
        pixels = read_rgb(path, (record.height, record.width), frame=record.frame)
        ids, targets = None, given
        if self._source.truth is not None and image is not None:
            ids = self._source.truth.segment_map(image)
            if targets is None:
                source = self._config.train
                targets = sample_image_points(
                    self._source.truth, image, source.points_per_segment, source.point_seed, ids
                )
        targets = [target for target in targets or () if not self._is_crowd_thing(target)]
        clicks = [(x, y, k) for k, target in enumerate(targets) for x, y in target.pixels]
        table = torch.tensor(clicks, dtype=torch.int64).reshape(-1, 3)
        stated = stated_areas(targets)
        truth = None
        if ids is not None and image is not None:
            truth = torch.from_numpy(_target_map(ids, image, targets))
        return Sample(
            image=torch.from_numpy(pixels).permute(2, 0, 1).contiguous(),
            xy=table[:, :2],
            target=table[:, 2],
            category=torch.tensor(
                [self._channels[target.category_id] for target in targets], dtype=torch.int64
            ),
            truth=truth,
            area=None if stated is None else torch.tensor(stated, dtype=torch.float64),
        )

    def collate(self, items: Sequence[Loaded | Broken]) -> Collated:
        """Pads images to one size, a multiple of 32."""
        broken = tuple(item for item in items if isinstance(item, Broken))
        loaded = [item for item in items if not isinstance(item, Broken)]
        if not loaded:
            return None, broken
        samples = [sample for _, sample in loaded]
        sizes = torch.tensor([sample.size for sample in samples])
        images = on_canvas([sample.image for sample in samples]).float() / 255
        truth = None
        if self._with_truth:
            truth = on_canvas([s.truth for s in samples if s.truth is not None], VOID)
        batch = Batch(
            images=images,
            image_size=sizes,
            points=PointBatch.from_lists(
                [_clicks(sample) for sample in samples],
                [None if sample.area is None else sample.area.tolist() for sample in samples],
            ),
            is_thing=thing_channels(self.categories),
            truth=truth,
            names=tuple(name for name, _ in loaded),
        )
        return batch, broken

    def _is_crowd_thing(self, target: PointTarget) -> bool:
        """A region of many instances, which no instance mask can be made of."""
        return bool(target.iscrowd) and self.categories[target.category_id].isthing

    def _entry(
        self, index: int
    ) -> tuple[ImageRecord, Sequence[PointTarget] | None, PanopticImage | None]:
        """An image, its clicks and its truth, as far as files tell."""
        number, truth = int(self._numbers[index]), self._source.truth
        if self._source.labels is None:
            assert truth is not None
            return truth.images[number].record, None, truth.images[number]
        record, targets = self._source.labels.images[number]
        known = -1 if truth is None else self._in_truth[number]
        return record, targets, None if truth is None or known < 0 else truth.images[known]


def _with_things(source: Source) -> NDArray[np.bool_]:
    """Of every image, whether a thing that is no crowd is labelled in it."""
    if source.labels is not None:
        return source.labels.with_things()
    assert source.truth is not None
    things = {category.id for category in source.categories.values() if category.isthing}
    return source.truth.have_any(things)


def _positions(truth: PanopticDataset) -> Positions[ImageId]:
    """Where the images of a data set stand, by their ids."""
    records = truth.records
    return Positions(len(records), lambda number: records[number].id)


def _check_agreement(labels: PointLabels, truth: PanopticDataset, place: Path | None) -> None:
    """That clicks and truth speak of the same classes, images and segments."""
    kinds = [[(c.id, c.isthing) for c in x.categories.values()] for x in (labels, truth)]
    if kinds[0] != kinds[1]:
        raise DataError(f"{place}: expected the categories of the annotations, got others")
    positions = _positions(truth)
    for record, targets in labels.images:
        number = positions.find(record.id)
        if number is None:
            raise DataError(f"{place}: expected images of the annotations, got {shown(record.id)}")
        image = truth.images[number]
        for what in ("frame", "height", "width"):
            values = getattr(image.record, what), getattr(record, what)
            if values[0] != values[1]:
                raise DataError(
                    f"{place}: expected the {what} {values[0]} of image {shown(record.id)} as in "
                    f"the annotations, got {values[1]}"
                )
        segments = {(s.id, s.category_id) for s in image.segments}
        for target in targets:
            if (target.id, target.category_id) not in segments:
                raise DataError(
                    f"{place}: expected targets that are segments of the annotations, got "
                    f"{target.id} in image {shown(record.id)}"
                )


def _target_map(
    ids: NDArray[np.int32], image: PanopticImage, targets: Sequence[PointTarget]
) -> NDArray[np.int32]:
    """Segment ids to indices of targets, -1 for void and segments without clicks."""
    index = {target.id: k for k, target in enumerate(targets)}
    lookup = [VOID, *(index.get(segment.id, VOID) for segment in image.segments)]
    labels = segment_labels(ids, [segment.id for segment in image.segments])
    return np.array(lookup, np.int32)[labels]


def _clicks(sample: Sample) -> list[tuple[int, list[tuple[float, float]]]]:
    clicks: list[list[tuple[float, float]]] = [[] for _ in sample.category]
    for (x, y), target in zip(sample.xy.tolist(), sample.target.tolist(), strict=True):
        clicks[target].append((float(x), float(y)))
    return list(zip(sample.category.tolist(), clicks, strict=True))
