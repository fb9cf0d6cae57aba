"""What readers of point labels have in common: clicks with names of categories, to targets."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from point2mask.data.errors import DataError
from point2mask.data.files import check_text, normal_name, resolve_inside
from point2mask.data.json_files import MAX_SEGMENT_ID
from point2mask.data.png import DEFAULT_LIMIT, SizeLimit, picture_size
from point2mask.data.points import PointLabels, PointTarget
from point2mask.data.records import Category, ImageRecord, default_color

MAX_FILE = 2**28  # bytes of a file of clicks


@dataclass(frozen=True, slots=True)
class Click:
    place: str  # file and line or entry
    x: float  # pixels
    y: float
    category: str
    shape: int  # clicks of one shape of the tool share a number
    instance: str | None = None  # what the tool or its user calls the target


@dataclass(slots=True)
class ClickedImage:
    record: ImageRecord
    clicks: list[Click] = field(default_factory=list)


@dataclass(frozen=True)
class Pictures:
    """Where images and their sizes come from: a folder, or the word of the file of clicks."""

    folder: Path | None
    limit: SizeLimit = DEFAULT_LIMIT

    def find(
        self, name: str, place: object, height: int | None = None, width: int | None = None
    ) -> ClickedImage:
        """The image of a name; the given size, if any, must be that of its picture.

        Raises:
            DataError: a path out of the folder, no picture, another size, or no size at all.
        """
        name = normal_name(check_text(name, place), place)
        size = None if height is None or width is None else (height, width)
        if self.folder is not None:
            try:
                found = picture_size(resolve_inside(self.folder, name), self.limit)
            except DataError as error:
                raise DataError(f"{place}: {error}") from error
            if size is not None and size != found:
                raise DataError(
                    f"{place}: expected the size of {self.folder / name}, {found[1]} x {found[0]}, "
                    f"got {size[1]} x {size[0]}"
                )
            size = found
        if size is None:
            raise DataError(f"{place}: expected the size of {name}; give the folder of pictures")
        self.limit.check(*size, place)
        return ClickedImage(ImageRecord(name, name, *size))


def to_labels(
    images: Iterable[ClickedImage],
    place: object,
    known: Mapping[int, Category] | None = None,
    stuff: Collection[str] = (),
) -> PointLabels:
    """Point labels from clicks.

    Clicks on stuff of one category are one target. On things, those with the same instance are,
    else those of one shape. Instances that are numbers in [1, 2^24), one for every target of an
    image, become the ids; otherwise targets are numbered as they come.

    Args:
        images: every image once.
        place: where they come from, for errors.
        known: the categories; by default those of the clicks, numbered from 1 in the order of their
            names, things first.
        stuff: names of those that are stuff, if ``known`` is not given.

    Raises:
        DataError: a click outside its image, in the pixel of another or of an unknown category; a
            name in ``stuff`` that no click has; no clicks. The message names the place of the
            click.
    """
    images = list(images)
    clicks = [click for image in images for click in image.clicks]
    if not clicks:
        raise DataError(f"{place}: expected points, got none")
    if known is None:
        known = _number({click.category for click in clicks}, stuff, place)
    by_name: dict[str, Category] = {}
    for category in known.values():
        if category.name in by_name:
            raise DataError(
                f"{place}: expected categories of different names to look for, "
                f"got {category.name!r} twice"
            )
        by_name[category.name] = category
    names: set[str] = set()
    labels = []
    for image in images:
        if image.record.file_name in names:
            raise DataError(
                f"{place}: expected every image once, got {image.record.file_name!r} again"
            )
        names.add(image.record.file_name)
        labels.append((image.record, _targets(image, by_name)))
    return PointLabels(dict(known), labels)


def _number(names: Collection[str], stuff: Collection[str], place: object) -> dict[int, Category]:
    for name in sorted(set(stuff) - set(names)):
        raise DataError(
            f"{place}: expected points on the stuff {name!r}, got only points on "
            f"{', '.join(sorted(names))}"
        )
    ordered = sorted(names, key=lambda name: (name in stuff, name))
    return {
        key: Category(key, name, name not in stuff, default_color(key))
        for key, name in enumerate(ordered, start=1)
    }


def _targets(image: ClickedImage, categories: Mapping[str, Category]) -> list[PointTarget]:
    record = image.record
    owner: dict[tuple[int, int], Click] = {}
    groups: dict[tuple[str, object], list[Click]] = {}
    for click in image.clicks:
        category = categories.get(click.category)
        if category is None:
            raise DataError(
                f"{click.place}: expected one of the categories {', '.join(categories)}, "
                f"got {click.category!r}"
            )
        if not (0 <= click.x < record.width and 0 <= click.y < record.height):
            raise DataError(
                f"{click.place}: expected a point inside {record.width} x {record.height} pixels, "
                f"got ({click.x}, {click.y})"
            )
        other = owner.setdefault((int(click.x), int(click.y)), click)
        if other is not click:
            raise DataError(
                f"{click.place}: expected at most one point in a pixel, got "
                f"({click.x}, {click.y}) in that of {other.place}"
            )
        part: object = None
        if category.isthing:
            part = click.shape if click.instance is None else click.instance
        groups.setdefault((click.category, part), []).append(click)
    ids = _ids(list(groups.values()))
    return [
        PointTarget(identity, categories[name].id, tuple((click.x, click.y) for click in group))
        for identity, ((name, _), group) in zip(ids, groups.items(), strict=True)
    ]


def _ids(groups: list[list[Click]]) -> list[int]:
    """The numbers by which the targets are called, if all have one of their own."""
    ids = []
    for group in groups:
        called = {click.instance for click in group}
        name = called.pop() or ""
        if called or not name.isascii() or not name.isdecimal() or len(name) > 8:
            break
        ids.append(int(name))
    good = len(set(ids)) == len(groups) and all(1 <= number <= MAX_SEGMENT_ID for number in ids)
    return ids if good else list(range(1, len(groups) + 1))
