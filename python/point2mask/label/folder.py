"""Clicks on a folder of pictures to a COCO panoptic data set, picture by picture, in processes."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

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
from point2mask.label.pipeline import DEFAULT_ASSIGNER, DEFAULT_MAX_SIDE, label_image
from point2mask.progress import Progress, ignore
from point2mask.visualize import overlay

Item = tuple[ImageRecord, list[PointTarget]]
Labelled = tuple[ImageRecord, NDArray[np.int32], list[Segment]]
EDGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class LabelOptions:
    assigner: str = DEFAULT_ASSIGNER
    edges_dir: Path | None = None  # a grey picture of edge strength an image, of the same stem
    max_side: int = DEFAULT_MAX_SIDE
    overlays: bool = True


def label_folder(
    images_dir: str | Path,
    labels: PointLabels,
    out_dir: str | Path,
    options: LabelOptions = LabelOptions(),
    workers: int | None = None,
    progress: Progress = ignore,
) -> PanopticDataset:
    """Labels every image of ``labels`` and writes the result into a folder.

    Written are ``panoptic/*.png`` and ``panoptic.json``, whose segments have the ids of the
    targets, ``overlays/*.jpg`` and ``summary.json``. Every file is written atomically, the JSON
    files last: an interrupted run leaves whole files only and can simply be started again.

    Args:
        images_dir: the folder that the file names of the images start from.
        labels: the clicks.
        out_dir: made if need be; files of an earlier run are replaced.
        options: how.
        workers: processes, by default one a CPU. The result does not depend on it.
        progress: called after every image.

    Raises:
        DataError: a picture or an edge map is missing, broken or of another size.
    """
    images_dir, out_dir = Path(images_dir), Path(out_dir)
    start = time.perf_counter()
    edges = find_edges(labels, options.edges_dir)
    work = partial(_label_item, images_dir, out_dir, labels.categories, options)
    tasks = [(item, edges.get(item[0].file_name)) for item in labels.images]
    workers = min(workers or os.cpu_count() or 1, len(tasks))
    with ExitStack() as stack:
        if workers < 2:
            results: Iterator[Labelled] = map(work, tasks)
        else:
            # Fresh processes, as forking one with threads (torch's, say) can hang.
            pool = stack.enter_context(ProcessPoolExecutor(workers, get_context("spawn")))
            results = _in_order(pool, work, tasks, ahead=4 * workers)
        items = _counted(results, len(tasks), progress)
        dataset = write_panoptic(
            out_dir / "panoptic.json", out_dir / "panoptic", labels.categories, items
        )
    write_json(out_dir / "summary.json", _summary(dataset, options, time.perf_counter() - start))
    return dataset


def find_edges(labels: PointLabels, edges_dir: Path | None) -> dict[str, Path]:
    """The edge picture of every image by the image's file name; empty without a folder.

    An image ``sub/name.jpg`` has its edges in ``sub/name.png`` (or another picture format).
    """
    if edges_dir is None:
        return {}
    found: dict[str, Path] = {}
    for record, _ in labels.images:
        stem = Path(record.file_name).with_suffix("")
        paths = [resolve_inside(edges_dir, f"{stem}{suffix}") for suffix in EDGE_SUFFIXES]
        existing = [path for path in paths if path.is_file()]
        if not existing:
            raise DataError(
                f"{edges_dir}: expected a picture of edges for every image, got none for "
                f"{record.file_name} (looked for {paths[0].name} and other formats)"
            )
        found[record.file_name] = existing[0]
    return found


def _label_item(
    images_dir: Path,
    out_dir: Path,
    categories: dict[int, Category],
    options: LabelOptions,
    task: tuple[Item, Path | None],
) -> Labelled:
    (record, targets), edges_path = task
    path = resolve_inside(images_dir, record.file_name)
    image = read_rgb(path, (record.height, record.width))
    edges = None if edges_path is None else read_rgb(edges_path).mean(axis=2)
    index = label_image(
        image,
        targets,
        assigner=options.assigner,
        edges=edges,
        max_side=options.max_side,
        is_thing=[categories[target.category_id].isthing for target in targets],
    )
    # Entry -1, the last, is void.
    ids = np.array([target.id for target in targets] + [0], np.int32)[index]
    segments = [Segment(t.id, t.category_id, t.iscrowd) for t in targets]
    if options.overlays:
        name = Path(record.file_name).with_suffix(".jpg").as_posix()
        picture = overlay(image, ids, segments, categories, targets)
        write_rgb(resolve_inside(out_dir / "overlays", name), picture)
    return record, ids, segments


def _in_order(
    pool: ProcessPoolExecutor,
    work: Callable[[tuple[Item, Path | None]], Labelled],
    tasks: list[tuple[Item, Path | None]],
    ahead: int,
) -> Iterator[Labelled]:
    """Results in the order of the tasks, at most ``ahead`` of them waiting in memory."""
    running: deque[Future[Labelled]] = deque()
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


def _counted(results: Iterator[Labelled], total: int, progress: Progress) -> Iterator[Labelled]:
    for done, result in enumerate(results, start=1):
        yield result
        progress(done, total)


def _summary(dataset: PanopticDataset, options: LabelOptions, seconds: float) -> dict[str, object]:
    segments = [segment for image in dataset.images for segment in image.segments]
    things = sum(dataset.categories[segment.category_id].isthing for segment in segments)
    return {
        "images": len(dataset.images),
        "segments": len(segments),
        "things": things,
        "stuff": len(segments) - things,
        "assigner": options.assigner,
        "edges": None if options.edges_dir is None else str(options.edges_dir),
        "max_side": options.max_side,
        "seconds": round(seconds, 3),
    }
