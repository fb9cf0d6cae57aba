"""Clicks as a table: CSV with the columns image, x, y, category and, if wanted, instance."""

import csv
import io
from pathlib import Path

from point2mask.data.errors import DataError
from point2mask.data.files import (
    as_utf8,
    check_text,
    normal_name,
    open_regular,
    read_bounded,
    write_bytes,
)
from point2mask.data.formats.names import may_be_one
from point2mask.data.formats.pictures import MAX_FILE, Click, ClickedImage, Pictures, number
from point2mask.data.targets import PointLabels
from point2mask.messages import shown

COLUMNS = ("image", "x", "y", "category")
INSTANCE = "instance"
MAX_HEAD = 1000  # characters of the first row in which its delimiter is looked for


def read_csv(path: Path, pictures: Pictures) -> list[ClickedImage]:
    """Clicks of a table in UTF-8 with a first row of names of columns, in any order.

    Where that row has semicolons or tabs in place of commas, as spreadsheets write in many
    countries, so have the others, and numbers may have decimal commas.

    Raises:
        DataError: the file is no such table; the message names the line.
    """
    content = as_utf8(read_bounded(path, "a CSV of points", MAX_FILE))
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected UTF-8 text ({error})") from error
    first = text[:MAX_HEAD].splitlines()[0] if text else ""
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    table = _Table(pictures, decimal="." if delimiter == "," else ",")
    columns: list[str] = []
    try:
        for index, cells in enumerate(reader):
            row = [cell.strip() for cell in cells]
            place = f"{path}:{reader.line_num}"
            if index == 0:
                columns = _columns(row, place)
            elif any(row):
                try:
                    table.add(dict(_cells(columns, row, place)), index, place)
                except DataError as error:
                    pictures.report.broken(error, "rows")
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: expected CSV ({error})") from error
    if not columns:
        raise DataError(f"{path}: expected the columns {', '.join(COLUMNS)}, got an empty file")
    return list(table.images.values())


def is_table(path: Path) -> bool:
    """Whether the first row of a file is that of a table of clicks."""
    with open_regular(path, "a CSV of points") as file:
        first = as_utf8(file.read(MAX_HEAD)).decode("utf-8", "replace").splitlines()
    try:
        _columns([name.strip() for name in first[0].split(",")] if first else [], str(path))
    except DataError:
        return False
    return True


def _columns(row: list[str], place: str) -> list[str]:
    columns = [name.lower() for name in row]
    missing = [name for name in COLUMNS if name not in columns]
    known = len(set(columns)) == len(columns) and set(columns) <= {*COLUMNS, INSTANCE}
    if missing or not known:
        raise DataError(
            f"{place}: expected the columns {', '.join(COLUMNS)} and perhaps {INSTANCE}, "
            f"got {shown(','.join(row))}"
        )
    return columns


def _cells(columns: list[str], row: list[str], place: str) -> list[tuple[str, str]]:
    if len(row) != len(columns):
        raise DataError(f"{place}: expected {len(columns)} columns, got {len(row)}")
    return list(zip(columns, row, strict=True))


class _Table:
    """Images by their names, whatever a row calls them."""

    def __init__(self, pictures: Pictures, decimal: str) -> None:
        self.images: dict[str, ClickedImage] = {}
        self._pictures = pictures
        self._decimal = decimal
        self._names: dict[str, str] = {}  # by what rows call them
        self._longest: dict[str, str] = {}  # what they call an image, by its name

    def add(self, cells: dict[str, str], index: int, place: str) -> None:
        x, y = (
            number(cells[key].replace(self._decimal, "."), f"{place}: {key}") for key in ("x", "y")
        )
        category = check_text(cells["category"], f"{place}: category")
        instance = cells.get(INSTANCE) or None
        called = normal_name(cells["image"], place)
        if called not in self._names:
            image = self._pictures.find(called, place, "csv")
            name, other = image.record.file_name, self._longest.get(image.record.file_name, called)
            if not may_be_one(called, other):
                raise DataError(
                    f"{place}: expected a picture for each of {shown(other)} and {shown(called)}, "
                    f"but there is only {self._pictures.folder}/{name} for both"
                )
            self._longest[name] = max(called, other, key=len)
            self._names[called] = name
            self.images.setdefault(name, image)
        clicks = self.images[self._names[called]].clicks
        clicks.append(Click(place, x, y, category, index, instance))


def write_csv(path: Path, labels: PointLabels) -> None:
    """Writes a row for every click, with the ids of targets as instances, atomically.

    Images without clicks, areas, crowds and what is stuff are not in it.
    """
    table = io.StringIO(newline="")
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow((*COLUMNS, INSTANCE))
    for record, targets in labels.images:
        for target in targets:
            category = labels.categories[target.category_id].name
            for x, y in target.points:
                writer.writerow((record.file_name, x, y, category, target.id))
    write_bytes(path, table.getvalue().encode())
