"""What is said of one picture, how that came about, and that stuff is one target a picture."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from point2mask.data.errors import DataError
from point2mask.data.marks import NO_MARKS, Marks
from point2mask.data.records import Category, ImageRecord
from point2mask.data.targets import PointLabels, PointTarget

HISTORY = 200  # steps of an image, or of the categories, that can be undone

State = tuple[tuple[PointTarget, ...], Marks]


@dataclass(frozen=True)
class Clicks:
    """What is said of one image, and how that came about."""

    record: ImageRecord
    targets: tuple[PointTarget, ...] = ()
    marks: Marks = NO_MARKS
    noted: bool = False  # in the file from the start, where it then stays, clicks or not
    revision: int = 0  # grows with every change
    past: tuple[State, ...] = ()
    future: tuple[State, ...] = ()

    @property
    def state(self) -> State:
        return self.targets, self.marks

    def changed_to(
        self, state: State, past: tuple[State, ...], future: tuple[State, ...] = ()
    ) -> "Clicks":
        """The next revision."""
        targets, marks = state
        return replace(
            self,
            targets=targets,
            marks=marks,
            revision=self.revision + 1,
            past=past,
            future=future,
        )

    @property
    def kept(self) -> bool:
        """Whether the file holds the image."""
        return bool(self.targets) or self.noted or self.marks != NO_MARKS


def number_of_points(targets: Sequence[PointTarget], marks: Marks) -> int:
    """Those on nothing too."""
    return sum(len(target.points) for target in targets) + len(marks.rest)


def check_stuff(
    targets: Sequence[PointTarget], categories: Mapping[int, Category], place: object
) -> None:
    """That there is one target at most of every category of stuff.

    Raises:
        DataError: there are two.
    """
    seen: set[int] = set()
    for target in targets:
        category = categories[target.category_id]
        if not category.isthing and category.id in seen and not target.iscrowd:
            raise DataError(
                f"{place}: expected one target of {category.name}, which is stuff, got two"
            )
        seen.add(category.id)


def step(clicks: Clicks, state: State) -> State:
    """A state of the past or the future, with the status of now."""
    targets, marks = state
    return targets, msgspec.structs.replace(marks, status=clicks.marks.status)


def stuff_merged(
    targets: Sequence[PointTarget], marks: Marks, categories: Mapping[int, Category]
) -> State:
    """One target a category of stuff: the first one takes the clicks and strokes of the others."""
    kept: dict[int, PointTarget] = {}
    first: dict[int, int] = {}  # by category
    moved: dict[int, int] = {}  # ids of those that are gone
    for target in targets:
        category = categories.get(target.category_id)
        into = first.get(target.category_id)
        if category is None or category.isthing or target.iscrowd or into is None:
            kept[target.id] = target
            if not target.iscrowd:
                first.setdefault(target.category_id, target.id)
            continue
        one = kept[into]
        areas = (one.area, target.area)
        area = None if None in areas else sum(a for a in areas if a is not None)
        kept[into] = PointTarget(one.id, one.category_id, (*one.points, *target.points), area)
        moved[target.id] = into
    if not moved:
        return tuple(targets), marks
    strokes = tuple(
        msgspec.structs.replace(s, segment_id=moved.get(s.segment_id, s.segment_id))
        for s in marks.strokes
    )
    return tuple(kept.values()), msgspec.structs.replace(marks, strokes=strokes)


def labels_of(categories: Mapping[int, Category], images: Iterable[Clicks]) -> PointLabels:
    """Point labels of images."""
    images = list(images)
    return PointLabels(
        dict(categories),
        [(clicks.record, list(clicks.targets)) for clicks in images],
        {clicks.record.id: clicks.marks for clicks in images if clicks.marks != NO_MARKS},
    )
