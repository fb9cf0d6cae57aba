"""Images of a file, none of which is in memory before it is asked for."""

from abc import abstractmethod
from collections.abc import Collection, Iterable, Sequence
from operator import eq
from typing import Generic, Protocol, Self, TypeVar, overload

import numpy as np
from msgspec import Struct, structs
from numpy.typing import NDArray

from point2mask.data.frames import Frame
from point2mask.data.json_files import CategoryId, Flag
from point2mask.data.records import ImageRecord

Image = TypeVar("Image")
Read = TypeVar("Read", covariant=True)


class Kind(Protocol):
    """What segments and targets have in common."""

    @property
    def category_id(self) -> int: ...
    @property
    def iscrowd(self) -> bool | int: ...


class _Kind(Struct):
    category_id: CategoryId
    iscrowd: Flag = False


class Kinds(Struct):
    """Of an image in a file only what its targets are; the rest is stepped over."""

    segments_info: list[_Kind]


class ImageFile(Protocol[Read]):
    """A file of images, each of which is read when it is asked for, by its number from 0."""

    def __len__(self) -> int: ...

    def image(self, number: int) -> Read:
        """An image and what is known of it."""

    def record(self, number: int) -> ImageRecord:
        """An image alone."""

    def have_any(self, categories: Collection[int]) -> NDArray[np.bool_]:
        """Of all images ``[N]``, whether a target is of these categories, and no crowd."""


class FiledImages(Sequence[Image], Generic[Image]):
    """Images of a file; any choice of them, in any order."""

    def __init__(
        self,
        file: ImageFile[Image],
        numbers: Sequence[int] | None = None,
        frame: Frame | None = None,
    ) -> None:
        """
        Args:
            file: that holds them.
            numbers: of those that are this sequence; None for all.
            frame: that they are taken to be in; None for what the file says.
        """
        self._file, self._frame = file, frame
        self._numbers = range(len(file)) if numbers is None else numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> Image: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> "Image | Self":
        if isinstance(index, slice):
            return type(self)(self._file, self._numbers[index], self._frame)
        image = self._file.image(self._numbers[index])
        return image if self._frame is None else self._with(image, self._frame)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(map(eq, self, other))

    __hash__ = None  # type: ignore[assignment]  # as a list has none

    @staticmethod
    @abstractmethod
    def _with(image: Image, frame: Frame) -> Image:
        """An image that is taken to be in a frame."""

    def record(self, index: int) -> ImageRecord:
        """An image without what is known of it, which is not even read where that can be."""
        record = self._file.record(self._numbers[index])
        return record if self._frame is None else structs.replace(record, frame=self._frame)

    def have_any(self, categories: Collection[int]) -> NDArray[np.bool_]:
        """See :class:`ImageFile`."""
        return self._file.have_any(categories)[np.asarray(self._numbers, np.int64)]

    def in_frame(self, frame: Frame) -> Self:
        """The same images, on pictures as ``frame``."""
        return type(self)(self._file, self._numbers, frame)


def have_any(images: Iterable[Kinds], categories: Collection[int]) -> NDArray[np.bool_]:
    """Of all images ``[N]``, whether a target is of these categories, and no crowd."""
    return np.array([any_of(image.segments_info, categories) for image in images], np.bool_)


def any_of(entries: Iterable[Kind], categories: Collection[int]) -> bool:
    """Whether one of the segments or targets is of these categories, and no crowd."""
    return any(entry.category_id in categories and not entry.iscrowd for entry in entries)
