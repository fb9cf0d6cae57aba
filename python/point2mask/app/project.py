"""The labels of a folder: its pictures, categories and clicks, saved at every change."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from point2mask.app.folder import list_names
from point2mask.data.errors import DataError
from point2mask.data.files import resolve_inside
from point2mask.data.png import DEFAULT_LIMIT, SizeLimit, picture_size
from point2mask.data.points import (
    PointLabels,
    PointTarget,
    check_targets,
    read_points,
    write_points,
)
from point2mask.data.records import Category, ImageId, ImageRecord, default_color

POINTS_NAME = "points.json"
HISTORY = 200  # steps of an image that can be undone
MAX_POINTS = 2000  # on one image
MAX_CATEGORIES = 1000

Targets = tuple[PointTarget, ...]
Arguments = ParamSpec("Arguments")
Returned = TypeVar("Returned")


class ConflictError(DataError):
    """Somebody else was faster: what the caller knows is no longer so."""


@dataclass
class Clicks:
    """The clicks on one image, and how they came about."""

    record: ImageRecord
    targets: Targets = ()
    noted: bool = False  # in the file from the start, where it then stays, clicks or not
    revision: int = 0  # grows with every change
    past: list[Targets] = field(default_factory=list)
    future: list[Targets] = field(default_factory=list)


def _locked(
    method: Callable[Concatenate["Project", Arguments], Returned],
) -> Callable[Concatenate["Project", Arguments], Returned]:
    def one_at_a_time(
        self: "Project", /, *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Returned:
        with self._lock:
            return method(self, *args, **kwargs)

    one_at_a_time.__doc__ = method.__doc__
    return one_at_a_time


class Project:
    """A folder of pictures with its ``points.json``. Threads may share it.

    The file is the one truth: it is written, beside itself and then renamed, before a change
    counts. It holds the images that have clicks, and those that it held from the start.

    Attributes:
        folder: of the pictures.
        path: of the JSON.
        names: of the pictures; images are spoken of by their index in it.
        outside: names left out since they are links that lead out of the folder.
    """

    def __init__(
        self,
        folder: Path,
        categories: Mapping[int, Category] | None = None,
        without: Path | None = None,
        limit: SizeLimit = DEFAULT_LIMIT,
    ) -> None:
        """
        Args:
            folder: of the pictures.
            categories: to begin with, where the folder has no ``points.json`` yet.
            without: a folder whose pictures are left out.
            limit: the largest picture that is opened.

        Raises:
            DataError: no such folder, no picture in it, or a ``points.json`` that cannot be read.
        """
        self.folder = folder
        self.names, self.outside = list_names(folder, without)
        if not self.names:
            raise DataError(f"{folder}: expected pictures to label, got none")
        self.path = resolve_inside(folder, POINTS_NAME)
        self._limit = limit
        self._lock = threading.RLock()
        self._categories = dict(categories or {})
        self._clicks: dict[str, Clicks] = {}
        self._measured: set[str] = set()
        self._stamp = self._file_stamp()
        if self._stamp is not None:
            labels = read_points(self.path, limit)
            self._categories = dict(labels.categories)
            for record, targets in labels.images:
                if record.file_name in self._clicks:
                    raise DataError(
                        f"{self.path}: expected every image once, got {record.file_name} again"
                    )
                self._clicks[record.file_name] = Clicks(record, tuple(targets), True)

    @property
    @_locked
    def categories(self) -> dict[int, Category]:
        return dict(self._categories)

    @_locked
    def counts(self) -> list[int]:
        """The number of targets of every picture."""
        return [len(self._clicks[n].targets) if n in self._clicks else 0 for n in self.names]

    @property
    def strangers(self) -> int:
        """Images of the JSON that are not in the folder; they stay in the file as they are."""
        return len(self._clicks.keys() - set(self.names))

    @_locked
    def clicks(self, index: int) -> Clicks:
        """The clicks on a picture, whose header is read the first time.

        Raises:
            DataError: no such picture, or it is broken, too large or of another size than noted.
        """
        if not 0 <= index < len(self.names):
            raise DataError(f"expected a picture from 0 to {len(self.names) - 1}, got {index}")
        name = self.names[index]
        if name not in self._measured:
            path = resolve_inside(self.folder, name)
            height, width = picture_size(path, self._limit)
            if name not in self._clicks:
                record = ImageRecord(self._new_image_id(), name, height, width)
                self._clicks[name] = Clicks(record)
            record = self._clicks[name].record
            if (record.height, record.width) != (height, width):
                raise DataError(
                    f"{path}: expected {record.width} x {record.height} pixels as noted in "
                    f"{POINTS_NAME}, got {width} x {height}"
                )
            self._measured.add(name)
        return self._clicks[name]

    @_locked
    def change(self, index: int, revision: int, targets: Sequence[PointTarget]) -> Clicks:
        """Gives a picture other targets and saves.

        Raises:
            ConflictError: the picture is not at ``revision``, or the file was written by another
                program.
            DataError: targets that :func:`~point2mask.data.write_points` refuses, or too many.
        """
        clicks = self._at(index, revision)
        points = sum(len(target.points) for target in targets)
        if points > MAX_POINTS:
            raise DataError(f"expected at most {MAX_POINTS} clicks on an image, got {points}")
        check_targets(clicks.record, list(targets), self._categories, clicks.record.file_name)
        past = [*clicks.past, clicks.targets][-HISTORY:]
        return self._replace(clicks, tuple(targets), past, [])

    @_locked
    def undo(self, index: int, revision: int) -> Clicks:
        """The last change of a picture undone; errors as for :meth:`change`."""
        clicks = self._at(index, revision)
        if not clicks.past:
            raise DataError(f"{clicks.record.file_name}: there is nothing to undo")
        future = [*clicks.future, clicks.targets]
        return self._replace(clicks, clicks.past[-1], clicks.past[:-1], future)

    @_locked
    def redo(self, index: int, revision: int) -> Clicks:
        """The last change undone done again; errors as for :meth:`change`."""
        clicks = self._at(index, revision)
        if not clicks.future:
            raise DataError(f"{clicks.record.file_name}: there is nothing to redo")
        past = [*clicks.past, clicks.targets]
        return self._replace(clicks, clicks.future[-1], past, clicks.future[:-1])

    @_locked
    def add_category(self, name: str, isthing: bool) -> Category:
        """A new category with the next free id and a colour of its own."""
        self._check_name(name)
        if len(self._categories) >= MAX_CATEGORIES:
            raise DataError(f"expected at most {MAX_CATEGORIES} categories")
        identity = max(self._categories, default=0) + 1
        category = Category(identity, name, isthing, default_color(identity))
        self._save_categories({**self._categories, identity: category})
        return category

    @_locked
    def change_category(
        self, identity: int, name: str, color: tuple[int, int, int] | None = None
    ) -> Category:
        """Another name and, if given, another colour for a category."""
        category = self._category(identity)
        self._check_name(name, but=identity)
        category = replace(category, name=name, color=color or category.color)
        self._save_categories({**self._categories, identity: category})
        return category

    @_locked
    def remove_category(self, identity: int) -> None:
        """Removes a category that no target has; changes that speak of it can't be undone."""
        category = self._category(identity)
        used = sum(t.category_id == identity for c in self._clicks.values() for t in c.targets)
        if used:
            raise DataError(f"expected a category without targets, but {category.name} has {used}")
        left = {key: value for key, value in self._categories.items() if key != identity}
        self._save_categories(left)
        for clicks in self._clicks.values():
            steps = (*clicks.past, *clicks.future)
            if any(target.category_id == identity for step in steps for target in step):
                clicks.past, clicks.future = [], []

    @_locked
    def labels(self) -> PointLabels:
        """The pictures of the folder that have clicks, in the order of the names."""
        known = [self._clicks[name] for name in self.names if name in self._clicks]
        chosen = [(clicks.record, list(clicks.targets)) for clicks in known if clicks.targets]
        return PointLabels(dict(self._categories), chosen)

    def _at(self, index: int, revision: int) -> Clicks:
        clicks = self.clicks(index)
        if clicks.revision != revision:
            raise ConflictError(
                f"{clicks.record.file_name}: its clicks were changed in another window"
            )
        return clicks

    def _replace(
        self, clicks: Clicks, targets: Targets, past: list[Targets], future: list[Targets]
    ) -> Clicks:
        changed = replace(
            clicks, targets=targets, revision=clicks.revision + 1, past=past, future=future
        )
        self._save(self._categories, {**self._clicks, clicks.record.file_name: changed})
        return changed

    def _save_categories(self, categories: dict[int, Category]) -> None:
        self._save(categories, self._clicks)

    def _save(self, categories: dict[int, Category], clicks: dict[str, Clicks]) -> None:
        """Writes the file and, if that went well, takes over what it says."""
        if self._file_stamp() != self._stamp:
            raise ConflictError(
                f"{self.path}: another program has changed it; start again to go on from there"
            )
        kept = [(c.record, list(c.targets)) for c in clicks.values() if c.targets or c.noted]
        write_points(self.path, PointLabels(categories, kept))
        self._stamp = self._file_stamp()
        self._categories, self._clicks = categories, clicks

    def _file_stamp(self) -> tuple[int, int, int] | None:
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    def _new_image_id(self) -> ImageId:
        known = [c.record.id for c in self._clicks.values()]
        return max((key for key in known if isinstance(key, int)), default=0) + 1

    def _category(self, identity: int) -> Category:
        if identity not in self._categories:
            raise DataError(f"expected the id of a category, got {identity}")
        return self._categories[identity]

    def _check_name(self, name: str, but: int | None = None) -> None:
        if any(c.name == name and c.id != but for c in self._categories.values()):
            raise DataError(f"expected a new name for the category, but {name!r} exists")
