"""The pictures of a folder: names of files that never lie outside of it, and what is left out."""

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from point2mask.data.errors import DataError
from point2mask.data.files import normal_name, resolve_inside
from point2mask.data.heic import HEIC_SUFFIXES, HINT
from point2mask.data.places import unreadable
from point2mask.data.png import PICTURE_SUFFIXES
from point2mask.data.sources import unread_kind

RESULTS = ("export.json", "summary.json", "panoptic.json")  # in folders that this program wrote
RUN = ("config.yaml", "checkpoints")  # file and folder of a training run
MADE = ("panoptic", "overlays")  # folders beside the JSON, by label and predict
MADE_BY_RUN = ("pictures",)  # of itself, beside the file


@dataclass
class Found:
    """Pictures of a folder.

    Attributes:
        names: relative with ``/``, in their order.
        outside: links that lead out of the folder and are left out.
        links: those to folders, which are not entered.
        unread: pictures and archives of a kind that is not read, by suffix.
        unnamed: pictures whose names are no printable text or mean another file elsewhere, shown
            with escapes.
        results: folders of results of this program.
    """

    names: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    unread: Counter[str] = field(default_factory=Counter)
    unnamed: list[str] = field(default_factory=list)
    results: list[str] = field(default_factory=list)

    def notes(self) -> list[str]:
        """A line for everything that is left out."""
        said = []
        for suffix, count in sorted(self.unread.items()):
            hint = f"; {HINT}" if suffix in HEIC_SUFFIXES else ""
            said.append(f"left out {count} of the kind {suffix}{hint}")
        if self.outside:
            said.append(
                f"left out {len(self.outside)} links that lead out of the folder, such as "
                f"{self.outside[0]}"
            )
        if self.links:
            said.append(f"left out links to folders: {len(self.links)}, such as {self.links[0]}")
        if self.unnamed:
            said.append(
                f"left out {len(self.unnamed)} whose names hold control characters or backslashes, "
                f"begin with a drive or are not UTF-8, such as {self.unnamed[0]}; rename them"
            )
        said.extend(f"left out the folder {name}, which holds results" for name in self.results)
        return said


def find_pictures(folder: Path, without: Path | None = None) -> Found:
    """The pictures in a folder and its folders.

    Hidden files and folders are not looked at, links to folders are not entered, and results of
    this program are no pictures to label.

    Args:
        folder: where.
        without: a folder that is left out.
    """
    if not folder.is_dir():
        fault = "it is not a folder" if folder.exists() else "there is no such folder"
        raise DataError(f"{folder}: expected the folder of the pictures, but {fault}")
    skipped = None if without is None else without.resolve()
    found = Found()
    for root, folders, files in os.walk(folder, onerror=unreadable):
        place = Path(root)
        below = place.relative_to(folder).as_posix()
        made: tuple[str, ...] = MADE if any(name in files for name in RESULTS) else ()
        if RUN[0] in files and RUN[1] in folders:
            made += MADE_BY_RUN
        if made and below != ".":
            found.results.append(below)
            folders.clear()
            continue
        # Beside the pictures themselves a command leaves folders of results only.
        found.results.extend(name for name in made if name in folders)
        folders[:] = [name for name in folders if name not in made]
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and (skipped is None or (place / name).resolve() != skipped)
        )
        start = "" if below == "." else f"{below}/"
        found.links += [start + name for name in folders if (place / name).is_symlink()]
        for file in files:
            if not file.startswith("."):
                _sort_in(found, folder, start + file)
    found.names.sort()
    found.outside.sort()
    return found


def _sort_in(found: Found, folder: Path, name: str) -> None:
    suffix = os.path.splitext(name)[1].lower()
    if suffix not in PICTURE_SUFFIXES:
        if kind := unread_kind(name):
            found.unread[kind] += 1
        return
    try:
        plain = normal_name(name, folder) == name
    except DataError:
        plain = False
    if not plain:
        found.unnamed.append(ascii(name)[1:-1])
        return
    # Only a link can lead elsewhere, as links to folders are not entered.
    if os.path.islink(folder / name):
        try:
            resolve_inside(folder, name)
        except DataError:
            found.outside.append(name)
            return
    found.names.append(name)
