"""The categories of a folder, how they came about, and what their kinds do to targets."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from point2mask.app.clicks import HISTORY, Clicks, State, step, stuff_merged
from point2mask.data.records import Category


@dataclass(frozen=True)
class CategoryStep:
    """Categories to go to, and the pictures whose targets were merged on leaving them."""

    categories: dict[int, Category]
    merged: dict[str, State] = field(default_factory=dict)  # what they were, by name


@dataclass
class Categories:
    """Those of now, and the steps back and forth from them."""

    now: dict[int, Category]
    past: list[CategoryStep] = field(default_factory=list)
    future: list[CategoryStep] = field(default_factory=list)


def pictures_after(
    there: CategoryStep, pictures: Mapping[str, Clicks]
) -> tuple[list[Clicks], dict[str, State]]:
    """Pictures that change with the categories, and what those were whose targets are merged.

    Where a thing becomes stuff, its targets on a picture become one. On the way back they are
    again what they were, unless the picture has been changed since.
    """
    changed, merged = [], {}
    for name, clicks in pictures.items():
        state = stuff_merged(clicks.targets, clicks.marks, there.categories)
        if clicks.past and clicks.past[-1] is there.merged.get(name):
            before = step(clicks, clicks.past[-1])
            changed.append(clicks.changed_to(before, clicks.past[:-1]))
        elif state[0] != clicks.targets:
            merged[name] = clicks.state
            changed.append(clicks.changed_to(state, (*clicks.past, merged[name])[-HISTORY:]))
    return changed, merged
