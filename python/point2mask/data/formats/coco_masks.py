"""Masks of instances as COCO stores them: polygons, drawn by COCO's own code, and run lengths."""

import re
from collections.abc import Sequence
from typing import Annotated, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from point2mask.data.errors import DataError
from point2mask.data.frames import Size
from point2mask.data.json_files import Pixels, decode
from point2mask.data.report import Report
from point2mask.messages import shown

MAX_CORNERS = 50_000  # in the polygons of an instance
MAX_OUTLINE = 10_000_000  # pixels along all of its polygons
OUTLINE_WORK = 100  # pixels that are filled in the time that one of an outline takes
# Characters up to "O" end a number, those above say that more of it follow; at most 60 bits.
_RUNS = re.compile(r"(?:[P-o]{0,11}[0-O])*")


class Mask(NamedTuple):
    """The pixels of an instance, and nothing of the picture beside it."""

    rows: slice  # of the smallest box; of all the picture's if a run goes on in the next column
    columns: slice
    inside: NDArray[np.bool_]  # [rows, columns]
    outline: int = 0  # pixels along the polygons that it was drawn from

    @property
    def work(self) -> int:
        """What it costs, as pixels that are looked at."""
        return self.inside.size + OUTLINE_WORK * self.outline

    @property
    def box(self) -> tuple[slice, slice]:
        return self.rows, self.columns


class Runs(Struct):
    """Run lengths, column by column, zeros first: as a list, or as COCO's compressed text."""

    size: tuple[Pixels, Pixels]  # height, width
    counts: list[Annotated[int, Meta(ge=0)]] | str


def read_mask(raw: msgspec.Raw, size: Size, place: str, report: Report) -> Mask | None:
    """The mask of an annotation's ``segmentation``; None if it has none.

    Polygons of less than three corners are left out; without any other there is no mask.

    Raises:
        DataError: it is no segmentation, does not fit the picture or is too large.
    """
    value = decode(raw, list[list[float]] | Runs | None, place)
    if value is None:
        return None
    if isinstance(value, Runs):
        return _draw_runs(value, size, place)
    whole = [_check_polygon(polygon, size, f"{place}[{i}]") for i, polygon in enumerate(value)]
    for index, polygon in enumerate(whole):
        if len(polygon) < 3 and len(whole) > 1:
            report.leave_out("polygons of less than 3 corners", f"{place}[{index}]")
    whole = [polygon for polygon in whole if len(polygon) >= 3]
    return draw_polygons(whole, size, place) if whole else None


def _check_polygon(polygon: Sequence[float], size: Size, place: str) -> NDArray[np.float64]:
    """Corners ``[N, 2]``; they may lie outside, but less than a picture away."""
    if len(polygon) % 2:
        raise DataError(f"{place}: expected x and y of every corner, got {len(polygon)} numbers")
    corners = np.asarray(polygon, np.float64).reshape(-1, 2)
    limits = np.array([size[1], size[0]], np.float64)
    outside = (corners < -limits) | (corners > 2 * limits)
    if outside.any():
        x, y = corners[outside.any(1)][0]
        raise DataError(
            f"{place}: expected corners near {size[1]} x {size[0]} pixels, got ({x:g}, {y:g})"
        )
    return corners


def draw_polygons(polygons: Sequence[NDArray[np.float64]], size: Size, place: object) -> Mask:
    """Pixels inside one of the polygons, as COCO's own tool draws them.

    Args:
        polygons: corners ``[N, 2]``, x and y in pixels, at least three each.
        size: height and width of the picture.
        place: for errors.
    """
    from pycocotools import mask as coco_mask

    if sum(map(len, polygons)) > MAX_CORNERS:
        raise DataError(f"{place}: expected at most {MAX_CORNERS} corners, got more")
    steps = sum(float(abs(p - np.roll(p, 1, 0)).max(1).sum()) for p in polygons)
    if steps > min(MAX_OUTLINE, 4 * size[0] * size[1] + 8 * sum(size)):
        raise DataError(f"{place}: expected outlines that fit the picture, got {steps:.0f} pixels")
    encoded = coco_mask.frPyObjects([p.ravel().tolist() for p in polygons], *size)
    while len(encoded) > 1:  # by fours: one after another, the work grows as the square
        encoded = [coco_mask.merge(encoded[i : i + 4]) for i in range(0, len(encoded), 4)]
    text = encoded[0]["counts"].decode("ascii")
    mask = _draw_in_box(read_counts(text, size[0] * size[1], place), size[0])
    return mask._replace(outline=round(steps))


def _draw_runs(runs: Runs, size: Size, place: str) -> Mask:
    if runs.size != size:
        raise DataError(
            f"{place}.size: expected {list(size)}, height and width of the image, "
            f"got {list(runs.size)}"
        )
    counts: Sequence[int] | NDArray[np.int64]
    if isinstance(runs.counts, str):
        counts = read_counts(runs.counts, size[0] * size[1], f"{place}.counts")
    else:
        counts = runs.counts
    return draw_runs(counts, size, f"{place}.counts")


def draw_runs(counts: Sequence[int] | NDArray[np.int64], size: Size, place: object) -> Mask:
    """A mask from the lengths of its runs, column by column, zeros first."""
    height, width = size
    # Python's integers have no largest one; an array's are checked, and too few to overflow.
    total = sum(counts) if isinstance(counts, Sequence) else int(counts.sum())
    if total != height * width:
        raise DataError(
            f"{place}: expected runs of {width} x {height} = {height * width} pixels together, "
            f"got {total}"
        )
    return _draw_in_box(np.asarray(counts, np.int64), height)


def _draw_in_box(counts: NDArray[np.int64], height: int) -> Mask:
    """What runs in columns of ``height`` pixels cover; the work is that of its box."""
    lengths = counts[1::2]
    starts = (np.cumsum(counts)[1::2] - lengths)[lengths > 0]
    ends = starts + lengths[lengths > 0]
    if not len(starts):
        return Mask(slice(0, 0), slice(0, 0), np.zeros((0, 0), np.bool_))
    first, top = np.divmod(starts, height)
    last, bottom = np.divmod(ends - 1, height)
    within = bool((first == last).all())
    rows = slice(int(top.min()), int(bottom.max()) + 1) if within else slice(0, height)
    columns = slice(int(first[0]), int(last[-1]) + 1)
    tall, wide = rows.stop - rows.start, columns.stop - columns.start
    # A run lies in one column, or the box has all rows: its pixels follow each other there too.
    starts = (first - columns.start) * tall + top - rows.start
    edges = np.stack((starts, starts + ends - (first * height + top)), 1).ravel()
    runs = np.diff(edges, prepend=0, append=tall * wide)
    inside = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return Mask(rows, columns, inside.reshape(wide, tall).T)


def read_counts(text: str, limit: int, place: object) -> NDArray[np.int64]:
    """Lengths of runs ``int64 [N]`` from COCO's compressed text.

    Five bits a character, from 48 up, the lowest first; 32 says that more follow, 16 in the last
    one is the sign. From the fourth on a length is stored as its difference to the last but one.
    pycocotools does not check them, and what they ask for is written into its memory.

    Raises:
        DataError: other characters, a text that ends within a number, or numbers beyond ``limit``.
    """
    if not _RUNS.fullmatch(text):
        raise DataError(f"{place}: expected compressed runs, got {shown(text)}")
    codes = np.frombuffer(text.encode("ascii"), np.uint8).astype(np.int64) - 48
    last = np.flatnonzero(codes & 32 == 0)
    characters = np.diff(last, prepend=-1)
    first = last - characters + 1
    shifts = 5 * (np.arange(len(codes)) - np.repeat(first, characters))
    counts: NDArray[np.int64] = codes
    if len(first):
        counts = np.add.reduceat((codes & 31) << shifts, first)
    counts -= (codes[last] >> 4 & 1) << 5 * characters
    # What overflows comes after a number that is out of range: those in range are small steps.
    for start in (1, 2):
        np.cumsum(counts[start::2], out=counts[start::2])
    wrong = (counts < 0) | (counts > limit)
    if wrong.any():
        got = counts[wrong][0]
        raise DataError(f"{place}: expected runs of [0, {limit}] pixels, got {got}")
    return counts
