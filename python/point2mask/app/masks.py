"""Clicks on a picture to its segment map, fast enough to be seen at once."""

import copy
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from point2mask.app.storage import ConflictError
from point2mask.data.errors import DataError
from point2mask.data.files import resolve_inside
from point2mask.data.marks import NO_MARKS, Marks
from point2mask.data.png import read_rgb
from point2mask.data.records import Category, ImageRecord
from point2mask.data.segments import runs
from point2mask.data.targets import PointTarget
from point2mask.label import DEFAULT_ASSIGNER, PICTURE_ASSIGNERS, PreparedImage
from point2mask.label.folder import find_edges, read_edges
from point2mask.label.prompts import PromptableNetwork
from point2mask.label.proposals import propose_targets
from point2mask.label.scene import enlarged
from point2mask.label.size import working_size

if TYPE_CHECKING:
    from point2mask.label.network import NetworkMaps, TrainedNetwork

BUILT_IN, EDGE_MAPS, NETWORK, PROMPTS = "built-in", "edge maps", "checkpoint", "prompts"
# Pictures whose click-independent part stays in memory: 15 to 35 MB each, 200 of 48 megapixels.
KEPT = 4

Labels = NDArray[np.int32]


Prepared: TypeAlias = "PreparedImage | NetworkMaps"  # a picture, whatever the clicks are


@dataclass(frozen=True)
class Cues:
    """What masks are made from beside the clicks."""

    edges_dir: Path | None = None  # a grey picture of edge strength an image
    network: "TrainedNetwork | None" = None
    prompts: PromptableNetwork | None = None
    max_side: int | None = None

    @property
    def names(self) -> list[str]:
        """Those that can be chosen."""
        available = {
            BUILT_IN: True,
            EDGE_MAPS: self.edges_dir is not None,
            NETWORK: self.network is not None,
            PROMPTS: self.prompts is not None,
        }
        return [name for name, there in available.items() if there]


@dataclass
class _Kept:
    """A picture under one cue. ``lock`` is held while the rest is used."""

    make: Callable[[], Prepared]
    lock: threading.Lock
    made: "Prepared | None" = None
    used: set[str] = field(default_factory=set)  # assigners whose first, slow masks are made

    @property
    def prepared(self) -> Prepared:
        self.made = self.made or self.make()
        return self.made


class Masks:
    """Segment maps of a folder's pictures.

    Threads may share it. Pictures do not wait for each other, but where all need the network.
    """

    def __init__(self, folder: Path, cues: Cues | None = None) -> None:
        self.cues = cues or Cues()
        self._folder = folder
        self._lock = threading.Lock()  # of what is kept
        self._network_lock = threading.Lock()
        self._kept: OrderedDict[object, _Kept] = OrderedDict()

    def as_now(self) -> "Masks":
        """The same with the cues of now, whatever network comes later."""
        return copy.copy(self)

    def use_network(self, network: "TrainedNetwork") -> None:
        """A network from now on, for the cue of that name."""
        with self._lock:
            self.cues = replace(self.cues, network=network)
            for key in [key for key in self._kept if isinstance(key, tuple) and key[0] == NETWORK]:
                del self._kept[key]

    def segment_map(
        self,
        record: ImageRecord,
        targets: Sequence[PointTarget],
        categories: Mapping[int, Category],
        cue: str = BUILT_IN,
        assigner: str = DEFAULT_ASSIGNER,
        wanted: Callable[[], bool] = lambda: True,
        marks: Marks = NO_MARKS,
        small: bool = False,
    ) -> Labels:
        """Ids of the targets ``[H, W]``, 0 where nobody owns a pixel.

        All cues but the checkpoint's give what ``point2mask label`` gives for these clicks.

        Args:
            record: of the picture.
            targets: with their clicks.
            categories: of the targets.
            cue: one of ``cues.names``.
            assigner: one of :data:`point2mask.label.PICTURE_ASSIGNERS`.
            wanted: asked when it is this request's turn: clicks may come faster than masks.
            marks: clicks on nothing, and corrections.
            small: at the size that masks are made at, which is enough to be looked at.

        Raises:
            ConflictError: the map is not wanted any more.
            DataError: an unknown cue or assigner, a picture or an edge map that is missing or
                broken, or a category that the network does not know.
        """
        if assigner not in PICTURE_ASSIGNERS:
            raise DataError(
                f"expected an assigner of {', '.join(PICTURE_ASSIGNERS)}, got {assigner!r}"
            )
        kept = self._keep(record, cue)
        with kept.lock:
            if not wanted():
                raise ConflictError("the clicks have changed since")
            prepared = kept.prepared
            try:
                if isinstance(prepared, PreparedImage):
                    things = [categories[target.category_id].isthing for target in targets]
                    label = prepared.label_small if small else prepared.label
                    index = label(targets, assigner, things, marks)
                else:
                    index = prepared.label(targets, categories, marks)
                    if small:
                        shape = record.height, record.width
                        index = enlarged(index, working_size(shape, self.cues.max_side).shape)
            except ValueError as error:
                raise DataError(f"{record.file_name}: {error}") from error
            kept.used.add(assigner)
        # Entry -1, the last, is void.
        return np.array([target.id for target in targets] + [0], np.int32)[index]

    def propose(
        self,
        record: ImageRecord,
        targets: Sequence[PointTarget],
        categories: Mapping[int, Category],
        marks: Marks = NO_MARKS,
    ) -> list[PointTarget]:
        """Targets for what the network finds and nobody has clicked.

        Raises:
            DataError: there is no network, or a picture that is missing or broken.
        """
        network = self.cues.network
        if network is None:
            raise DataError("there is no network that could propose clicks: train one first")
        path = resolve_inside(self._folder, record.file_name)
        image = read_rgb(path, (record.height, record.width))
        with self._network_lock:
            ids, segments = network.find(image)
        return propose_targets(ids, segments, network.categories, categories, targets, marks.rest)

    def warm(self, record: ImageRecord, cue: str, assigner: str) -> None:
        """Does all that does not depend on the clicks, so that the first one is quick."""
        middle = PointTarget(1, 1, ((record.width / 2, record.height / 2),))
        kept = self._keep(record, cue)
        with kept.lock:
            prepared = kept.prepared
            if isinstance(prepared, PreparedImage) and assigner in {*PICTURE_ASSIGNERS} - kept.used:
                prepared.label([middle], assigner)
                kept.used.add(assigner)

    def _keep(self, record: ImageRecord, cue: str) -> _Kept:
        cues = self.cues
        if cue not in cues.names:
            raise DataError(f"expected a cue of {', '.join(cues.names)}, got {cue!r}")
        path = resolve_inside(self._folder, record.file_name)
        edges_path = None
        if cue == EDGE_MAPS and cues.edges_dir is not None:
            edges_path = find_edges(record, cues.edges_dir)
        network = id(cues.network) if cue == NETWORK else None
        key = cue, record, network, _stamp(path), edges_path and _stamp(edges_path)

        def make() -> Prepared:
            image = read_rgb(path, (record.height, record.width))
            if cue == NETWORK and cues.network is not None:
                return cues.network.prepare(image)
            edges = None if edges_path is None else read_edges(edges_path)
            prompts = cues.prompts if cue == PROMPTS else None
            return PreparedImage(image, edges, cues.max_side, prompts)

        with self._lock:
            if key not in self._kept:
                lock = self._network_lock if cue == NETWORK else threading.Lock()
                self._kept[key] = _Kept(make, lock)
            self._kept.move_to_end(key)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
            return self._kept[key]


def _stamp(path: Path) -> tuple[Path, int, int]:
    """Another one where the file is another."""
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"{path}: expected a picture, but {error.strerror}") from error
    return path, status.st_mtime_ns, status.st_size


def packed(labels: Labels) -> bytes:
    """A map ``[H, W]`` in row-major runs: little-endian uint32 numbers H, W, n, n starts, n ids."""
    values, lengths = runs(labels)
    starts = lengths.cumsum() - lengths
    numbers = np.concatenate(([*labels.shape, len(starts)], starts, values))
    return numbers.astype("<u4").tobytes()
