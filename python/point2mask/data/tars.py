"""Files in tars, as WebDataset has them: ``shard.tar/0001.jpg`` is the picture 0001.jpg in it.

A tar counts as a folder of its name. Its list of members is read once a process; a file is then one
read at its place, so any order is as good as any other. Nothing is unpacked.
"""

import tarfile
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple, cast

from point2mask.data.errors import DataError

SUFFIX = ".tar"
MAX_MEMBER = 2**28  # bytes of a file in a tar
MAX_MEMBERS = 10**7
_MAX_HEADER = 2**20  # bytes of a long name or of other remarks on a member
_KEPT = 8  # tars whose lists of members stay in memory


class _Part(NamedTuple):
    start: int
    size: int


def in_tar(path: Path) -> tuple[Path, str] | None:
    """The tar that a path leads into, and the name in it; None where it leads into none."""
    text = path.as_posix()
    if f"{SUFFIX}/" not in text:
        return None
    for parent in path.parents:
        if parent.suffix == SUFFIX and parent.is_file():
            return parent, text[len(parent.as_posix()) + 1 :]
    return None


def begins_as_tar(path: Path) -> bool:
    """Whether a file has the name of a tar, and the header of a first member."""
    if path.suffix != SUFFIX or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            tarfile.TarInfo.frombuf(file.read(tarfile.BLOCKSIZE), "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    except OSError as error:
        raise DataError(f"{path}: expected a tar, but it cannot be read ({error})") from error
    return True


def member_names(tar: Path) -> list[str]:
    """The names of the files in a tar, sorted."""
    return sorted(_members(tar))


def member_size(tar: Path, name: str) -> int | None:
    """Bytes of a file in a tar; None where there is none of that name."""
    part = _members(tar).get(name)
    return None if part is None else part.size


def read_member(tar: Path, name: str, expected: str) -> bytes:
    """A file in a tar; ``expected`` says in errors what it should have held.

    Raises:
        DataError: it is not there or too large, or the tar is broken.
    """
    part = _members(tar).get(name)
    if part is None:
        raise DataError(f"{tar}/{name}: expected {expected}, but the tar has no such file")
    if part.size > MAX_MEMBER:
        raise DataError(f"{tar}/{name}: expected at most {MAX_MEMBER} bytes, got {part.size}")
    if isinstance(tar, Path):
        with tar.open("rb") as file:
            file.seek(part.start)
            content = file.read(part.size)
    else:  # of a store: one request
        place = cast(Any, tar)
        content = place.fs.cat_file(place.path, start=part.start, end=part.start + part.size)
    if len(content) != part.size:
        raise DataError(f"{tar}/{name}: expected {expected}, but the tar ends in it")
    return content


def _members(tar: Path) -> dict[str, _Part]:
    stat = tar.stat()
    return _listed(tar, stat.st_size, stat.st_mtime)


@lru_cache(_KEPT)
def _listed(tar: Path, size: int, changed: float) -> dict[str, _Part]:
    """Ordinary files by name; of several of one name the last, as for whoever unpacks them.

    A file that has two names on the disk, as ``gather`` gives it one in another folder, is packed
    once, and under its other name as a link to the first.
    """
    parts: dict[str, _Part] = {}
    try:
        with (
            tar.open("rb") as file,
            tarfile.open(fileobj=cast(BinaryIO, _Bounded(file, tar)), mode="r:") as opened,
        ):
            while (member := opened.next()) is not None:
                cast(Any, opened).members.clear()  # it would keep them all
                if opened.offset <= member.offset:  # a size below zero: the list would not end
                    raise DataError(f"{tar}: expected a tar whose files follow each other")
                name = _normal(member.name)
                strange = ".." in name.split("/") or ":/" in name or member.size < 0
                if member.isreg() and not member.issparse() and not strange:
                    parts[name] = _Part(member.offset_data, member.size)
                elif member.islnk() and not strange and _normal(member.linkname) in parts:
                    parts[name] = parts[_normal(member.linkname)]
                if len(parts) > MAX_MEMBERS:
                    raise DataError(f"{tar}: expected at most {MAX_MEMBERS} files in a tar")
    except (tarfile.TarError, ValueError, OverflowError, EOFError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{tar}: expected a tar that is not compressed, but its list of files cannot be read "
            f"({error})"
        ) from error
    return parts


def _normal(name: str) -> str:
    return PurePosixPath(name).as_posix().lstrip("/")


class _Bounded:
    """A file that is not read in large pieces: whoever lists a tar needs its headers alone."""

    def __init__(self, file: BinaryIO, place: Path) -> None:
        self._file, self._place = file, place
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MAX_HEADER:
            raise DataError(f"{self._place}: expected headers of at most {_MAX_HEADER} bytes")
        return self._file.read(size)
