"""Labels of a folder on the disk: a line a change, and the whole file anew in quiet times."""

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from point2mask.app.clicks import Clicks
from point2mask.data.errors import DataError
from point2mask.data.files import named, temporary_name, write_bytes
from point2mask.data.journal import Change, Journal, journal_path, journals
from point2mask.data.points import encode_points
from point2mask.data.records import Category, categories_to_json, image_to_json
from point2mask.data.targets import PointLabels, annotation_to_json

SOON = 2.0  # seconds after a change until the file is written anew
SHARE = 20  # of the time: writing a large file anew is spread out so that it takes a part of it


class ConflictError(DataError):
    """Somebody else was faster: what the caller knows is no longer so."""


class Storage:
    """A ``points.json`` and its journal (:mod:`point2mask.data.journal`).

    Attributes:
        exists: whether there is a file to begin with.
        notes: what was found beside it, a line each.
    """

    def __init__(
        self, path: Path, lock: threading.RLock, everything: Callable[[], PointLabels]
    ) -> None:
        """
        Args:
            path: of the JSON.
            lock: held by whoever calls; taken here for the file to be written in quiet times.
            everything: all that the file should hold, asked for under the lock.
        """
        self._path, self._lock, self._everything = path, lock, everything
        self._timer: threading.Timer | None = None
        self._since: list[Change] = []  # changes since the file was last begun
        self._taken = 0.0  # seconds that it took
        self._writing = threading.Lock()  # one writer of the whole file
        content = path.read_bytes() if path.exists() else b""
        self._stamp = self._file_stamp()
        self._journal = Journal(journal_path(path, content))
        others = [other for other in journals(path) if other != self._journal.path]
        self.exists = path.exists()
        self.notes = [
            f"{other.name} holds changes of another {path.name} than this one; it is left alone"
            for other in others
        ]

    def save(
        self, images: Iterable[Clicks], categories: Mapping[int, Category] | None = None
    ) -> None:
        """Notes what is said of images now, and the categories where they change, on the disk.

        Raises:
            ConflictError: the file was written by another program.
            OSError: it cannot be written; nothing has changed.
        """
        changes: list[Change] = []
        if categories is not None:
            changes.append({"categories": categories_to_json(categories)})
        for clicks in images:
            record = clicks.record
            annotation = None
            if clicks.kept:
                annotation = annotation_to_json(record, clicks.targets, clicks.marks)
            changes.append({"image": image_to_json(record), "annotation": annotation})
        if self._file_stamp() != self._stamp:
            raise ConflictError(
                f"{self._path}: another program has changed it; start again to go on from there"
            )
        if not self.exists:
            self._begin()
        self._journal.append(*changes)
        self._since.extend(changes)
        if self._timer is None:
            self._timer = threading.Timer(max(SOON, SHARE * self._taken), self._settle_quietly)
            self._timer.daemon = True
            self._timer.start()

    def _begin(self) -> None:
        """Makes the file, with the categories that there were from the start."""
        content = encode_points(self._everything(), self._path)
        write_bytes(self._path, content)
        self._stamp, self.exists = self._file_stamp(), True
        self._journal = Journal(journal_path(self._path, content))

    def settle(self) -> None:
        """Writes the file anew with all changes, which only then leave the journal.

        Clicks do not wait meanwhile, but for the renaming: the next journal is there first, with
        the changes that came while the file was written.
        """
        with self._writing:
            with self._lock:
                if not self._journal.path.exists() or self._file_stamp() != self._stamp:
                    return
                start = time.monotonic()
                old, labels = self._journal, self._everything()
                self._since, self._timer = [], None
            content = encode_points(labels, self._path)
            beside = temporary_name(self._path)
            try:
                with named(self._path), beside.open("xb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                with self._lock:
                    self._exchange(old, content, beside)
            finally:
                beside.unlink(missing_ok=True)
                self._taken = time.monotonic() - start

    def _exchange(self, old: Journal, content: bytes, beside: Path) -> None:
        if self._file_stamp() != self._stamp:
            return  # another program's file stays; the journal is noted at the next start
        path = journal_path(self._path, content)
        journal = old if path == old.path else Journal(path)
        try:
            if journal is not old:
                path.unlink(missing_ok=True)
                if self._since:
                    journal.append(*self._since)
            os.replace(beside, self._path)
        except OSError:
            if journal is not old:
                path.unlink(missing_ok=True)  # of a file that is not there; the old one goes on
            raise
        self._journal, self._stamp = journal, self._file_stamp()
        if journal is not old or not self._since:
            old.path.unlink(missing_ok=True)

    def _settle_quietly(self) -> None:
        try:
            self.settle()
        except (OSError, DataError):
            pass  # all is in the journal; the next change says what is wrong with the disk

    def close(self) -> None:
        """Writes the file a last time."""
        if self._timer is not None:
            self._timer.cancel()
        self.settle()

    def _file_stamp(self) -> tuple[int, int, int] | None:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size
