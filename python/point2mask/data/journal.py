"""Changes of a points.json that are not in it yet: one JSON a line, in a file beside it.

To save a click costs the same however many images there are: a line is added to the journal and
flushed to the disk. The journal's name holds the digest of the file that it goes on from, so that
file and journal always belong together: whoever writes the file anew first makes its journal, with
the changes that came meanwhile, then renames the file, and then removes the old journal.
"""

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from point2mask.data.errors import DataError
from point2mask.data.files import named

SUFFIX = ".journal"
MAX_JOURNAL = 2**30  # bytes

Change = dict[str, Any]


def journal_path(path: Path, content: bytes) -> Path:
    """The journal of ``path`` while that holds ``content``."""
    return path.with_name(f"{path.stem}.{hashlib.sha256(content).hexdigest()[:16]}{SUFFIX}")


def read_with_journal(path: Path, read: Callable[[Path], bytes]) -> tuple[bytes, list[Change]]:
    """The content of ``path`` and the changes that are not in it yet, in their order.

    Somebody may write meanwhile. ``read`` gives the content of a file.
    """
    while True:
        content = read(path)
        try:
            return content, list(read_changes(journal_path(path, content)))
        except FileNotFoundError:
            # None, or the changes have just come into the file.
            if read(path) == content:
                return content, []


def journals(path: Path) -> list[Path]:
    """All journals beside ``path``, also those that go on from another content of it."""
    try:
        names = os.listdir(path.parent)
    except OSError:
        return []
    start = f"{path.stem}."
    return sorted(path.with_name(n) for n in names if n.startswith(start) and n.endswith(SUFFIX))


def read_changes(path: Path) -> Iterator[Change]:
    """The changes of a journal, each with the image it is of, or the categories.

    A last line without its end is what somebody was writing when they were killed, before they
    said that it is saved: it does not count.

    Raises:
        FileNotFoundError: there is no journal.
        DataError: a line that is no JSON object.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_JOURNAL:
            raise DataError(f"{path}: expected a journal of at most {MAX_JOURNAL} bytes, got more")
        content = file.read(size)  # Python makes room for all that is asked for
    lines = content.split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):
        try:
            yield msgspec.json.decode(line, type=Change)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise DataError(f"{path}: line {number}: expected a JSON object ({error})") from error


class Journal:
    """A journal to write to, of :func:`journal_path`; made with the first change."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, *changes: Change) -> None:
        """Writes changes to the disk; a journal that cannot hold all of them holds none of them.

        Raises:
            OSError: it cannot be written.
        """
        lines = b"".join(msgspec.json.encode(x, enc_hook=float) + b"\n" for x in changes)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        try:
            length = os.fstat(descriptor).st_size
            try:
                with named(self.path):
                    written = os.write(descriptor, lines)
                    if written != len(lines):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    os.fdatasync(descriptor)
            except OSError:
                os.ftruncate(descriptor, length)
                raise
        finally:
            os.close(descriptor)
