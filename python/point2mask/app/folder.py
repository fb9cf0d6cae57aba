"""The pictures of a folder: their names, and files that never lie outside of it."""

import os
from pathlib import Path

from point2mask.data.errors import DataError
from point2mask.data.files import resolve_inside
from point2mask.data.png import PICTURE_SUFFIXES


def list_names(folder: Path, without: Path | None = None) -> tuple[list[str], list[str]]:
    """Names of the pictures in a folder and its folders, relative with ``/``, in their order.

    Hidden files and folders are not looked at, and links to folders are not entered.

    Args:
        folder: where.
        without: a folder that is left out: our own results are no pictures to label.

    Returns:
        The names, and those of links that lead out of the folder and are left out.
    """
    if not folder.is_dir():
        fault = "it is not a folder" if folder.exists() else "there is no such folder"
        raise DataError(f"{folder}: expected the folder of the pictures, but {fault}")
    skipped = None if without is None else without.resolve()
    names, outside = [], []
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and Path(root, name).resolve() != skipped
        )
        for file in files:
            path = Path(root, file)
            if file.startswith(".") or path.suffix.lower() not in PICTURE_SUFFIXES:
                continue
            name = path.relative_to(folder).as_posix()
            try:
                resolve_inside(folder, name)
            except DataError:
                outside.append(name)
            else:
                names.append(name)
    return sorted(names), sorted(outside)
