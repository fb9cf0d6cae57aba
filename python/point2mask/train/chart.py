"""Figures with their spread as dots on a scale. Needs NumPy and Pillow only."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Value = tuple[float, float] | None  # a mean and its spread, if known

_COLORS = ((31, 119, 180), (214, 39, 40), (44, 160, 44))
_BLACK, _GREY = (0, 0, 0), (215, 215, 215)
_HEAD, _ROW, _FOOT, _PANEL, _GAP = 30, 26, 26, 210, 36  # pixels
_STEPS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)  # between lines of the scale


def dot_chart(names: Sequence[str], panels: Mapping[str, Sequence[Value]]) -> NDArray[np.uint8]:
    """One panel a quantity, each with its own scale; one line a name, from top to bottom.

    Args:
        names: of the lines.
        panels: for every title a mean and a spread for each name, drawn as a dot, its value and a
            bar from mean - spread to mean + spread; nothing for None.

    Returns:
        ``uint8 [H, W, 3]``.
    """
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(13)
    left = _GAP + round(max((font.getlength(name) for name in names), default=0))
    width = left + len(panels) * (_PANEL + _GAP) + _GAP
    bottom = _HEAD + _ROW * len(names)
    canvas = Image.new("RGB", (width, bottom + _FOOT), (255, 255, 255))
    draw = ImageDraw.Draw(canvas)
    for index, name in enumerate(names):
        draw.text((_GAP / 2, _HEAD + _ROW * (index + 0.5)), name, _BLACK, font, anchor="lm")
    for number, (title, values) in enumerate(panels.items()):
        start = left + _GAP + number * (_PANEL + _GAP)
        color = _COLORS[number % len(_COLORS)]
        draw.text((start + _PANEL / 2, _HEAD / 2), title, color, font, anchor="mm")
        ticks = scale([value for value in values if value is not None])

        def place(value: float, start: int = start, ticks: list[float] = ticks) -> float:
            return start + _PANEL * (value - ticks[0]) / (ticks[-1] - ticks[0])

        for tick in ticks:
            draw.line((place(tick), _HEAD, place(tick), bottom), _GREY)
            draw.text((place(tick), bottom + 4), f"{tick:g}", _BLACK, font, anchor="ma")
        for index, value in enumerate(values):
            if value is None:
                continue
            (mean, spread), y = value, _HEAD + _ROW * (index + 0.5)
            x = place(mean)
            draw.line((place(mean - spread), y, place(mean + spread), y), color, 2)
            draw.ellipse((x - 4, y - 4, x + 4, y + 4), color)
            draw.text((x, y - 5), f"{mean:.1f}", _BLACK, font, anchor="mb")
    return np.asarray(canvas)


def scale(values: Sequence[tuple[float, float]]) -> list[float]:
    """Round numbers, at most seven at even distances, that enclose means and their spreads."""
    ends = [mean + sign * spread for mean, spread in values for sign in (-1, 1)] or [0.0, 1.0]
    low, high = min(ends), max(ends)
    step = next((step for step in _STEPS if high - low <= 4 * step), math.ceil((high - low) / 4))
    first, last = math.floor(low / step), math.ceil(high / step)
    return [step * index for index in range(first, max(last, first + 1) + 1)]
