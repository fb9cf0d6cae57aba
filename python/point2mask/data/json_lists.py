"""JSON whose long lists stay in the file: blocks of their entries are read when they are wanted.

As objects, a million annotations take gigabytes. Of a list only the places of its blocks are kept.
msgspec judges every byte; nothing here knows more of JSON than where a list may be cut.
"""

import re
from array import array
from bisect import bisect_right
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import msgspec

from point2mask.data.errors import DataError
from point2mask.data.files import as_utf8, open_local, read_bounded
from point2mask.data.json_files import MAX_JSON, decode, decode_json
from point2mask.data.kept_file import KeptFile

BLOCK = 2**16  # bytes of a list that are read together; more where one entry has more
FIRST = 2**8  # bytes that are read first for a key or a value; more where it has more
_CUTS = 32  # places that are tried before more bytes are read

_TEXT = rb'"(?:[^"\\]|\\.)*+"'
_OPEN = re.compile(rb"[ \t\r\n]*+\{[ \t\r\n]*+")
_KEY = re.compile(rb"(" + _TEXT + rb")[ \t\r\n]*+:[ \t\r\n]*+", re.DOTALL)
_NEXT = re.compile(rb"[ \t\r\n]*+([,}])[ \t\r\n]*+")
_HEAD = re.compile(rb"[ \t\r\n]*+(\{[ \t\r\n]*+" + _TEXT + rb"[ \t\r\n]*+:)", re.DOTALL)
_END = re.compile(r"trailing characters \(byte (\d+)\)")
_SPACE = b" \t\r\n"
_RAW = msgspec.json.Decoder(msgspec.Raw)
_RAWS = msgspec.json.Decoder(list[msgspec.Raw])


class JsonList:
    """A list of a JSON file, each of whose entries is read when it is asked for."""

    def __init__(self, file: KeptFile, place: str) -> None:
        """
        Args:
            file: that it is in.
            place: what errors call it.
        """
        self._file, self._place = file, place
        # Where blocks begin and end, and the numbers of their first entries, with that of the end.
        self._starts, self._ends, self._firsts = array("q"), array("q"), array("q", [0])
        self._read: tuple[int, list[msgspec.Raw]] = (0, [])

    def __len__(self) -> int:
        return self._firsts[-1]

    def add_block(self, start: int, end: int, entries: int) -> None:
        """Bytes from ``start`` up to ``end`` that hold so many entries, with commas between."""
        self._starts.append(start)
        self._ends.append(end)
        self._firsts.append(self._firsts[-1] + entries)

    def place(self, number: int) -> str:
        """What errors call an entry."""
        return f"{self._place}[{number}]"

    def entry(self, number: int, kind: Any) -> Any:
        """An entry as ``kind``.

        Raises:
            DataError: it is none, or the file has been written over.
        """
        first, raws = self._read  # of another thread perhaps
        if not first <= number < first + len(raws):
            block = self._block_of(number)
            first, raws = self._firsts[block], self._raws(block)
            self._read = first, raws
        return decode(raws[number - first], kind, self.place(number))

    def entries(self, kind: Any) -> Iterator[Any]:
        """All entries as ``kind``, in order.

        Raises:
            DataError: as :meth:`entry`.
        """
        decoder = msgspec.json.Decoder(list[kind])
        for block, first in enumerate(self._firsts[:-1]):
            try:
                decoded = decoder.decode(self._text(block))
            except (msgspec.DecodeError, UnicodeDecodeError):
                decoded = []
            if len(decoded) != self._firsts[block + 1] - first:  # one by one, to say which is none
                decoded = [
                    decode(raw, kind, self.place(number))
                    for number, raw in enumerate(self._raws(block), start=first)
                ]
            yield from decoded

    def _block_of(self, number: int) -> int:
        return bisect_right(self._firsts, number) - 1

    def _raws(self, block: int) -> list[msgspec.Raw]:
        try:
            raws = _RAWS.decode(self._text(block))
        except (msgspec.DecodeError, UnicodeDecodeError):
            raws = []
        if len(raws) != self._firsts[block + 1] - self._firsts[block]:
            raise DataError(
                f"{self._place}: expected the list as it was at first, but the file has been "
                "written over since"
            )
        return raws

    def _text(self, block: int) -> bytes:
        start, end = self._starts[block], self._ends[block]
        return b"[" + self._file.read_at(end - start, start) + b"]"


@dataclass(frozen=True)
class JsonFile:
    """What a JSON object holds: long lists by their keys, and the text of everything else."""

    path: Path  # for errors
    lists: dict[str, JsonList] = field(default_factory=dict)
    others: dict[str, msgspec.Raw] = field(default_factory=dict)

    def has(self, key: str) -> bool:
        """Whether there is a value, other than null."""
        return key in self.lists or bytes(self.others.get(key, b"null")) != b"null"

    def list(self, key: str) -> JsonList:
        """A list.

        Raises:
            DataError: there is none.
        """
        if key not in self.lists:
            self.value(key, list)
        return self.lists[key]

    def value(self, key: str, kind: Any) -> Any:
        """Something else as ``kind``.

        Raises:
            DataError: it is none.
        """
        place = f"{self.path}: {key}"
        if key not in self.others:
            raise DataError(f"{place}: expected an entry, got none")
        return decode(self.others[key], kind, place)


def open_lists(
    path: Path, names: Collection[str], layout: str, content: bytes | None = None
) -> JsonFile:
    """Reads a JSON object once, and keeps what is not in its long lists.

    Args:
        path: the file.
        names: keys of lists that stay in the file. What else is at one of them counts as another
            value.
        layout: what the file should have been, for errors.
        content: in place of that of the file.

    Raises:
        DataError: the file cannot be read, is too large, or no JSON object.
    """
    if content is None:
        with open_local(path, layout) as file:
            kept = KeptFile(file.fileno())
        start = kept.read_at(len(BOM_UTF8), 0)
        if not start.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
            skipped = len(start) if start == BOM_UTF8 else 0
            return _read_lists(kept, path, names, layout, skipped)
        content = as_utf8(read_bounded(path, layout, MAX_JSON))
    with TemporaryFile() as file:
        file.write(content)
        file.flush()
        return _read_lists(KeptFile(file.fileno()), path, names, layout, 0)


def _read_lists(
    file: KeptFile, path: Path, names: Collection[str], layout: str, start: int
) -> JsonFile:
    if file.size > MAX_JSON:
        raise DataError(f"{path}: expected {layout} of at most {MAX_JSON} bytes, got more")
    try:
        return _Reader(file, path, names, start).read()
    except (_BrokenError, msgspec.DecodeError, UnicodeDecodeError):
        pass
    except RecursionError as error:
        raise DataError(f"{path}: expected {layout}, but its lists are nested too deep") from error
    # Whoever reads it at once says where it is broken.
    content = file.read_at(file.size - start, start)
    decode_json(content, path, dict[str, msgspec.Raw], layout)
    raise DataError(f"{path}: expected {layout}, but it changed while it was read")


class _BrokenError(Exception):
    """No JSON object, for whatever reason."""


class _Reader:
    """Goes through the text of a JSON object from its start to its end."""

    def __init__(self, file: KeptFile, path: Path, names: Collection[str], start: int) -> None:
        self._file, self._path, self._names = file, path, names
        self._at, self._end = start, file.size

    def read(self) -> JsonFile:
        found = JsonFile(self._path)
        self._take(_OPEN)
        if self._window(1) == b"}":
            self._at += 1
        else:
            while True:
                key = msgspec.json.decode(self._take(_KEY)[1], type=str)
                found.lists.pop(key, None)  # of two of one key the last counts, as everywhere
                found.others.pop(key, None)
                if key in self._names and self._window(1) == b"[":
                    found.lists[key] = self._list(key)
                else:
                    found.others[key] = self._value()
                if self._take(_NEXT)[1] == b"}":
                    break
        while rest := self._window(BLOCK):
            if rest.strip(_SPACE):
                raise _BrokenError
            self._at += len(rest)
        return found

    def _window(self, count: int) -> bytes:
        return self._file.read_at(max(0, min(count, self._end - self._at)), self._at)

    def _take(self, pattern: "re.Pattern[bytes]") -> "re.Match[bytes]":
        """What comes next, stepped over."""
        count = FIRST
        while True:
            text = self._window(count)
            match = pattern.match(text)
            # What reaches the end of the window may go on behind it.
            if match is None or (match.end() == len(text) and len(text) == count):
                if len(text) < count:
                    raise _BrokenError
                count *= 2
                continue
            self._at += match.end()
            return match

    def _value(self) -> msgspec.Raw:
        """Any value, stepped over."""
        count = FIRST
        while True:
            text = self._window(count)
            end = len(text)
            try:
                value = _RAW.decode(text)
            except msgspec.DecodeError as error:
                if (stop := _end_in(error)) is not None:
                    end = stop
                elif len(text) == count:
                    count *= 2
                    continue
                else:
                    raise _BrokenError from error
                value = _RAW.decode(text[:end])
            if end == count:  # a number may go on
                count *= 2
                continue
            self._at += end
            return value.copy()

    def _list(self, key: str) -> JsonList:
        """A list, stepped over block by block."""
        found = JsonList(self._file, f"{self._path}: {key}")
        self._at += 1
        head, count = b"", BLOCK
        while True:
            text = b"[" + self._window(count)
            if not head and (match := _HEAD.match(text, 1)):
                head = match[1]
            cut = _cut(text, head)
            if cut is None:
                if len(text) <= count:  # the file ends
                    raise _BrokenError
                count *= 2
                continue
            entries, length, ends = cut
            if entries:
                found.add_block(self._at, self._at + length, entries)
            elif len(found) or not ends:  # a comma beside which there is nothing
                raise _BrokenError
            self._at += length + 1
            if ends:
                return found
            count = BLOCK


def _cut(text: bytes, head: bytes) -> tuple[int, int, bool] | None:
    """Whole entries at the start of a text; None where none is known to be whole.

    Args:
        text: an opening bracket, and what follows it or a comma in a list.
        head: what most entries begin with; empty where that is unknown.

    Returns:
        How many entries, how many bytes they have after the bracket, and whether the list ends.
    """
    places = [len(text)]
    end = len(text)
    while head and len(places) <= _CUTS and (end := text.rfind(head, 2, end)) > 0:
        places.insert(-1, end)
    for place in places:
        before = text[:place].rstrip(_SPACE)
        whole = place == len(text)
        if not whole and not before.endswith(b","):
            continue
        try:
            entries = _RAWS.decode(text if whole else before[:-1] + b"]")
            return len(entries), len(before) - 2, whole
        except msgspec.DecodeError as error:
            if (stop := _end_in(error)) is not None:
                before = text[:stop].rstrip(_SPACE)
                return len(_RAWS.decode(before)), len(before) - 2, True
    return None


def _end_in(error: msgspec.DecodeError) -> int | None:
    """Where a value ends that something else follows; None where that is not what is wrong."""
    match = _END.search(str(error))
    return None if match is None else int(match[1]) - 1
