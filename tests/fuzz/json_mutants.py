"""Hostile variants of JSON that is still JSON: other types, repeated keys, odd numbers, names."""

import json
import random
import unicodedata
from collections.abc import Callable
from typing import Any


class Raw(str):
    """A value as it stands in the text."""

    __slots__ = ()


class Pairs(list):
    """An object: ``[key, value]`` in their order; keys may repeat."""


Slot = tuple[list, int]  # where a value is: a list, and the position in it

NUMBERS = (
    "-1", "0", "-0", "-0.0", "0.5", "1e0", "5.0", "1e-400", "1e308", "-1e308", "1E+400", "255",
    "256", "65535", "65536", "16777215", "16777216", "2147483647", "2147483648", "4294967296",
    "9007199254740993", "9223372036854775807", "9223372036854775808", "-9223372036854775809",
    "18446744073709551616", "1" + "0" * 400, "9" * 5000, "0." + "3" * 400, "NaN", "-Infinity", "01",
    "1_000", "0x1F", "+1", ".5", "1.", "1e",
)  # fmt: skip
ODD = (
    "null", "true", "false", "[]", "{}", '""', "[[]]", "[null]", '{"": 0}', '{"": {"": []}}', '"0"',
    "[0, 0]", "[0, 0, 0]", "[[0, 0]]", "[1.5, 2.5]", "[true]", '["a"]', "[1e308, -1e308]",
    "[" * 2000 + "]" * 2000, '{"a":' * 2000 + "0" + "}" * 2000, "[" + "0," * 30_000 + "0]",
    "[" + "[]," * 5000 + "[]]", *NUMBERS[:27],
)  # fmt: skip
TEXTS = (
    "", " ", ".", "..", "/", "./a.png", "a//./a.png", "../a.png", "sub/../a.png", "/etc/passwd",
    "C:\\a.png", "C:a.png", "\\\\host\\share\\a.png", "sub\\a.png", "a.png/", "a.png ", "A.PNG",
    "a", "a.", ".png", "a.png\0", "a\nb.png", "\x1b[31ma.png", "\u202egnp.a", "\u2028",
    "\ufeffa.png", "\ud800", "\udc80a.png", "a\u0301.png", "\xe1.png", "\U0001f600.png",
    "\uff41.png", "CON", "NUL.png", "a.tar/b.png", "photos.tar/photos/a.png", "a.jpg.png",
    "a:b.png", "s3://bucket/a.png", "file:///etc/passwd", "http://[x",
    "https://user:pw@host/a.png?d=../../x", "%2e%2e%2fa.png", "~", "$HOME", "`id`", "*.png",
    "[a].png", "stored", "shown", "done", "polygon", "line", "keypointlabels", "x" * 300 + ".png",
    "x/" * 3000 + "a.png", "x" * 70_000, "PPYo", "0" * 12, "o" * 11 + "0", "`", "\x7f", "\x85", "1",
    "1.5", "NaN", "null", "data:image/png;base64,AAAA",
)  # fmt: skip


def loads(content: bytes) -> Any:
    def pairs(found: list[tuple[str, Any]]) -> Pairs:
        return Pairs([key, value] for key, value in found)

    return json.loads(content, object_pairs_hook=pairs, parse_int=Raw, parse_float=Raw)


def dumps(value: Any, plain: bool = True) -> str:
    """The text; ``plain`` writes characters beyond ASCII as escapes."""
    if isinstance(value, Raw):
        return value
    if isinstance(value, Pairs):
        inside = (
            f"{json.dumps(key, ensure_ascii=plain)}: {dumps(part, plain)}" for key, part in value
        )
        return "{" + ", ".join(inside) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(dumps(part, plain) for part in value) + "]"
    return json.dumps(value, ensure_ascii=plain)


def _slots(root: list) -> list[Slot]:
    """The places of all values, that of the whole first."""
    found: list[Slot] = [(root, 0)]
    for holder, position in found:  # which grows meanwhile
        value = holder[position]
        if isinstance(value, Pairs):
            found += [(pair, 1) for pair in value]
        elif isinstance(value, list):
            found += [(value, index) for index in range(len(value))]
    return found


def _of(root: list, kind: type, rng: random.Random) -> Slot:
    """A place of such a value; any if there is none."""
    slots = _slots(root)
    return rng.choice([s for s in slots if isinstance(s[0][s[1]], kind)] or slots)


def _copy(value: Any) -> Any:
    if isinstance(value, Pairs):
        return Pairs([key, _copy(part)] for key, part in value)
    return [_copy(part) for part in value] if isinstance(value, list) else value


def _other(root: list, rng: random.Random) -> None:
    holder, position = rng.choice(_slots(root))
    holder[position] = Raw(rng.choice(ODD))


def _from_elsewhere(root: list, rng: random.Random) -> None:
    slots = _slots(root)
    (holder, position), (other, place) = rng.choice(slots), rng.choice(slots)
    holder[position] = _copy(other[place])


def _exchanged(root: list, rng: random.Random) -> None:
    slots = _slots(root)[1:] or _slots(root)
    (holder, position), (other, place) = rng.choice(slots), rng.choice(slots)
    one, two = _copy(holder[position]), _copy(other[place])
    holder[position], other[place] = two, one


def _without(root: list, rng: random.Random) -> None:
    holder, position = _of(root, list, rng)
    value = holder[position]
    if isinstance(value, list) and value:
        del value[rng.randrange(len(value))]


def _again(root: list, rng: random.Random) -> None:
    """An entry more than once, be it a key of an object."""
    holder, position = _of(root, list, rng)
    value = holder[position]
    if isinstance(value, list) and value:
        entry = rng.choice(value)
        times = rng.choice((1, 1, 2, 300))
        more = [_copy(entry) if isinstance(entry, list) else entry for _ in range(times)]
        if isinstance(value, Pairs):
            more = [[entry[0], Raw(rng.choice(ODD))] for _ in range(times)]
        where = rng.choice((0, len(value)))
        value[where:where] = more


def _renamed(root: list, rng: random.Random) -> None:
    holder, position = _of(root, Pairs, rng)
    value = holder[position]
    if isinstance(value, Pairs) and value:
        pair = rng.choice(value)
        keys = [key for h, p in _slots(root) if isinstance(h[p], Pairs) for key, _ in h[p]]
        pair[0] = rng.choice((rng.choice(keys), pair[0].upper(), pair[0] + " ", rng.choice(TEXTS)))


def _wrapped(root: list, rng: random.Random) -> None:
    holder, position = rng.choice(_slots(root))
    value = holder[position]
    ways: list[Any] = [[value], [[value]], [value, value], Pairs([["a", value]])]
    if isinstance(value, list) and value and not isinstance(value, Pairs):
        ways.append(value[0])
    holder[position] = rng.choice(ways)


def _number(root: list, rng: random.Random) -> None:
    holder, position = _of(root, Raw, rng)
    value = holder[position]
    ways = [rng.choice(NUMBERS), rng.choice(NUMBERS)]
    if isinstance(value, Raw):
        ways += [
            f"-{value}",
            f"{value}.0",
            f"{value}e0",
            f'"{value}"',
            f"{value}0",
            f"{value}.999999999",
        ]
    holder[position] = Raw(rng.choice(ways))


def _text(root: list, rng: random.Random) -> None:
    slots = [s for s in _slots(root) if type(s[0][s[1]]) is str]
    if not slots:
        return _other(root, rng)
    holder, position = rng.choice(slots)
    value = holder[position]
    other = rng.choice(slots)
    holder[position] = rng.choice(
        (
            rng.choice(TEXTS), rng.choice(TEXTS), other[0][other[1]], value.upper(), f"./{value}",
            f" {value}", f"{value}/{value}", value * 40, value[::-1], unicodedata.normalize("NFD",
            value),
            value[:-1], value[1:],
        )
    )  # fmt: skip
    return None


CHANGES: tuple[Callable[[list, random.Random], None], ...] = (
    _other, _other, _from_elsewhere, _exchanged, _without, _again, _renamed, _wrapped, _number,
    _number, _text, _text,
)  # fmt: skip


def change_json(content: bytes, rng: random.Random) -> bytes:
    """A JSON whose values are others; now and then in another encoding."""
    root = [loads(content)]
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        rng.choice(CHANGES)(root, rng)
    way = rng.randrange(12)
    text = dumps(root[0], plain=way != 0).encode("utf-8", "surrogatepass")
    if way == 1:
        return b"\xef\xbb\xbf" + text
    if way == 2:
        return text.decode("utf-8", "surrogatepass").encode("utf-16", "surrogatepass")
    if way == 3:
        return text + rng.choice((b" ", b"\0", b"//", b"\n" + text, b"]", b","))
    return text


def change_line(content: bytes, rng: random.Random) -> bytes:
    """JSON Lines of which one, or their order, is another."""
    lines = content.splitlines(keepends=True)
    index = rng.randrange(len(lines))
    way = rng.randrange(8)
    if way == 0:
        other = rng.randrange(len(lines))
        lines[index], lines[other] = lines[other], lines[index]
    elif way == 1:
        lines.insert(index, rng.choice((b"\n", b"\r\n", b" \n", lines[index], b"{}\n", b"null\n")))
    elif way == 2:
        lines[index] = lines[index].rstrip(b"\n") + rng.choice(
            (b"", b"\r\n", b"\r", b"\0\n", b" \n")
        )
    else:
        lines[index] = change_json(lines[index], rng) + b"\n"
    return b"".join(lines)
