"""Whose files are in a folder: a command replaces its own and nobody else's.

What a command makes in a folder is noted there in ``.point2mask.json`` before it is made, so that
a run that was killed does not shut out the next one.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import msgspec

from point2mask.data.errors import DataError
from point2mask.data.files import remove_temporaries, write_bytes
from point2mask.data.json_files import read_json

MARK, LOCK = ".point2mask.json", ".point2mask.lock"
MAX_MARK = 2**24  # bytes
Mark = dict[str, list[str]]  # names in the folder, by the command that makes them


@contextmanager
def claimed(folder: Path, command: str, names: Iterable[str]) -> Iterator[None]:
    """Names in a folder that only this run of a command writes to meanwhile.

    What a killed run has begun to write there is removed.

    Args:
        folder: made if need be.
        command: that makes the files.
        names: of files and folders directly in it.

    Raises:
        DataError: one of them is there and not of an earlier run of the command, or is a link; or
            another run is at work.
    """
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder}: expected a folder for the results, but it is not a folder")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("ab") as lock:
        _lock(
            lock,
            f"{folder}: another run is at work in this folder; wait until it has ended, or "
            "choose another folder",
        )
        names = sorted(set(names))
        _note(folder, command, names)
        remove_temporaries(folder, deep=False)
        for name in names:
            remove_temporaries(folder / name)
        yield


@contextmanager
def one_writer(path: Path, busy: str) -> Iterator[bool]:
    """The right to write a file, which one process has at a time; whoever reads needs none.

    It is a lock of a hidden file beside it, so that it ends with the process, however that does.
    In a folder where nothing can be written it is not asked for.

    Args:
        path: of the file.
        busy: said where another process has the right.

    Yields:
        Whether it is certain that nobody else has it: some file systems know no locks.

    Raises:
        DataError: ``busy``.
    """
    if not (path.parent.is_dir() and os.access(path.parent, os.W_OK)):
        yield True
        return
    beside = path.with_name(f".{path.name}.lock")
    file: IO[bytes]
    try:
        file = beside.open("ab")
    except PermissionError:  # somebody else has made it, which is no reason to keep out others
        file = beside.open("rb")
    with file:
        try:
            _lock(file, busy)
        except OSError:
            certain = False
        else:
            certain = True
        yield certain


def _lock(file: IO[bytes], busy: str) -> None:
    """Locks a file until it is closed, by the end of the process at the latest."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise DataError(busy) from error


def _note(folder: Path, command: str, names: list[str]) -> None:
    mark: Mark = {}
    if (folder / MARK).exists():
        mark = read_json(folder / MARK, Mark, "a list of what was made here", MAX_MARK)
    own = set(mark.get(command, []))
    for name in names:
        path = folder / name
        if path.is_symlink() or (path.exists() and name not in own):
            raise DataError(
                f"{path}: expected a new name, or what an earlier 'point2mask {command}' made; "
                "remove it or choose another folder"
            )
    if not own.issuperset(names):
        mark[command] = sorted(own.union(names))
        write_bytes(folder / MARK, msgspec.json.encode(mark) + b"\n")
