"""What readers of point labels have in common: clicks with names of categories, to targets."""

from collections.abc import Collection, Iterable, Mapping

from point2mask.data.errors import DataError
from point2mask.data.formats.pictures import Click, ClickedImage
from point2mask.data.frames import inside, point_to_stored
from point2mask.data.json_files import MAX_SEGMENT_ID
from point2mask.data.records import Category, default_color
from point2mask.data.report import Report
from point2mask.data.targets import PointLabels, PointTarget
from point2mask.messages import shown


def to_labels(
    images: Iterable[ClickedImage],
    place: object,
    known: Mapping[int, Category] | None = None,
    stuff: Collection[str] = (),
    report: Report | None = None,
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
        report: gets what is left out.

    Raises:
        DataError: a click outside its image, in the pixel of another or of an unknown category; a
            name in ``stuff`` that no click has; no clicks. The message names the place of the
            click.
    """
    report = report or Report()
    images = list(images)
    clicks = [click for image in images for click in image.clicks]
    if not clicks:
        raise DataError(f"{place}: expected points, got none{report.after()}")
    if known is None:
        known = _number({click.category for click in clicks}, stuff, place)
    by_name: dict[str, Category] = {}
    for category in known.values():
        if category.name in by_name:
            raise DataError(
                f"{place}: expected categories of different names to look for, "
                f"got {shown(category.name)} twice"
            )
        by_name[category.name] = category
    names: set[str] = set()
    labels = []
    for image in images:
        if image.record.file_name in names:
            raise DataError(
                f"{place}: expected every image once, got {shown(image.record.file_name)} again "
                "(images of one name in different folders are told apart by --images)"
            )
        names.add(image.record.file_name)
        labels.append((image.record, _targets(image, by_name, report)))
    number = sum(len(t.points) for _, targets in labels for t in targets)
    if not number:
        raise DataError(f"{place}: expected points that can be used, got none{report.after()}")
    report.read["images"] += len(labels)
    report.read["clicks"] += number
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


def _targets(
    image: ClickedImage, categories: Mapping[str, Category], report: Report
) -> list[PointTarget]:
    owner: dict[tuple[int, int], Click] = {}
    groups: dict[tuple[str, object], list[tuple[Click, tuple[float, float]]]] = {}
    for click in image.clicks:
        try:
            point = _place(image, click, categories, owner)
        except DataError as error:
            report.broken(error, "clicks")
            continue
        part: object = None
        if categories[click.category].isthing:
            part = click.shape if click.instance is None else click.instance
        groups.setdefault((click.category, part), []).append((click, point))
    ids = _ids([[click for click, _ in group] for group in groups.values()])
    return [
        PointTarget(identity, categories[name].id, tuple(point for _, point in group))
        for identity, ((name, _), group) in zip(ids, groups.items(), strict=True)
    ]


def _place(
    image: ClickedImage,
    click: Click,
    categories: Mapping[str, Category],
    owner: dict[tuple[int, int], Click],
) -> tuple[float, float]:
    """A click in the frame of its image's record, in a pixel that it alone has."""
    if click.category not in categories:
        raise DataError(
            f"{click.place}: expected one of the categories {', '.join(categories)}, "
            f"got {shown(click.category)}"
        )
    x, y = inside(click.x, click.y, image.size, click.place)
    x, y = point_to_stored(x, y, (image.record.height, image.record.width), image.turned)
    other = owner.setdefault((int(x), int(y)), click)
    if other is not click:
        raise DataError(
            f"{click.place}: expected at most one point in a pixel, got "
            f"({click.x}, {click.y}) in that of {other.place}"
        )
    return x, y


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
