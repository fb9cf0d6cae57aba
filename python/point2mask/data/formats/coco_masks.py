"""Masks of instances as COCO stores them: polygons, drawn by COCO's own code, and run lengths."""

import re
import warnings
from collections.abc import Sequence
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from point2mask.data.errors import DataError
from point2mask.data.files import show
from point2mask.data.json_files import Pixels, decode
from point2mask.data.report import Report

Mask = NDArray[np.bool_]
Size = tuple[int, int]  # height and width in pixels

MAX_CORNERS = 50_000  # in the polygons of an instance
MAX_OUTLINE = 10_000_000  # pixels along all of its polygons
# Characters up to "O" end a number, those above say that more of it follow; at most 60 bits.
_RUNS = re.compile(r"(?:[P-o]{0,11}[0-O])*")


class Runs(Struct):
    """Run lengths, column by column, zeros first: as a list, or as COCO's compressed text."""

    size: tuple[Pixels, Pixels]  # height, width
    counts: list[Annotated[int, Meta(ge=0)]] | str


def read_mask(raw: msgspec.Raw, size: Size, place: str, report: Report) -> Mask | None:
    """The mask ``bool [H, W]`` of an annotation's ``segmentation``; None if it has none.

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
    """Pixels ``bool [H, W]`` inside one of the polygons, as COCO's own tool draws them.

    Args:
        polygons: corners ``[N, 2]``, x and y in pixels, at least three each.
        size: height and width of the mask.
        place: for errors.
    """
    from pycocotools import mask as coco_mask

    if sum(map(len, polygons)) > MAX_CORNERS:
        raise DataError(f"{place}: expected at most {MAX_CORNERS} corners, got more")
    steps = sum(float(abs(p - np.roll(p, 1, 0)).max(1).sum()) for p in polygons)
    if steps > min(MAX_OUTLINE, 4 * size[0] * size[1] + 8 * sum(size)):
        raise DataError(f"{place}: expected outlines that fit the picture, got {steps:.0f} pixels")
    encoded = coco_mask.frPyObjects([p.ravel().tolist() for p in polygons], *size)
    with warnings.catch_warnings():
        # Of its own way to make arrays; NumPy will ask for another.
        warnings.simplefilter("ignore", DeprecationWarning)
        mask = coco_mask.decode(coco_mask.merge(encoded))
    return np.asarray(mask, np.bool_)


def _draw_runs(runs: Runs, size: Size, place: str) -> Mask:
    if runs.size != size:
        raise DataError(
            f"{place}.size: expected {list(size)}, height and width of the image, "
            f"got {list(runs.size)}"
        )
    counts = runs.counts
    if isinstance(counts, str):
        counts = read_counts(counts, size[0] * size[1], f"{place}.counts")
    return draw_runs(counts, size, f"{place}.counts")


def draw_runs(counts: Sequence[int], size: Size, place: object) -> Mask:
    """A mask ``bool [H, W]`` from the lengths of its runs, column by column, zeros first."""
    height, width = size
    total = sum(counts)  # of Python's integers, which have no largest one
    if total != height * width:
        raise DataError(
            f"{place}: expected runs of {width} x {height} = {height * width} pixels together, "
            f"got {total}"
        )
    lengths = np.asarray(counts, np.int64)
    values = np.arange(len(lengths)) % 2 == 1
    return np.repeat(values, lengths).reshape(width, height).T


def read_counts(text: str, limit: int, place: object) -> list[int]:
    """Lengths of runs from COCO's compressed text.

    Five bits a character, from 48 up, the lowest first; 32 says that more follow, 16 in the last
    one is the sign. From the fourth on a length is stored as its difference to the last but one.
    pycocotools does not check them, and what they ask for is written into its memory.

    Raises:
        DataError: other characters, a text that ends within a number, or numbers beyond ``limit``.
    """
    if not _RUNS.fullmatch(text):
        raise DataError(f"{place}: expected compressed runs, got {show(text)}")
    counts: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        if len(counts) > 2:
            value += counts[-2]
        if not 0 <= value <= limit:
            raise DataError(f"{place}: expected runs of [0, {limit}] pixels, got {value}")
        counts.append(value)
        value = shift = 0
    return counts
