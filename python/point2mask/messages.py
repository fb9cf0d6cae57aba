"""Words of messages: values, names and numbers as a person reads them."""

import difflib
from collections.abc import Sequence

_SHOWN = 80  # characters of a wrong value


def shown(value: object) -> str:
    """A value in a message: on one line, and not without end."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no integers of more than 4300 digits
        return "a number of thousands of digits"
    return cut(text)


def cut(text: str) -> str:
    """A text in a message, without its end where that is far."""
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def nearest(text: str, known: Sequence[str], cutoff: float = 0.6) -> str | None:
    """The name that is most like a text, None if none is near."""
    close = difflib.get_close_matches(text[:_SHOWN], known, n=1, cutoff=cutoff)
    return close[0] if close else None


def did_you_mean(value: object, known: Sequence[str], cutoff: float = 0.5) -> str:
    """The question for the name that is nearest, after a semicolon; nothing if none is near."""
    if not isinstance(value, str):
        return ""
    close = nearest(value, known, cutoff)
    return "" if close is None else f"; did you mean {close!r}?"


def number_of(number: int, noun: str) -> str:
    """A number of what is called so.

    >>> number_of(1, "image"), number_of(0, "image")
    ('1 image', '0 images')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"
