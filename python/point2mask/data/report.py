"""What a reader took of a file and what it left out, so that nothing is lost without a word."""

from collections import Counter
from dataclasses import dataclass, field

from point2mask.data.errors import DataError
from point2mask.messages import number_of

FIRST = 3  # places named of each kind


@dataclass
class Report:
    """Collects, for one command, what was read, what was left out and what should be known.

    Attributes:
        strict: whatever would be left out is an error instead.
        skip_broken: entries that cannot be used are left out instead of ending the work.
    """

    strict: bool = False
    skip_broken: bool = False
    read: Counter[str] = field(default_factory=Counter)  # kind, in the plural -> number
    left_out: dict[str, list[str]] = field(default_factory=dict)  # why -> places
    notes: dict[str, list[str]] = field(default_factory=dict)  # what was assumed -> places

    def leave_out(self, reason: str, place: object) -> None:
        """``reason`` is what and why in the plural: "polygons of less than 3 corners"."""
        if self.strict:
            raise DataError(f"{place}: {reason} would be left out; --strict makes that an error")
        self.left_out.setdefault(reason, []).append(str(place))

    def note(self, assumption: str, place: object) -> None:
        """Something that was decided for the reader; never an error."""
        self.notes.setdefault(assumption, []).append(str(place))

    def broken(self, error: DataError, what: str) -> None:
        """Leaves an entry out because of ``error``, or raises it."""
        if self.strict or not self.skip_broken:
            raise error
        self.left_out.setdefault(_unusable(what), []).append(str(error))

    def count(self, what: str) -> int:
        """How many of a kind :meth:`broken` has left out."""
        return len(self.left_out.get(_unusable(what), ()))

    def lines(self) -> list[str]:
        """For a person: counts, and the first places of each kind."""
        lines = []
        if self.read:
            counts = ", ".join(
                number_of(number, kind.removesuffix("s")) for kind, number in self.read.items()
            )
            lines.append(f"read: {counts}")
        for head, entries in (("left out", self.left_out), ("note", self.notes)):
            for reason, places in entries.items():
                named = "; ".join(places[:FIRST])
                more = f"; and {len(places) - FIRST} more" if len(places) > FIRST else ""
                lines.append(f"{head}: {len(places)} {reason}: {named}{more}")
        return lines

    def after(self) -> str:
        """The same behind another message."""
        return "".join(f"; {line}" for line in self.lines())

    def to_json(self) -> dict[str, object]:
        return {
            "read": dict(self.read),
            "left_out": [
                {"reason": reason, "count": len(places), "first": places[:FIRST]}
                for reason, places in self.left_out.items()
            ],
            "notes": [
                {"note": note, "count": len(places), "first": places[:FIRST]}
                for note, places in self.notes.items()
            ],
        }


def _unusable(what: str) -> str:
    return f"{what} that cannot be used"
