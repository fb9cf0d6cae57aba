"""Long lists of texts and of images in tens of bytes an entry, and where values stand in them.

A million images as objects take a quarter of a gigabyte, and a mapping from their names as much.
"""

from array import array
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Generic, Self, TypeVar, get_args, overload

import numpy as np
from numpy.typing import NDArray

from point2mask.data.errors import DataError
from point2mask.data.frames import Frame
from point2mask.data.json_lists import JsonList
from point2mask.data.png import SizeLimit
from point2mask.data.records import ImageId, ImageRecord, checked_record
from point2mask.data.sequences import first_repeated
from point2mask.messages import shown

FRAMES: tuple[Frame, ...] = get_args(Frame)
Value = TypeVar("Value", bound=Hashable)


class Texts:
    """Texts, one after the other in memory."""

    def __init__(self) -> None:
        self._content, self._ends = bytearray(), array("q", [0])

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, number: int) -> str:
        return self._content[self._ends[number] : self._ends[number + 1]].decode()

    def append(self, text: str) -> None:
        self._content += text.encode()
        self._ends.append(len(self._content))


class Records(Sequence[ImageRecord]):
    """Images, made as objects when they are asked for."""

    def __init__(self) -> None:
        self._numbers = array("q")  # ids, 0 where it is a text
        self._texts: Texts | None = None  # ids, empty where it is a number; None where all are
        self._names, self._frames = Texts(), bytearray()
        self._heights, self._widths = array("i"), array("i")

    def __len__(self) -> int:
        return len(self._heights)

    @overload
    def __getitem__(self, index: int) -> ImageRecord: ...
    @overload
    def __getitem__(self, index: slice) -> list[ImageRecord]: ...
    def __getitem__(self, index: int | slice) -> ImageRecord | list[ImageRecord]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]  # from the end perhaps
        return ImageRecord(
            self.id(number),
            self._names[number],
            self._heights[number],
            self._widths[number],
            FRAMES[self._frames[number]],
        )

    @classmethod
    def of(cls, records: Iterable[ImageRecord]) -> Self:
        """Those of an iterable."""
        found = cls()
        for record in records:
            found.append(record)
        return found

    def append(self, record: ImageRecord) -> None:
        identity = record.id
        if isinstance(identity, str):
            if self._texts is None:
                self._texts = Texts()
                for _ in range(len(self)):
                    self._texts.append("")
            self._texts.append(identity)
            self._numbers.append(0)
        else:
            self._numbers.append(identity)
            if self._texts is not None:
                self._texts.append("")
        self._names.append(record.file_name)
        self._heights.append(record.height)
        self._widths.append(record.width)
        self._frames.append(FRAMES.index(record.frame))

    def id(self, number: int) -> ImageId:
        """The id of an image."""
        return (self._texts and self._texts[number]) or self._numbers[number]

    def name(self, number: int) -> str:
        """The file name of an image."""
        return self._names[number]


class Positions(Generic[Value]):
    """Where values stand in a list that has each of them once; sixteen bytes are kept of each."""

    def __init__(self, count: int, value: Callable[[int], Value]) -> None:
        """
        Args:
            count: length of the list.
            value: at a position.
        """
        self._value, self._count, self._next = value, count, 0

    def find(self, value: Value) -> int | None:
        """The position of a value; None where it is nowhere."""
        expected = self._next  # lists often have one order
        if expected < self._count and self._value(expected) == value:
            self._next += 1
            return expected
        hashes, order = self._hashes
        hashed = hash(value)
        place = int(np.searchsorted(hashes, hashed))
        while place < self._count and hashes[place] == hashed:
            position = int(order[place])
            if self._value(position) == value:
                self._next = position + 1
                return position
            place += 1
        return None

    @cached_property
    def _hashes(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Those of all values in order, and the positions of the values."""
        values = map(self._value, range(self._count))
        hashes = np.fromiter(map(hash, values), np.int64, self._count)
        order = np.argsort(hashes, kind="stable")
        return hashes[order], order


def read_records(images: JsonList, limit: SizeLimit) -> Records:
    """The images of a JSON, their names in normal form.

    Raises:
        DataError: an entry that is none, an image that is too large, an id or a name that comes
            twice.
    """
    records = Records()

    def names() -> Iterator[str]:
        for index, record in enumerate(images.entries(ImageRecord)):
            normal = checked_record(record, images.place(index), limit)
            records.append(normal)
            yield normal.file_name

    same_names = first_repeated(names(), records.name)
    if repeated := first_repeated(map(records.id, range(len(records))), records.id):
        raise DataError(
            f"{images.place(repeated[1])}: expected unique image ids, got "
            f"{shown(records.id(repeated[1]))} again"
        )
    if same_names is not None:
        first, second = same_names
        raise DataError(
            f"{images.place(second)}.file_name: expected every picture once, got "
            f"{shown(images.entry(second, ImageRecord).file_name)}, which images[{first}] has too"
        )
    return records


class Annotated:
    """Which images of a list have been annotated."""

    def __init__(self, records: Records) -> None:
        self._positions = Positions(len(records), records.id)
        self._seen = bytearray(len(records))

    def image_of(self, identity: ImageId, place: object) -> int:
        """The number of the image that an annotation speaks of, for the first time."""
        number = self._positions.find(identity)
        if number is None:
            raise DataError(
                f"{place}.image_id: expected the id of one of the images, got {shown(identity)}"
            )
        if self._seen[number]:
            raise DataError(
                f"{place}: expected one annotation an image, got {shown(identity)} again"
            )
        self._seen[number] = 1
        return number

    def missing(self) -> list[int]:
        """The numbers of images without annotation."""
        return [number for number, seen in enumerate(self._seen) if not seen]
