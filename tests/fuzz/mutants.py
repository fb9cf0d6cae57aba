"""Hostile variants of a file: bytes that are damaged, and words that mean harm."""

import random
import re
import struct
from collections.abc import Callable

from fuzz import container_mutants as containers
from fuzz.json_mutants import change_json, change_line
from fuzz.picture_mutants import change_jpeg, change_kind, change_png, change_tiff
from fuzz.text_mutants import change_csv, change_xml, change_yaml

Change = Callable[[bytes, random.Random], bytes]

WORDS = (
    b"../../../../tmp/escaped", b"/etc/passwd", b"C:\\x", b"..", b".", b"", b"a\nb", b"\x00",
    b"\x1b[31m", b"\xff\xfe", b"\xed\xa0\x80", b"a" * 100_000,
    "\N{RIGHT-TO-LEFT OVERRIDE}".encode(), b"&#x1b;", b"\\ud800", b"\\u0000",
    b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"&b;", b"!!python/object:os",
)  # fmt: skip
NUMBERS = (
    b"-1", b"0", b"1", b"255", b"256", b"65536", b"16777216", b"2147483647", b"2147483648",
    b"9223372036854775807", b"9223372036854775808", b"-9223372036854775809", b"1e308", b"1e999",
    b"-0.0", b"0.1", b"NaN", b"nan", b"Infinity", b"-inf", b"9" * 5000, b"1e-320", b"0x10", b"1_0",
)  # fmt: skip
VALUES = (
    b"null", b"true", b"[]", b"{}", b'""', b"[[]]", b'{"": 0}', b"[null]", b"[" * 100_000,
    b'{"a":' * 20_000, b"[0" + b",0" * 50_000 + b"]", b"&a [*a, *a]", b"*a",
)  # fmt: skip
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
_WORD = re.compile(rb"[A-Za-z_][A-Za-z0-9_./-]*")
_VALUE = re.compile(rb'"[^"\n]*"|-?\d+(?:\.\d+)?|\[[^\[\]]*\]|\{[^{}]*\}')
_LINE = re.compile(rb"^[^\n]*\n", re.M)


def _exchanged(content: bytes, rng: random.Random, pattern: re.Pattern[bytes], by: bytes) -> bytes:
    found = list(pattern.finditer(content))
    if not found:
        return content + by
    place = rng.choice(found)
    return content[: place.start()] + by + content[place.end() :]


def _flip(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content or b"\0")
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _overwrite(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content) + 1)
    new = rng.choice((b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", rng.randbytes(8)))
    return content[:start] + new + content[start + len(new) :]


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _lose(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content) + 1)
    return content[:start] + content[start + rng.choice((1, 2, 16, 200)) :]


def _repeat(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content) + 1)
    part = content[start : start + rng.choice((1, 4, 40, 400))]
    return content[:start] + part * rng.choice((2, 3, 1000)) + content[start:]


def _word(content: bytes, rng: random.Random) -> bytes:
    return _exchanged(content, rng, _WORD, rng.choice(WORDS))


def _number(content: bytes, rng: random.Random) -> bytes:
    return _exchanged(content, rng, _NUMBER, rng.choice(NUMBERS))


def _value(content: bytes, rng: random.Random) -> bytes:
    return _exchanged(content, rng, _VALUE, rng.choice(VALUES))


def _line(content: bytes, rng: random.Random) -> bytes:
    found = _LINE.findall(content)
    return _exchanged(content, rng, _LINE, rng.choice(found or [b"\n"]))


def _field(content: bytes, rng: random.Random) -> bytes:
    """A number of a header: at an even place near the start, in either order of bytes."""
    size, order = rng.choice(("B", "H", "I", "I", "Q")), rng.choice("<<>")
    width = struct.calcsize(size)
    most = 2 ** (8 * width)
    value = rng.choice((0, 1, 2, 3, 8, 16, 255, most // 2 - 1, most // 2, most - 1, most // 256))
    start = 2 * rng.randrange(max(1, min(len(content), 400) // 2))
    return content[:start] + struct.pack(f"{order}{size}", value % most) + content[start + width :]


BYTES: tuple[Change, ...] = (_flip, _flip, _overwrite, _cut, _lose, _repeat, _field, _field)
TEXT = (*BYTES[:-2], _word, _word, _number, _number, _number, _value, _value, _line)


def _bytes(content: bytes, rng: random.Random) -> bytes:
    return rng.choice(BYTES)(content, rng)


def _and(kinds: tuple[Change, ...], *changes: Change) -> tuple[Change, ...]:
    """Half of all changes know what the file is."""
    return (*kinds, *(changes * (1 + len(kinds) // len(changes)))[: len(kinds)])


FORMATS: dict[str, tuple[Change, ...]] = {
    "bytes": BYTES,
    "text": TEXT,
    "json": _and(TEXT, change_json),
    "lines": _and(TEXT, change_line),
    "xml": _and(TEXT, change_xml),
    "csv": _and(TEXT, change_csv),
    "yaml": _and(TEXT, change_yaml),
    "png": _and(BYTES, change_png, change_png, change_kind),
    "jpeg": _and(BYTES, change_jpeg, change_jpeg, change_kind),
    "tiff": _and(BYTES, change_tiff, change_tiff, change_kind),
    "picture": _and(BYTES, change_kind),
    "tar": _and(BYTES, containers.change_tar),
    "parquet": _and(BYTES, containers.change_parquet),
    "safetensors": _and(BYTES, containers.change_safetensors),
    "matlab": _and(BYTES, containers.inflated(_bytes)),
    "zip": _and(BYTES, containers.zipped(_bytes)),
}


def mutant(content: bytes, seed: str, kind: str) -> bytes:
    """A variant of a file of one of :data:`FORMATS`, the same for the same seed on any machine."""
    rng = random.Random(seed)  # of the hash of the text, not of Python's own
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        change = rng.choice(FORMATS[kind])
        try:
            content = change(content, rng)
        except Exception:  # what an earlier change made is no such file any more
            content = _flip(content, rng)
    return content
