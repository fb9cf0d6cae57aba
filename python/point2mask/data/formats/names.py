"""Which file of a folder a name in somebody's file means."""

import unicodedata
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath

from point2mask.data.errors import DataError
from point2mask.data.png import PICTURE_SUFFIXES


class MissingPictureError(DataError):
    """There is no picture of a name."""


class PictureNames:
    """The pictures of a folder and its folders, by what they may be called.

    That is the one of the whole name; else of the end of the name, as where the folder is a part of
    the path; else the only one whose path ends so, as in folders of projects and subsets. Case and
    how accents are written do not matter where nothing fits otherwise, nor does a suffix that a
    name has not.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, names: Sequence[str], place: object) -> str:
        """The relative name of the picture.

        Args:
            names: what it may be called, in normal form, the more folders the earlier.
            place: for errors.

        Raises:
            MissingPictureError: there is no such picture.
            DataError: there are several.
        """
        ends = [end for name in names for end in _ends(name)]
        for end in ends:
            if (self._folder / end).is_file():
                return end
        for key in map(_key, ends):
            if found := self._by_name.get(key):
                return self._only(found, place)
        for key in map(_key, names):
            files = self._by_last_part.get(key.rpartition("/")[2], [])
            found = [file for file in files if _ends_so(_key(file), key)]
            if found:
                return self._only(found, place)
        raise MissingPictureError(
            f"{place}: {self._folder / names[-1]}: expected a picture, but there is no such file"
        )

    def _only(self, found: Sequence[str], place: object) -> str:
        if len(found) > 1:
            raise DataError(
                f"{place}: expected one picture of that name in {self._folder}, got {found[0]} and "
                f"{found[1]}"
            )
        return found[0]

    @cached_property
    def _files(self) -> list[str]:
        return sorted(
            path.relative_to(self._folder).as_posix()
            for path in self._folder.rglob("*")
            if path.suffix.lower() in PICTURE_SUFFIXES
        )

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        """Files by their names in small letters, with and without suffix."""
        return _index(self._files, self._files)

    @cached_property
    def _by_last_part(self) -> dict[str, list[str]]:
        return _index(self._files, [PurePosixPath(file).name for file in self._files])


def _index(files: Sequence[str], names: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for file, name in zip(files, names, strict=True):
        for key in (name, str(PurePosixPath(name).with_suffix(""))):
            found.setdefault(_key(key), []).append(file)
    return found


def _key(name: str) -> str:
    """The same for names that differ in case, or in how accents are written (macOS, others)."""
    return unicodedata.normalize("NFC", name).casefold()


def _ends(name: str) -> list[str]:
    """``a/b/c.png``, ``b/c.png`` and ``c.png``."""
    parts = name.split("/")
    return ["/".join(parts[start:]) for start in range(len(parts))]


def _ends_so(file: str, name: str) -> bool:
    stem = str(PurePosixPath(file).with_suffix(""))
    return any(f"/{path}".endswith(f"/{name}") for path in (file, stem))
