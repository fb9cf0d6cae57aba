"""Clicks on a folder of pictures to a COCO panoptic data set, picture by picture, in processes."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from point2mask.data import (
    Category,
    DataError,
    ImageRecord,
    PanopticDataset,
    PointLabels,
    PointTarget,
    Segment,
    read_rgb,
    write_panoptic,
    write_rgb,
)
from point2mask.data.files import resolve_inside, write_json
from point2mask.data.png import PICTURE_SUFFIXES
from point2mask.label.output import (
    check_input_folder,
    check_output_folder,
    overlay_name,
    remove_stale,
)
from point2mask.label.pipeline import DEFAULT_ASSIGNER, DEFAULT_MAX_SIDE, label_image
from point2mask.progress import Progress, ignore
from point2mask.visualize import overlay

if TYPE_CHECKING:
    from point2mask.label.network import TrainedNetwork

Item = tuple[ImageRecord, list[PointTarget]]
Task = tuple[Item, Path | None]
Labelled = tuple[ImageRecord, NDArray[np.int32], list[Segment]]
# In the order they are looked for: beside name.jpg in one folder the edges are name.png.
EDGE_SUFFIXES = (".png", *(suffix for suffix in PICTURE_SUFFIXES if suffix != ".png"))

NETWORK = "network"  # the assigner that leaves everything to a trained network


class BrokenPictureError(DataError):
    """The picture or the edge map of one image cannot be used."""


Result = Labelled | BrokenPictureError


@dataclass(frozen=True)
class LabelOptions:
    """How pictures are labelled.

    Attributes:
        assigner: one of :data:`point2mask.label.ASSIGNERS`, or ``network``: the pseudo-masks that
            the network of ``checkpoint`` is trained with.
        edges_dir: a grey picture of edge strength for every image, of the same stem.
        max_side: pixels of the longer side to work at.
        overlays: whether pictures tinted by their masks are written.
        checkpoint: folder of a run or of ``save_pretrained``; the boundaries that its network has
            learned are the edges, unless the assigner is ``network``.
        network_side: pixels of the short side that the network sees; by default as its test images.
    """

    assigner: str = DEFAULT_ASSIGNER
    edges_dir: Path | None = None
    max_side: int = DEFAULT_MAX_SIDE
    overlays: bool = True
    checkpoint: Path | None = None
    network_side: int | None = None

    def __post_init__(self) -> None:
        if self.checkpoint is None and (self.assigner == NETWORK or self.network_side is not None):
            raise ValueError(f"assigner {NETWORK!r} and network_side need a checkpoint")
        if self.checkpoint is not None and self.edges_dir is not None:
            raise ValueError("edges_dir and checkpoint both give edges, expected one of them")


def label_folder(
    images_dir: str | Path,
    labels: PointLabels,
    out_dir: str | Path,
    options: LabelOptions = LabelOptions(),
    workers: int | None = None,
    progress: Progress = ignore,
    on_broken: Callable[[BrokenPictureError], None] | None = None,
) -> PanopticDataset:
    """Labels every image of ``labels`` and writes the result into a folder.

    Written are ``panoptic/*.png`` and ``panoptic.json``, whose segments have the ids of the
    targets, ``overlays/*.jpg`` and ``summary.json``. Every file is written atomically, the JSON
    files last: an interrupted run leaves whole files only and can simply be started again. Masks
    and overlays of an earlier run that this one does not write are removed at the end.

    Args:
        images_dir: the folder that the file names of the images start from.
        labels: the clicks.
        out_dir: made if need be. Must hold no such files but those of an earlier run.
        options: how.
        workers: processes, by default one a CPU, or a single one with a checkpoint, whose network
            has threads of its own. The result does not depend on it.
        progress: called after every image.
        on_broken: called for every image that cannot be read and is left out of the result; None
            makes the first of them an error.

    Raises:
        BrokenPictureError: a picture is missing, broken or of another size, or an edge map is
            broken.
        DataError: no folder of pictures, an image without edge map, no checkpoint or one that does
            not know a category (``network`` only), an ``out_dir`` with results
            that are not of an earlier run, clicks that :func:`label_image` refuses, or no picture
            that can be read.
    """
    images_dir, out_dir = Path(images_dir), Path(out_dir)
    start = time.perf_counter()
    check_input_folder(images_dir)
    check_output_folder(out_dir, labels)
    edges_dir = options.edges_dir
    if options.checkpoint is not None:
        _network.cache_clear()  # the run may have gone on since
        network = _network(options.checkpoint, options.network_side)
        if options.assigner == NETWORK:
            for key in sorted(_used(labels)):
                network.channel_of(labels.categories[key])
        workers = workers or 1
    work = partial(_label_item, images_dir, out_dir, labels.categories, options)
    tasks: list[Task] = [
        (item, None if edges_dir is None else find_edges(item[0], edges_dir))
        for item in labels.images
    ]
    workers = min(workers or os.cpu_count() or 1, len(tasks))
    with ExitStack() as stack:
        if workers < 2:
            results: Iterator[Result] = map(work, tasks)
        else:
            # Fresh processes, as forking one with threads (torch's, say) can hang.
            pool = stack.enter_context(ProcessPoolExecutor(workers, get_context("spawn")))
            results = _in_order(pool, work, tasks, ahead=4 * workers)
        items = _readable(_counted(results, len(tasks), progress), images_dir, on_broken)
        dataset = write_panoptic(
            out_dir / "panoptic.json", out_dir / "panoptic", labels.categories, items
        )
    remove_stale(out_dir, dataset, options.overlays)
    seconds = time.perf_counter() - start
    write_json(out_dir / "summary.json", _summary(dataset, len(tasks), options, seconds))
    return dataset


def _used(labels: PointLabels) -> set[int]:
    """Categories that have a target."""
    return {target.category_id for _, targets in labels.images for target in targets}


def find_edges(record: ImageRecord, edges_dir: Path) -> Path:
    """The edge picture of an image.

    An image ``sub/name.jpg`` has its edges in ``sub/name.png`` (or another picture format).
    """
    stem = Path(record.file_name).with_suffix("")
    paths = [resolve_inside(edges_dir, f"{stem}{suffix}") for suffix in EDGE_SUFFIXES]
    existing = [path for path in paths if path.is_file()]
    if not existing:
        raise DataError(
            f"{edges_dir}: expected a picture of edges for every image, got none for "
            f"{record.file_name} (looked for {paths[0].name} and other formats)"
        )
    return existing[0]


def read_edges(path: Path) -> NDArray[np.floating]:
    """Edge strength ``[h, w]`` of an edge picture, the mean of its channels."""
    return np.asarray(read_rgb(path).mean(axis=2))


def _label_item(
    images_dir: Path,
    out_dir: Path,
    categories: dict[int, Category],
    options: LabelOptions,
    task: Task,
) -> Result:
    (record, targets), edges_path = task
    path = resolve_inside(images_dir, record.file_name)
    try:
        image = read_rgb(path, (record.height, record.width))
        edges = None if edges_path is None else read_edges(edges_path)
    except DataError as error:
        return BrokenPictureError(str(error))
    try:
        index = _target_of_pixels(image, targets, categories, edges, options)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    # Entry -1, the last, is void.
    ids = np.array([target.id for target in targets] + [0], np.int32)[index]
    segments = [Segment(t.id, t.category_id, t.iscrowd) for t in targets]
    if options.overlays:
        name = overlay_name(record)
        picture = overlay(image, ids, segments, categories, targets)
        write_rgb(resolve_inside(out_dir / "overlays", name), picture)
    return record, ids, segments


def _target_of_pixels(
    image: NDArray[np.uint8],
    targets: list[PointTarget],
    categories: dict[int, Category],
    edges: NDArray[np.floating] | None,
    options: LabelOptions,
) -> NDArray[np.int32]:
    """The index of every pixel's target, -1 for none."""
    if options.checkpoint is not None:
        maps = _network(options.checkpoint, options.network_side).prepare(image)
        if options.assigner == NETWORK:
            return maps.label(targets, categories)
        edges = maps.edges()
    return label_image(
        image,
        targets,
        assigner=options.assigner,
        edges=edges,
        max_side=options.max_side,
        is_thing=[categories[target.category_id].isthing for target in targets],
    )


@cache
def _network(checkpoint: Path, side: int | None) -> "TrainedNetwork":
    """One a process; training code is loaded only where a network is asked for."""
    from point2mask.hub import load_predictor
    from point2mask.label.network import TrainedNetwork

    return TrainedNetwork(load_predictor(checkpoint), side)


def _in_order(
    pool: ProcessPoolExecutor,
    work: Callable[[Task], Result],
    tasks: list[Task],
    ahead: int,
) -> Iterator[Result]:
    """Results in the order of the tasks, at most ``ahead`` of them waiting in memory."""
    running: deque[Future[Result]] = deque()
    try:
        for task in tasks:
            if len(running) == ahead:
                yield running.popleft().result()
            running.append(pool.submit(work, task))
        while running:
            yield running.popleft().result()
    finally:  # after an error nobody wants the rest
        for future in running:
            future.cancel()


def _counted(results: Iterator[Result], total: int, progress: Progress) -> Iterator[Result]:
    for done, result in enumerate(results, start=1):
        yield result
        progress(done, total)


def _readable(
    results: Iterator[Result],
    images_dir: Path,
    on_broken: Callable[[BrokenPictureError], None] | None,
) -> Iterator[Labelled]:
    broken = labelled = 0
    for result in results:
        if not isinstance(result, BrokenPictureError):
            labelled += 1
            yield result
        elif on_broken is None:
            raise result
        else:
            broken += 1
            on_broken(result)
    if broken and not labelled:
        raise DataError(f"{images_dir}: expected pictures, but none of {broken} can be used")


def _summary(
    dataset: PanopticDataset, asked: int, options: LabelOptions, seconds: float
) -> dict[str, object]:
    segments = [segment for image in dataset.images for segment in image.segments]
    things = sum(dataset.categories[segment.category_id].isthing for segment in segments)
    return {
        "images": len(dataset.images),
        "left_out": asked - len(dataset.images),
        "segments": len(segments),
        "things": things,
        "stuff": len(segments) - things,
        "assigner": options.assigner,
        "edges": None if options.edges_dir is None else str(options.edges_dir),
        "checkpoint": None if options.checkpoint is None else str(options.checkpoint),
        "network_side": options.network_side,
        "max_side": None if options.assigner == NETWORK else options.max_side,
        "seconds": round(seconds, 3),
    }
