"""Clicks on a folder of pictures to a COCO panoptic data set, picture by picture, in processes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from point2mask.data import (
    BrokenPictureError,
    Category,
    DataError,
    ImageRecord,
    PointLabels,
    PointTarget,
    Segment,
    read_rgb,
)
from point2mask.data.files import file_size, fingerprint, resolve_inside
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
from point2mask.data.marks import NO_MARKS, Marks
from point2mask.data.places import is_folder, path_of
from point2mask.data.png import PICTURE_SUFFIXES
from point2mask.data.results import Making, ResultFolder
from point2mask.data.sequences import Mapped
from point2mask.label.paths import few_pixels
from point2mask.label.pipeline import DEFAULT_ASSIGNER, AssignerName, label_image
from point2mask.label.size import too_small, working_size
from point2mask.progress import Progress, ignore
from point2mask.visualize import overlay
from point2mask.workers import Stages

if TYPE_CHECKING:
    from point2mask.label.network import TrainedNetwork
    from point2mask.label.prompts import PromptableNetwork
    from point2mask.models.precision import Precision

Item = tuple[ImageRecord, list[PointTarget], Marks]
# What is asked, its pixels, and the edges (None where only the built-in ones are used), or the
# targets of the pixels where the network makes the masks.
Seen = tuple[Item, NDArray[np.uint8], Any]
Read = tuple[Known, Sequence[Item], list[Seen | BrokenPictureError]]
MOST_COLOR = 8  # of 255, between channels of a grey picture that was stored as a JPEG with colours
# In the order they are looked for: beside name.jpg in one folder the edges are name.png.
EDGE_SUFFIXES = (".png", *(suffix for suffix in PICTURE_SUFFIXES if suffix != ".png"))

NETWORK: Literal["network"] = "network"  # the assigner that leaves everything to a trained network


@dataclass(frozen=True)
class LabelOptions:
    """How pictures are labelled.

    Attributes:
        assigner: one of :data:`point2mask.label.PICTURE_ASSIGNERS`, or ``network``: what the
            network of ``checkpoint`` grows from the clicks.
        edges_dir: a grey picture of edge strength for every image, of the same stem.
        max_side: pixels of the longer side to work at; by default it follows picture and clicks.
        overlays: whether pictures tinted by their masks are written.
        checkpoint: folder of a run or of ``save_pretrained``; the boundaries that its network has
            learned are the edges, unless the assigner is ``network``.
        network_side: pixels of the short side that the network sees; by default as its test images.
        device: where the network runs, as torch names it. Results that are resumed may come from
            several kinds.
        precision: that the network computes in.
        prompts: folder of a promptable network, see
            :class:`~point2mask.label.prompts.PromptableNetwork`; not for ``network``.
        redraw: whether things are drawn anew by the queries of the network that draw them, see
            :mod:`point2mask.label.redraw`; with ``network`` only.
    """

    assigner: AssignerName | Literal["network"] = DEFAULT_ASSIGNER
    edges_dir: Path | None = None
    max_side: int | None = None
    overlays: bool = True
    checkpoint: Path | None = None
    network_side: int | None = None
    device: str = "cpu"
    precision: "Precision" = "float32"
    prompts: Path | None = None
    redraw: bool = False

    def __post_init__(self) -> None:
        if self.checkpoint is None and (self.assigner == NETWORK or self.network_side is not None):
            raise ValueError(f"assigner {NETWORK!r} and network_side need a checkpoint")
        if self.checkpoint is not None and self.edges_dir is not None:
            raise ValueError("edges_dir and checkpoint both give edges, expected one of them")
        if self.prompts is not None and self.assigner == NETWORK:
            raise ValueError(f"assigner {NETWORK!r} asks no promptable network")
        if self.redraw and self.assigner != NETWORK:
            raise ValueError(f"redraw needs assigner {NETWORK!r}, got {self.assigner!r}")


def label_folder(
    images_dir: str | Path,
    labels: PointLabels,
    out_dir: str | Path,
    options: LabelOptions = LabelOptions(),
    spreading: Spreading = ONE_PROCESS,
    progress: Progress = ignore,
    on_broken: Callable[[BrokenPictureError], None] | None = None,
) -> Made:
    """Labels the images of ``labels`` and writes the result into a folder.

    Written are ``panoptic/*.png`` and ``overlays/*.jpg``, with a record of every picture in
    ``records``, and at the end ``panoptic.json``, whose segments have the ids of the targets, and
    ``summary.json``; a part of a run leaves these two to :func:`point2mask.data.gather`. Every file
    is written atomically. The files are the same however the work is shared out and whenever it is
    interrupted and resumed.

    Args:
        images_dir: the folder that the file names of the images start from.
        labels: the clicks.
        out_dir: made if need be. Must be empty, or of an earlier run that is resumed.
        options: how.
        spreading: which pictures, and by which processes.
        progress: called after every image.
        on_broken: called for every image that cannot be read and is left out of the result; None
            makes the first of them an error.

    Raises:
        BrokenPictureError: a picture is missing, broken or of another size, or an edge map is
            broken.
        DataError: no folder of pictures, an image without edge map, no checkpoint or one that does
            not know a category (``network`` only), an ``out_dir`` with other results, clicks that
            :func:`label_image` refuses, or no picture that can be read.
    """
    images_dir, out_dir = path_of(images_dir), path_of(out_dir)
    if not is_folder(images_dir):
        fault = "it is not a folder" if images_dir.exists() else "there is no such folder"
        raise DataError(f"{images_dir}: expected the folder of the pictures, but {fault}")
    if options.edges_dir is not None:
        for record, _ in labels.images:
            find_edges(record, options.edges_dir)
    settings = _settings(labels, options, spreading.batch)
    making = Making("label", version("point2mask"), settings, options.overlays)
    categories = labels.categories
    folder = ResultFolder(out_dir)
    stages = Stages(
        partial(_read, images_dir, folder, making, categories, options),
        partial(_find, options, categories),
        partial(_write, folder, categories, options),
    )
    return make_results(
        out_dir,
        making,
        categories,
        labels.records,
        stages.__call__ if options.checkpoint is None else stages,
        Mapped(partial(_item, labels), range(len(labels.images))),
        spreading,
        progress,
        on_broken,
        float(options.device.startswith("cuda")),
    )


def _settings(labels: PointLabels, options: LabelOptions, batch: int) -> dict[str, object]:
    """All that decides about masks, beside the clicks; a network is known by its weights."""
    settings: dict[str, object] = {
        "assigner": options.assigner,
        "edges": options.edges_dir is not None,
        "checkpoint": None,
        "network_side": options.network_side,
        "max_side": None if options.assigner == NETWORK else options.max_side,
        "prompts": None,
    }
    if options.prompts is not None:
        _prompts.cache_clear()  # the files may be others since
        settings["prompts"] = _prompts(options.prompts).digest()
    if options.checkpoint is not None:
        forget_network()  # the run may have gone on since
        network = _network(options)
        settings["checkpoint"] = network.digest()
        settings["batch"] = batch
        if options.assigner == NETWORK:
            for key in sorted(_used(labels)):
                network.channel_of(labels.categories[key])
    return settings


def _item(labels: PointLabels, index: int) -> Item:
    record, targets = labels.images[index]
    return record, targets, labels.marks.get(record.id, NO_MARKS)


def _used(labels: PointLabels) -> set[int]:
    """Categories that have a target."""
    return {target.category_id for _, targets in labels.images for target in targets}


def find_edges(record: ImageRecord, edges_dir: Path) -> Path:
    """The edge picture of an image.

    An image ``sub/name.jpg`` has its edges in ``sub/name.png`` (or another picture format).
    """
    stem = Path(record.file_name).with_suffix("")
    paths = [resolve_inside(edges_dir, f"{stem}{suffix}") for suffix in EDGE_SUFFIXES]
    existing = [path for path in paths if file_size(path) is not None]
    if not existing:
        raise DataError(
            f"{edges_dir}: expected a picture of edges for every image, got none for "
            f"{record.file_name} (looked for {paths[0].name} and other formats)"
        )
    return existing[0]


def read_edges(path: Path) -> NDArray[np.floating]:
    """Edge strength ``[h, w]`` of an edge picture, the mean of its channels.

    Raises:
        DataError: it is no picture, or has colours.
    """
    channels = read_rgb(path)
    apart = int((channels.max(axis=2) - channels.min(axis=2)).max())
    if apart > MOST_COLOR:
        raise DataError(
            f"{path}: expected a grey picture of edges, got one with colours: channels of a pixel "
            f"differ by up to {apart} of 255"
        )
    return np.asarray(channels.mean(axis=2))


def _read(
    images_dir: Path,
    folder: ResultFolder,
    making: Making,
    categories: dict[int, Category],
    options: LabelOptions,
    items: Sequence[Item],
) -> Read:
    """The pictures of a batch and their edges, unless the results of all are there."""
    paths = [_paths(images_dir, options.edges_dir, record) for record, _, _ in items]
    inputs = [_inputs(item, files, categories) for item, files in zip(items, paths, strict=True)]
    known = look_up(folder, making, [record for record, _, _ in items], inputs)
    if known.all_there:
        return known, items, []
    pairs = zip(items, paths, strict=True)
    return known, items, [unless_broken(partial(_look_at, item, *files)) for item, files in pairs]


def _look_at(item: Item, path: Path, edges_path: Path | None) -> Seen:
    record = item[0]
    image = read_rgb(path, (record.height, record.width), frame=record.frame)
    return item, image, None if edges_path is None else read_edges(edges_path)


def _find(options: LabelOptions, categories: dict[int, Category], read: Read) -> Read:
    """The same with what the network says, where there is one: edges, or the masks."""
    if options.checkpoint is None:
        return read
    known, items, seen = read
    return known, items, of_whole(partial(_ask, options, categories), seen)


def _ask(
    options: LabelOptions, categories: dict[int, Category], whole: list[Seen]
) -> Iterator[Seen]:
    images, names = zip(*((image, item[0].file_name) for item, image, _ in whole), strict=True)
    maps = _network(options).prepare_batch(images, names)
    said: Sequence[NDArray[np.floating]] | Sequence[NDArray[np.int32]]
    if options.assigner == NETWORK:
        clicked = [(targets, marks) for (_, targets, marks), _, _ in whole]
        said = maps.label_batch(clicked, categories)
    else:
        said = maps.edges()
    for (item, image, _), one in zip(whole, said, strict=True):
        yield item, image, one


def _write(
    folder: ResultFolder, categories: dict[int, Category], options: LabelOptions, read: Read
) -> list[Outcome]:
    known, items, seen = read
    made = of_whole(partial(map, partial(_made, options, categories)), seen)
    outcomes = put_pictures(folder, categories, known, made)
    if options.assigner == NETWORK or options.prompts is not None:
        return outcomes
    notes = [_note(record, targets, options) for record, targets, _ in items]
    return [replace(outcome, note=note) for outcome, note in zip(outcomes, notes, strict=True)]


def _paths(
    images_dir: Path, edges_dir: Path | None, record: ImageRecord
) -> tuple[Path, Path | None]:
    """A picture, and its edges where there is a folder of them."""
    edges = None if edges_dir is None else find_edges(record, edges_dir)
    return resolve_inside(images_dir, record.file_name), edges


def _inputs(
    item: Item, paths: tuple[Path, Path | None], categories: Mapping[int, Category]
) -> Sequence[object]:
    """All that the masks of a picture follow from, beside the settings, as plain values."""
    _, targets, marks = item
    used = {target.category_id: categories[target.category_id] for target in targets}
    return [
        [msgspec.structs.asdict(target) for target in targets],
        [asdict(category) for category in used.values()],
        msgspec.to_builtins((marks.rest, marks.strokes)),
        [None if path is None else fingerprint(path) for path in paths],
    ]


def _note(record: ImageRecord, targets: Sequence[PointTarget], options: LabelOptions) -> str:
    clicks = [target.points for target in targets if target.points]
    shape = record.height, record.width
    size = working_size(shape, options.max_side, clicks)
    note = too_small(shape, size, clicks)
    if note or not clicks or options.assigner != "transport":
        return note
    if not few_pixels(size, len(clicks)):
        return ""
    return (
        f"{len(clicks)} targets are too many for areas to be known well: --assigner merge has no "
        "such limit"
    )


def _made(options: LabelOptions, categories: dict[int, Category], seen: Seen) -> MadePicture:
    item, image, said = seen
    _, targets, _ = item
    index = said if options.assigner == NETWORK else _label(image, item, said, categories, options)
    # Entry -1, the last, is void.
    ids = np.array([target.id for target in targets] + [0], np.int32)[index]
    segments = [Segment(t.id, t.category_id, t.iscrowd) for t in targets]
    drawn = overlay(image, ids, segments, categories, targets) if options.overlays else None
    return ids, segments, drawn


def _label(
    image: NDArray[np.uint8],
    item: Item,
    edges: NDArray[np.floating] | None,
    categories: dict[int, Category],
    options: LabelOptions,
) -> NDArray[np.int32]:
    """The index of every pixel's target, -1 for none."""
    record, targets, marks = item
    assert options.assigner != "network"
    try:
        return label_image(
            image,
            targets,
            assigner=options.assigner,
            edges=edges,
            max_side=options.max_side,
            is_thing=[categories[target.category_id].isthing for target in targets],
            marks=marks,
            prompts=None if options.prompts is None else _prompts(options.prompts),
        )
    except ValueError as error:
        raise DataError(f"{record.file_name}: {error}") from error


@cache
def _prompts(folder: Path) -> "PromptableNetwork":
    """One a process."""
    from point2mask.label.prompts import PromptableNetwork

    return PromptableNetwork(folder)


def forget_network() -> None:
    """Gives the memory of the network that labelled last free."""
    _network.cache_clear()


@cache
def _network(options: LabelOptions) -> "TrainedNetwork":
    """One a process; training code is loaded only where a network is asked for."""
    from point2mask.hub import load_predictor
    from point2mask.label.network import TrainedNetwork

    assert options.checkpoint is not None
    predictor = load_predictor(options.checkpoint, options.device, options.precision)
    return TrainedNetwork(predictor, options.network_side, options.redraw)
