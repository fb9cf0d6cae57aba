"""Whose files are in a folder: a command replaces its own and nobody else's.

What a command makes in a folder is noted there in ``.point2mask.json`` before it is made, so that
a run that was killed does not shut out the next one.
"""

import fcntl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

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
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataError(
                f"{folder}: another run is at work in this folder; wait until it has ended, or "
                "choose another folder"
            ) from error
        names = sorted(set(names))
        _note(folder, command, names)
        remove_temporaries(folder, deep=False)
        for name in names:
            remove_temporaries(folder / name)
        yield


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
