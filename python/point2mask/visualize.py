"""Pictures of segment maps and points, for people to look at. Needs NumPy and Pillow only."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from point2mask.data.errors import DataError
from point2mask.data.records import Category, Segment
from point2mask.data.segments import segment_labels
from point2mask.data.targets import PointTarget

WHITE = (255, 255, 255)
BLACK = (0, 0, 0)
SWATCH, LEGEND_ROW = 14, 22  # pixels
TINTED = 2**20  # pixels at a time: floating point has a multiple of the picture's bytes


def overlay(
    image: NDArray[np.uint8],
    segment_map: NDArray[np.integer],
    segments: Sequence[Segment],
    categories: Mapping[int, Category],
    points: Iterable[PointTarget] | None = None,
    opacity: float = 0.5,
) -> NDArray[np.uint8]:
    """The picture tinted by its segments, with white contours and the points as crosses.

    Args:
        image: ``uint8 [H, W, 3]``, RGB.
        segment_map: ids ``[H, W]``; void (0) stays as it is.
        segments: the segments of the map.
        categories: by id; segments get colours around that of their category.
        points: targets whose points are drawn, in their segment's colour with a dark rim.
        opacity: of the tint, in [0, 1].

    Returns:
        ``uint8 [H, W, 3]``.

    Raises:
        DataError: sizes differ, or an id of the map has no segment.
    """
    if image.shape != (*segment_map.shape, 3) or image.dtype != np.uint8:
        raise DataError(
            f"expected an image uint8 {[*segment_map.shape, 3]} as large as the segment map, "
            f"got {image.dtype} {list(image.shape)}"
        )
    labels = segment_labels(segment_map, [segment.id for segment in segments])
    colors = segment_colors(segments, categories)
    table = np.array([BLACK, *colors.values()], np.float32)
    result = np.empty_like(image)
    step = max(1, TINTED // image.shape[1])
    for top in range(0, image.shape[0], step):
        rows = slice(top, top + step)
        tint = np.float32(opacity) * (labels[rows] > 0)[:, :, None].astype(np.float32)
        tinted = image[rows] + tint * (table[labels[rows]] - image[rows])
        result[rows] = np.round(tinted)
    result[contours(labels)] = WHITE
    for target in points or ():
        color = colors.get(target.id, categories[target.category_id].color)
        for x, y in target.pixels:
            _draw_cross(result, x, y, color)
    return result


def segment_colors(
    segments: Iterable[Segment], categories: Mapping[int, Category]
) -> dict[int, tuple[int, int, int]]:
    """A colour for every segment id: its category's, varied for the second thing and the next."""
    seen: dict[int, int] = {}
    colors = {}
    for segment in segments:
        category = categories[segment.category_id]
        number = seen.get(category.id, 0)
        seen[category.id] = number + 1
        colors[segment.id] = _vary(category.color, number) if category.isthing else category.color
    return colors


def contours(labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Pixels ``[H, W]`` whose right or lower neighbour has another label: lines one pixel thin.

    >>> contours(np.array([[1, 1, 2]]))
    array([[False,  True, False]])
    """
    border = np.zeros(labels.shape, np.bool_)
    border[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    border[:-1] |= labels[:-1] != labels[1:]
    return border


def side_by_side(
    pictures: Sequence[NDArray[np.uint8]],
    titles: Sequence[str] | None = None,
    gap: int = 8,
) -> NDArray[np.uint8]:
    """Pictures ``uint8 [H, W, 3]`` in a row on white, top edges aligned, titles above them."""
    if not pictures:
        raise DataError("expected at least one picture to put side by side")
    if titles is not None and len(titles) != len(pictures):
        raise DataError(f"expected a title a picture, got {len(titles)} for {len(pictures)}")
    head = 18 if titles is not None else 0
    height = head + max(picture.shape[0] for picture in pictures)
    width = sum(picture.shape[1] for picture in pictures) + gap * (len(pictures) - 1)
    canvas = np.full((height, width, 3), 255, np.uint8)
    left = 0
    for index, picture in enumerate(pictures):
        right = left + picture.shape[1]
        canvas[head : head + picture.shape[0], left:right] = picture
        if titles is not None:
            canvas[:head, left:right] = _title(titles[index], head, right - left)
        left = right + gap
    return canvas


def legend(categories: Iterable[Category], width: int) -> NDArray[np.uint8]:
    """The names of categories beside their colours, in as many rows of ``width`` as they need.

    >>> from point2mask.data import Category
    >>> legend([Category(1, "cat", True, (200, 40, 60))], 100).shape
    (22, 100, 3)
    """
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(13)
    places, left, top = [], 0, 0
    for category in categories:
        length = SWATCH + 5 + round(font.getlength(category.name))
        if left and left + length > width:
            left, top = 0, top + LEGEND_ROW
        places.append((left, top, category))
        left += length + 16
    canvas = Image.new("RGB", (width, top + LEGEND_ROW), WHITE)
    draw = ImageDraw.Draw(canvas)
    for x, y, category in places:
        middle = y + LEGEND_ROW / 2
        box = (x, middle - SWATCH / 2, x + SWATCH, middle + SWATCH / 2)
        draw.rectangle(box, fill=category.color, outline=BLACK)
        draw.text((x + SWATCH + 5, middle), category.name, BLACK, font, anchor="lm")
    return np.asarray(canvas)


def stack(pictures: Sequence[NDArray[np.uint8]], gap: int = 8) -> NDArray[np.uint8]:
    """Pictures ``uint8 [H, W, 3]`` below each other on white, left edges aligned."""
    turned = [picture.swapaxes(0, 1) for picture in pictures]
    return np.ascontiguousarray(side_by_side(turned, gap=gap).swapaxes(0, 1))


def _vary(color: tuple[int, int, int], number: int) -> tuple[int, int, int]:
    """The ``number``-th variant of a colour: 0 is the colour, others lie on spirals about it."""
    if number == 0:
        return color
    # Three shifts at irrational steps, so that no two of many variants agree.
    shift = 70 * (2 * (number * np.array([0.755, 0.570, 0.430]) % 1) - 1)
    red, green, blue = (int(part) for part in np.clip(np.array(color) + shift, 20, 235))
    return red, green, blue


def _draw_cross(picture: NDArray[np.uint8], x: int, y: int, color: tuple[int, int, int]) -> None:
    """A small cross about a pixel: white with a black rim, the pixel itself in a colour."""
    height, width = picture.shape[:2]
    arm = max(3, round(min(height, width) / 80))
    for length, thick, paint in ((arm + 1, 1, BLACK), (arm, 0, WHITE)):
        for half_height, half_width in ((length, thick), (thick, length)):
            rows = slice(max(0, y - half_height), y + half_height + 1)
            columns = slice(max(0, x - half_width), x + half_width + 1)
            picture[rows, columns] = paint
    picture[y, x] = color


def _title(text: str, height: int, width: int) -> NDArray[np.uint8]:
    from PIL import Image, ImageDraw

    canvas = Image.new("RGB", (width, height), WHITE)
    ImageDraw.Draw(canvas).text((2, 3), text, fill=BLACK)
    return np.asarray(canvas)
