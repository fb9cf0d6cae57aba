"""Which file of a folder a name in somebody's file means."""

import re
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

    That is the one of the whole name; else the only one whose path ends so, as in folders of
    projects and subsets; else the one of the longest end of the name, as where the folder is a part
    of the path. Case and how accents are written do not matter where nothing fits otherwise, nor
    does a suffix that a name has not.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, names: Sequence[str], place: object, uploaded: str = "") -> str:
        """The relative name of the picture.

        Args:
            names: what it may be called, in normal form; of equally long ones the first counts.
            place: for errors.
            uploaded: what a server made of the name of its file, if it is there under no other.

        Raises:
            MissingPictureError: there is no such picture.
            DataError: there are several.
        """
        ends = dict.fromkeys(end for name in names for end in _ends(name))
        for end in sorted(ends, key=lambda end: -end.count("/")):
            if (self._folder / end).is_file():
                return end
            if found := self._by_name.get(_key(end)) or (self._longer(end) if end in names else []):
                return self._only(found, place)
        if found := self._by_upload.get(_as_uploaded(uploaded), []):
            return self._only(found, place)
        raise MissingPictureError(
            f"{place}: {self._folder / names[-1]}: expected a picture, but there is no such file"
        )

    def _longer(self, name: str) -> list[str]:
        """The files whose paths end so."""
        key = _key(name)
        files = self._by_last_part.get(key.rpartition("/")[2], [])
        return [file for file in files if _ends_so(_key(file), key)]

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

    @cached_property
    def _by_upload(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for file in self._files:
            found.setdefault(_as_uploaded(PurePosixPath(file).name), []).append(file)
        return found


def _index(files: Sequence[str], names: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for file, name in zip(files, names, strict=True):
        for key in (name, str(PurePosixPath(name).with_suffix(""))):
            found.setdefault(_key(key), []).append(file)
    return found


def _as_uploaded(name: str) -> str:
    """The name that Django, and so Label Studio, stores an uploaded file by.

    >>> _as_uploaded("IMG 7 (1).jpg")
    'img_7_1.jpg'
    """
    return re.sub(r"[^-\w.]", "", _key(name.strip().replace(" ", "_")))


def may_be_one(name: str, other: str) -> bool:
    """Whether two names, in normal form, of the same file do not tell of two.

    >>> may_be_one("photos/a.png", "A.png"), may_be_one("x/a.png", "y/a.png")
    (True, False)
    """
    one, two = (f"/{PurePosixPath(_key(text)).with_suffix('')}" for text in (name, other))
    return one.endswith(two) or two.endswith(one)


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
