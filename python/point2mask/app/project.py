"""The labels of a folder: its pictures, categories and marks, saved at every change."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import msgspec

from point2mask.app.categories import Categories, CategoryStep, pictures_after
from point2mask.app.clicks import (
    HISTORY,
    Clicks,
    State,
    check_stuff,
    labels_of,
    number_of_points,
    step,
    stuff_merged,
)
from point2mask.app.folder import find_pictures
from point2mask.app.ids import Ids
from point2mask.app.storage import ConflictError, Storage
from point2mask.data.errors import DataError
from point2mask.data.files import open_regular, resolve_inside
from point2mask.data.frames import STORED
from point2mask.data.json_files import MAX_ID, MAX_IDENTIFIER
from point2mask.data.marks import NO_MARKS, Marks, Status
from point2mask.data.png import picture_size
from point2mask.data.point_json import POINTS_NAME
from point2mask.data.points import read_points
from point2mask.data.records import Category, ImageRecord, default_color
from point2mask.data.report import Report
from point2mask.data.targets import PointLabels, PointTarget, check_image_marks, check_targets
from point2mask.data.turning import turn_labels
from point2mask.messages import number_of

MAX_POINTS = 2000  # on one image
MAX_STROKES = 2000
MAX_CATEGORIES = 1000

Arguments = ParamSpec("Arguments")
Returned = TypeVar("Returned")


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
        self._categories = Categories(dict(categories or {}))
        self._clicks: dict[str, Clicks] = {}
        self._counts: Counter[int] = Counter()  # targets of every category
        self._measured: set[str] = set()
        self._image_ids, self._category_ids = Ids(MAX_IDENTIFIER), Ids(MAX_ID)
        self._storage = Storage(self.path, self._lock, self._everything)
        if self._storage.exists:
            report = Report()
            labels = turn_labels(read_points(self.path), STORED, folder, report)
            self._take(labels)
            self.notes.extend(report.lines())
            self._storage.settle()
        self._category_ids.take(self._categories.now)
        self.notes.extend(self._storage.notes)

    def _take(self, labels: PointLabels) -> None:
        self._categories = Categories(dict(labels.categories))
        merged = 0
        for record, given in labels.images:
            targets, marks = stuff_merged(
                given, labels.marks.get(record.id, NO_MARKS), self.categories
            )
            merged += len(given) - len(targets)
            self._clicks[record.file_name] = Clicks(record, targets, marks, True)
            self._counts.update(target.category_id for target in targets)
            if isinstance(record.id, int):
                self._image_ids.take([record.id])
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
                identity = self._image_ids.free()
                self._image_ids.take([identity])
                self._clicks[name] = Clicks(ImageRecord(identity, name, height, width))
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
        # A file may hold more; they can become fewer.
        points = number_of_points(targets, marks)
        if points > max(MAX_POINTS, number_of_points(*clicks.state)):
            raise DataError(f"expected at most {MAX_POINTS} clicks on an image, got {points}")
        if len(marks.strokes) > max(MAX_STROKES, len(clicks.marks.strokes)):
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
        """A new category with an id that no other has had, and a colour of its own."""
        self._check_name(name)
        if len(self._categories.now) >= MAX_CATEGORIES:
            raise DataError(f"expected at most {MAX_CATEGORIES} categories")
        identity = self._category_ids.free()
        category = Category(identity, name, isthing, default_color(identity))
        self._change_categories({**self._categories.now, identity: category})
        self._category_ids.take([identity])
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
        with open_regular(resolve_inside(self.folder, clicks.record.file_name), "a picture"):
            pass  # it is still there; who is told otherwise later would think nothing was saved
        return clicks

    def _replace(
        self, clicks: Clicks, state: State, past: tuple[State, ...], future: tuple[State, ...]
    ) -> Clicks:
        targets, marks = state
        used = {target.category_id for target in targets}
        if missing := used - self._categories.now.keys():
            raise DataError(f"expected a known category, but {min(missing)} was removed since")
        merged = stuff_merged(targets, marks, self._categories.now)
        changed = clicks.changed_to(merged, past, future)
        self._storage.save([changed])
        self._take_up(changed)
        return changed

    def _take_up(self, changed: Clicks) -> None:
        name = changed.record.file_name
        self._counts.subtract(target.category_id for target in self._clicks[name].targets)
        self._counts.update(target.category_id for target in changed.targets)
        self._clicks[name] = changed

    def _change_categories(self, now: dict[int, Category]) -> None:
        past = [*self._categories.past, self._go_to(CategoryStep(now))][-HISTORY:]
        self._categories = Categories(now, past, [])

    def _step_categories(self, source: list[CategoryStep], other: list[CategoryStep]) -> None:
        if not source:
            raise DataError("there is no change of the categories to undo or do again")
        there = source[-1]
        for key in self._categories.now.keys() - there.categories.keys():
            if self._counts[key]:
                name = self._categories.now[key].name
                raise DataError(f"expected a category without targets, but {name} has some")
        other.append(self._go_to(there))
        source.pop()
        self._categories.now = there.categories

    def _go_to(self, there: CategoryStep) -> CategoryStep:
        """Saves other categories with the pictures that they change; the step back from there."""
        changed, merged = pictures_after(there, self._clicks)
        self._storage.save(changed, there.categories)
        for clicks in changed:
            self._take_up(clicks)
        return CategoryStep(self._categories.now, merged)

    def _category(self, identity: int) -> Category:
        if identity not in self._categories.now:
            raise DataError(f"expected the id of a category, got {identity}")
        return self._categories.now[identity]

    def _check_name(self, name: str, but: int | None = None) -> None:
        if any(c.name == name and c.id != but for c in self._categories.now.values()):
            raise DataError(f"expected a new name for the category, but {name!r} exists")
