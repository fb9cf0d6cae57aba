"""The labels of a folder: its pictures, categories and marks, saved at every change."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import msgspec

from point2mask.app.clicks import Clicks, State, check_stuff, labels_of, step, stuff_merged
from point2mask.app.folder import find_pictures
from point2mask.app.storage import ConflictError, Storage
from point2mask.data.errors import DataError
from point2mask.data.files import resolve_inside
from point2mask.data.frames import STORED
from point2mask.data.marks import NO_MARKS, Marks, Status
from point2mask.data.png import picture_size
from point2mask.data.point_json import POINTS_NAME
from point2mask.data.points import read_points
from point2mask.data.records import Category, ImageRecord, default_color
from point2mask.data.report import Report
from point2mask.data.targets import PointLabels, PointTarget, check_image_marks, check_targets
from point2mask.data.turning import turn_labels
from point2mask.messages import number_of

HISTORY = 200  # steps of an image, or of the categories, that can be undone
MAX_POINTS = 2000  # on one image
MAX_STROKES = 2000
MAX_CATEGORIES = 1000

Arguments = ParamSpec("Arguments")
Returned = TypeVar("Returned")


@dataclass
class _Categories:
    """The categories, and how they came about."""

    now: dict[int, Category]
    past: list[dict[int, Category]] = field(default_factory=list)
    future: list[dict[int, Category]] = field(default_factory=list)


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

    What is on the disk is the one truth: a change is written before it counts, see
    :class:`~point2mask.app.storage.Storage`. The file holds the images of which something is said,
    and those that it held from the start.

    Attributes:
        folder: of the pictures.
        path: of the JSON.
        names: of the pictures; images are spoken of by their index in it.
        notes: what was left out, a line each.
    """

    def __init__(
        self,
        folder: Path,
        categories: Mapping[int, Category] | None = None,
        without: Path | None = None,
    ) -> None:
        """
        Args:
            folder: of the pictures.
            categories: to begin with, where the folder has no ``points.json`` yet.
            without: a folder whose pictures are left out.

        Raises:
            DataError: no such folder, no picture in it, or a ``points.json`` that cannot be read.
        """
        self.folder = folder
        found = find_pictures(folder, without)
        self.names, self.notes = found.names, found.notes()
        if not self.names:
            more = "".join(f"; {note}" for note in self.notes)
            raise DataError(f"{folder}: expected pictures to label, got none{more}")
        self.path = resolve_inside(folder, POINTS_NAME)
        self._lock = threading.RLock()
        self._categories = _Categories(dict(categories or {}))
        self._clicks: dict[str, Clicks] = {}
        self._counts: Counter[int] = Counter()  # targets of every category
        self._measured: set[str] = set()
        self._last_id = 0
        self._storage = Storage(self.path, self._lock, self._everything)
        if self._storage.exists:
            report = Report()
            labels = turn_labels(read_points(self.path), STORED, folder, report)
            self._take(labels)
            self.notes.extend(report.lines())
            self._storage.settle()
        self.notes.extend(self._storage.notes)

    def _take(self, labels: PointLabels) -> None:
        self._categories = _Categories(dict(labels.categories))
        merged = 0
        for record, given in labels.images:
            targets, marks = stuff_merged(
                given, labels.marks.get(record.id, NO_MARKS), self.categories
            )
            merged += len(given) - len(targets)
            self._clicks[record.file_name] = Clicks(record, targets, marks, True)
            self._counts.update(target.category_id for target in targets)
            if isinstance(record.id, int):
                self._last_id = max(self._last_id, record.id)
        if merged:
            self.notes.append(
                f"{number_of(merged, 'target')} joined another of the same stuff category on their "
                "picture"
            )
        if strangers := len(self._clicks.keys() - set(self.names)):
            self.notes.append(
                f"not in the folder: {number_of(strangers, 'image')} of {POINTS_NAME}, kept "
                "as they are"
            )

    def name_of(self, index: int) -> str:
        """The name of a picture.

        Raises:
            DataError: there is no such picture.
        """
        if not 0 <= index < len(self.names):
            raise DataError(f"expected a picture from 0 to {len(self.names) - 1}, got {index}")
        return self.names[index]

    @property
    @_locked
    def categories(self) -> dict[int, Category]:
        return dict(self._categories.now)

    @_locked
    def category_counts(self) -> dict[int, int]:
        """The number of targets of every category, over all images."""
        return {key: self._counts[key] for key in self._categories.now}

    @_locked
    def overview(self) -> list[tuple[str, int, Status]]:
        """Name, number of targets and status of every picture."""
        known = (self._clicks.get(name) for name in self.names)
        return [
            (name, 0, "") if clicks is None else (name, len(clicks.targets), clicks.marks.status)
            for name, clicks in zip(self.names, known, strict=True)
        ]

    @_locked
    def clicks(self, index: int) -> Clicks:
        """The clicks on a picture, whose header is read the first time.

        Raises:
            DataError: no such picture, or it is broken, too large or of another size than noted.
        """
        name = self.name_of(index)
        if name not in self._measured:
            path = resolve_inside(self.folder, name)
            height, width = picture_size(path)
            if name not in self._clicks:
                self._last_id += 1
                self._clicks[name] = Clicks(ImageRecord(self._last_id, name, height, width))
            record = self._clicks[name].record
            if (record.height, record.width) != (height, width):
                raise DataError(
                    f"{path}: expected {record.width} x {record.height} pixels as noted in "
                    f"{POINTS_NAME}, got {width} x {height}"
                )
            self._measured.add(name)
        return self._clicks[name]

    @_locked
    def change(
        self, index: int, revision: int, targets: Sequence[PointTarget], marks: Marks = NO_MARKS
    ) -> Clicks:
        """Gives a picture other targets and marks, and saves; its status stays.

        Raises:
            ConflictError: the picture is not at ``revision``, or the file was written by another
                program.
            DataError: targets that :func:`~point2mask.data.write_points` refuses, two of one
                category of stuff, or too many.
        """
        clicks = self._at(index, revision)
        marks = msgspec.structs.replace(marks, status=clicks.marks.status)
        points = sum(len(target.points) for target in targets) + len(marks.rest)
        if points > MAX_POINTS:
            raise DataError(f"expected at most {MAX_POINTS} clicks on an image, got {points}")
        if len(marks.strokes) > MAX_STROKES:
            raise DataError(f"expected at most {MAX_STROKES} corrections on an image")
        name = clicks.record.file_name
        check_targets(clicks.record, list(targets), self._categories.now, name)
        check_image_marks(clicks.record, marks, targets, name)
        check_stuff(targets, self._categories.now, name)
        past = (*clicks.past, clicks.state)[-HISTORY:]
        return self._replace(clicks, (tuple(targets), marks), past, ())

    @_locked
    def set_status(self, index: int, revision: int, status: Status) -> Clicks:
        """Notes how far a picture is; no step that is undone. Errors as for :meth:`change`."""
        clicks = self._at(index, revision)
        marks = msgspec.structs.replace(clicks.marks, status=status)
        return self._replace(clicks, (clicks.targets, marks), clicks.past, clicks.future)

    @_locked
    def undo(self, index: int, revision: int) -> Clicks:
        """The last change of a picture undone; errors as for :meth:`change`."""
        clicks = self._at(index, revision)
        if not clicks.past:
            raise DataError(f"{clicks.record.file_name}: there is nothing to undo")
        future = (*clicks.future, clicks.state)
        return self._replace(clicks, step(clicks, clicks.past[-1]), clicks.past[:-1], future)

    @_locked
    def redo(self, index: int, revision: int) -> Clicks:
        """The last change undone done again; errors as for :meth:`change`."""
        clicks = self._at(index, revision)
        if not clicks.future:
            raise DataError(f"{clicks.record.file_name}: there is nothing to redo")
        past = (*clicks.past, clicks.state)
        return self._replace(clicks, step(clicks, clicks.future[-1]), past, clicks.future[:-1])

    @_locked
    def add_category(self, name: str, isthing: bool) -> Category:
        """A new category with the next free id and a colour of its own."""
        self._check_name(name)
        if len(self._categories.now) >= MAX_CATEGORIES:
            raise DataError(f"expected at most {MAX_CATEGORIES} categories")
        identity = max(self._categories.now, default=0) + 1
        category = Category(identity, name, isthing, default_color(identity))
        self._change_categories({**self._categories.now, identity: category})
        return category

    @_locked
    def change_category(
        self,
        identity: int,
        name: str,
        color: tuple[int, int, int] | None = None,
        isthing: bool | None = None,
    ) -> Category:
        """Another name and, if given, another colour and kind for a category.

        Where a thing becomes stuff, its targets on a picture become one.
        """
        category = self._category(identity)
        self._check_name(name, but=identity)
        isthing = category.isthing if isthing is None else isthing
        category = replace(category, name=name, color=color or category.color, isthing=isthing)
        self._change_categories({**self._categories.now, identity: category})
        return category

    @_locked
    def remove_category(self, identity: int) -> None:
        """Removes a category that no target has."""
        category = self._category(identity)
        if used := self._counts[identity]:
            raise DataError(f"expected a category without targets, but {category.name} has {used}")
        now = {key: value for key, value in self._categories.now.items() if key != identity}
        self._change_categories(now)

    @_locked
    def undo_categories(self) -> None:
        """The last change of the categories undone.

        Raises:
            DataError: there is none, or a target has a category that would be gone.
        """
        self._step_categories(self._categories.past, self._categories.future)

    @_locked
    def redo_categories(self) -> None:
        """The last change of the categories undone done again; errors as when it is undone."""
        self._step_categories(self._categories.future, self._categories.past)

    @_locked
    def labels(self, images: Iterable[int] | None = None) -> PointLabels:
        """The pictures of the folder that have clicks, in the order of the names.

        Args:
            images: indices of those that are wanted; by default all but those to skip.
        """
        names = self.names if images is None else [self.names[index] for index in images]
        known = [self._clicks[name] for name in names if name in self._clicks]
        chosen = [
            clicks
            for clicks in known
            if clicks.targets and (images is not None or clicks.marks.status != "skip")
        ]
        for clicks in chosen:
            check_stuff(clicks.targets, self._categories.now, clicks.record.file_name)
        return labels_of(self._categories.now, chosen)

    def close(self) -> None:
        """Brings all changes into the file."""
        self._storage.close()

    def _everything(self) -> PointLabels:
        return labels_of(self._categories.now, [c for c in self._clicks.values() if c.kept])

    def _at(self, index: int, revision: int) -> Clicks:
        clicks = self.clicks(index)
        if clicks.revision != revision:
            raise ConflictError(
                f"{clicks.record.file_name}: its clicks were changed in another window"
            )
        return clicks

    def _replace(
        self, clicks: Clicks, state: State, past: tuple[State, ...], future: tuple[State, ...]
    ) -> Clicks:
        targets, marks = state
        used = {target.category_id for target in targets}
        if missing := used - self._categories.now.keys():
            raise DataError(f"expected a known category, but {min(missing)} was removed since")
        targets, marks = stuff_merged(targets, marks, self._categories.now)
        changed = replace(
            clicks,
            targets=targets,
            marks=marks,
            revision=clicks.revision + 1,
            past=past,
            future=future,
        )
        self._storage.save_image(clicks.record, targets, marks, changed.kept)
        self._counts.subtract(target.category_id for target in clicks.targets)
        self._counts.update(target.category_id for target in targets)
        self._clicks[clicks.record.file_name] = changed
        return changed

    def _change_categories(self, now: dict[int, Category]) -> None:
        before = self._categories
        past = [*before.past, before.now][-HISTORY:]
        self._save_categories(now)
        self._categories = _Categories(now, past, [])
        self._merge_stuff()

    def _step_categories(
        self, source: list[dict[int, Category]], other: list[dict[int, Category]]
    ) -> None:
        if not source:
            raise DataError("there is no change of the categories to undo or do again")
        now = source[-1]
        for key in self._categories.now.keys() - now.keys():
            if self._counts[key]:
                name = self._categories.now[key].name
                raise DataError(f"expected a category without targets, but {name} has some")
        self._save_categories(now)
        other.append(self._categories.now)
        self._categories.now = source.pop()
        self._merge_stuff()

    def _save_categories(self, now: dict[int, Category]) -> None:
        self._storage.save_categories(now)

    def _merge_stuff(self) -> None:
        """Where a thing has become stuff: one target of it a picture."""
        for clicks in list(self._clicks.values()):
            if (
                stuff_merged(clicks.targets, clicks.marks, self._categories.now)[0]
                != clicks.targets
            ):
                past = (*clicks.past, clicks.state)[-HISTORY:]
                self._replace(clicks, clicks.state, past, ())

    def _category(self, identity: int) -> Category:
        if identity not in self._categories.now:
            raise DataError(f"expected the id of a category, got {identity}")
        return self._categories.now[identity]

    def _check_name(self, name: str, but: int | None = None) -> None:
        if any(c.name == name and c.id != but for c in self._categories.now.values()):
            raise DataError(f"expected a new name for the category, but {name!r} exists")
