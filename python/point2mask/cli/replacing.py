"""Clicks that a command writes where others may be: what is replaced, and what stays."""

import filecmp
import itertools
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from point2mask.cli.command import UsageError

if TYPE_CHECKING:
    from point2mask.data import PointLabels


def check_replaceable(path: Path) -> None:
    """Before any work: a file that is there is replaced if it holds point labels, as another one
    of a name that was mistyped would be lost. Names that no reader of them takes are refused."""
    from point2mask.data import DataError, read_points
    from point2mask.data.points import OF_OTHERS

    if path.suffix.lower() in OF_OTHERS:
        raise UsageError(
            f"--out {path}: expected the name of a JSON, JSON Lines or Parquet file, got one of "
            "other tools; 'point2mask points export' writes those"
        )
    if not path.is_file():
        return
    try:
        read_points(path)
    except DataError as error:
        raise UsageError(
            f"--out {path}: expected a new name, or a JSON of point labels to replace, but there "
            "is another file; choose another name"
        ) from error


def write_over(path: Path, labels: "PointLabels") -> None:
    """Writes points. Others that are there may be hours of somebody's work: they stay beside them,
    under the numbered names of `cp --backup`."""
    from point2mask.data import write_points
    from point2mask.data.files import write_bytes
    from point2mask.data.journal import journals
    from point2mask.data.point_json import whole_content

    if not path.is_file():
        write_points(path, labels)
        return
    names = (path.with_name(f"{path.name}.~{number}~") for number in itertools.count(1))
    former = next(name for name in names if not name.exists())
    if journals(path):  # the annotation page's last clicks are in it
        write_bytes(former, whole_content(path))
    else:
        shutil.copy2(path, former)
    try:
        write_points(path, labels)
        same = filecmp.cmp(path, former, shallow=False)
    except BaseException:
        former.unlink()
        raise
    if same:
        former.unlink()
    else:
        print(f"the points that were in {path} are in {former.name} now", file=sys.stderr)


def check_table(path: Path) -> None:
    """The same of a table."""
    from point2mask.data.formats.table import is_table

    if path.is_file() and not is_table(path):
        raise UsageError(
            f"--out {path}: expected a new name, or a table of clicks to replace, but there is "
            "another file; choose another name"
        )
