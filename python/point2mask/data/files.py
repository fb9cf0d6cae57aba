"""Files from outside: paths that stay in their folder, bounded reading, safe writing."""

import codecs
import hashlib
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import DEFAULT_BUFFER_SIZE, BufferedReader, BytesIO, FileIO
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO, cast

from point2mask.data.errors import DataError
from point2mask.data.places import below, is_local
from point2mask.data.tars import in_tar, member_size, read_member
from point2mask.messages import shown

MAX_IN_MEMORY = 2**24  # bytes of a file that is written to a store; larger ones wait on the disk
# What needs no second look: parts that begin with a letter or digit, between single slashes.
_PLAIN = re.compile(r"[A-Za-z0-9_][\w ()+,=@&~.-]*(?:/[A-Za-z0-9_][\w ()+,=@&~.-]*)*")

_TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.tmp")
NOT_COMPRESSED = (".bmp", ".tif", ".tiff")  # pictures whose bytes are as many as their pixels want
MAX_PART, MAX_NAME = 255, 4000  # bytes between separators, and characters of all


def is_plain(name: str) -> bool:
    """Whether a name is at one glance in normal form; other names may be so too."""
    return len(name) <= MAX_PART and _PLAIN.fullmatch(name) is not None


def normal_name(name: str, place: object) -> str:
    """The one form of a relative name: parts between ``/``, neither ``\\`` nor ``.`` among them.

    Raises:
        DataError: on POSIX or on Windows the name would be absolute or lead upwards, it cannot be
            printed (line breaks, other control characters, bytes that are not UTF-8), is longer
            than a file's can be, or there is none.
    """
    if is_plain(name):
        return name
    check_text(name, place)
    if len(name) > MAX_NAME or any(
        len(os.fsencode(x)) > MAX_PART for x in re.split(r"[/\\]", name)
    ):
        raise DataError(f"{place}: expected a name that a file can have, got {shown(name)}")
    path = PurePosixPath(name.replace("\\", "/"))
    windows = PureWindowsPath(name)
    if not path.name or windows.anchor or path.root or ".." in path.parts:
        raise DataError(f"{place}: expected a relative path inside its folder, got {shown(name)}")
    return path.as_posix()


def with_suffix(name: str, suffix: str) -> str:
    """A name in normal form with another suffix, or with one.

    >>> with_suffix("a.b/c.d.jpg", ".png"), with_suffix("a.b/.c", ".png")
    ('a.b/c.d.png', 'a.b/.c.png')
    """
    start = name.rfind("/") + 1
    dot = name.rfind(".", start)
    return (name[:dot] if start < dot < len(name) - 1 else name) + suffix


def resolve_inside(folder: Path, name: str) -> Path:
    """``folder / name``, or an error if that leads out of the folder, be it by a symbolic link."""
    name = normal_name(name, folder)
    if not is_local(folder):  # a store has no links
        if "::" in name or ":/" in name:
            raise DataError(f"{folder}: expected a name that is no URL, got {shown(name)}")
        return below(folder, name)
    path = folder / name
    try:
        resolved = path.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(f"{path}: cannot be resolved ({error})") from error
    if not resolved.is_relative_to(folder.resolve()):
        raise DataError(f"{path}: expected a file inside {folder}, but it leads to {resolved}")
    return resolved


class _File(BufferedReader):
    """A file that asks for no more memory than it has bytes.

    Python's own makes room at once for all that is asked for, be it the four gigabytes that a
    broken header announces.
    """

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > DEFAULT_BUFFER_SIZE:
            size = min(size, max(0, os.fstat(self.fileno()).st_size - self.tell()))
        return super().read(size)


@contextmanager
def open_regular(path: Path, expected: str) -> Iterator[BufferedReader | BytesIO]:
    """Opens an ordinary file for reading; ``expected`` says in errors what it should have held."""
    if not is_local(path):
        yield BytesIO(_fetched(path, expected))
        return
    if member := in_tar(path):
        yield BytesIO(read_member(*member, expected))
        return
    try:
        if path.exists() and not path.is_file():  # opening a pipe would wait for ever
            raise DataError(f"{path}: expected {expected}, but it is not an ordinary file")
        file = _File(FileIO(path))
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"{path}: expected {expected}, but it cannot be read ({reason})") from error
    with file:
        yield file


def _fetched(path: Path, expected: str) -> bytes:
    """A file of a store."""
    try:
        if member := in_tar(path):
            return read_member(*member, expected)
        return path.read_bytes()
    except DataError:
        raise
    except Exception as error:  # every store has its own
        raise DataError(f"{path}: expected {expected}, but it cannot be read ({error})") from error


@contextmanager
def open_local(path: Path, expected: str) -> Iterator[BinaryIO]:
    """The same with a descriptor: for a file of a store or a tar, that of a nameless copy."""
    if is_local(path) and not in_tar(path):
        with open_regular(path, expected) as file:
            yield file
        return
    with tempfile.TemporaryFile() as copy:
        with _open_pieces(path, expected) as source, named(Path(tempfile.gettempdir())):
            shutil.copyfileobj(source, copy)
        copy.seek(0)
        yield copy


@contextmanager
def _open_pieces(path: Path, expected: str) -> Iterator[BinaryIO]:
    """The same for what is read once from its start: a file of a store is not fetched whole."""
    if is_local(path) or in_tar(path):
        with open_regular(path, expected) as regular:
            yield regular
        return
    try:
        with path.open("rb") as file:
            yield file
    except Exception as error:  # every store has its own
        raise DataError(f"{path}: expected {expected}, but it cannot be read ({error})") from error


def file_size(path: Path) -> int | None:
    """Bytes of an ordinary file, in a tar perhaps; None where there is none."""
    if member := in_tar(path):
        return member_size(*member)
    return path.stat().st_size if path.is_file() else None


def fingerprint(path: Path) -> tuple[int, str] | None:
    """What tells a picture from one that replaces it: its bytes and, if not compressed, a digest.

    A compressed picture that is replaced rarely has as many bytes. None where there is no file.
    """
    size = file_size(path)
    if size is None:
        return None
    if path.suffix.lower() not in NOT_COMPRESSED:
        return size, ""
    digest = hashlib.blake2b(digest_size=16)
    with _open_pieces(path, "a picture") as file:
        while piece := file.read(2**20):
            digest.update(piece)
    return size, digest.hexdigest()


def temporary_name(path: Path) -> Path:
    """A new name beside ``path``, for what is renamed to it once it is whole."""
    return path.with_name(f".{secrets.token_hex(8)}.tmp")


def remove_temporaries(root: Path, deep: bool = True) -> None:
    """Removes the files that killed processes left half-written in a folder and those below it.

    Nobody may be writing there. Without ``deep`` folders below it stay as they are.
    """
    for folder, _, names in os.walk(root):
        for name in names:
            if _TEMPORARY.fullmatch(name):
                Path(folder, name).unlink(missing_ok=True)
        if not deep:
            return


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Gives the name of a file to errors of the system that have none, as those of a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


@contextmanager
def open_replacing(path: Path) -> Iterator[BinaryIO]:
    """Opens a file beside ``path`` for writing, and renames it to ``path`` once it is on the disk.

    A store gets it in one piece, once it is whole.

    For code that writes by the methods of the file, all of which fail on a full disk. Libraries
    that write to the descriptor themselves may not notice: they encode to memory, and
    :func:`write_bytes` writes.
    """
    if not is_local(path):
        with tempfile.SpooledTemporaryFile(MAX_IN_MEMORY) as whole:
            yield cast(BinaryIO, whole)
            whole.seek(0)
            with path.open("wb") as target:
                shutil.copyfileobj(whole, target)
        return
    if path.is_dir():  # renaming would fail with the name of the temporary file
        raise DataError(f"{path}: expected the name of a file to write, but it is a folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = temporary_name(path)
    try:
        try:
            opened = beside.open("xb")
        except OSError as error:
            error.filename = str(path)  # nobody knows the other name
            raise
        with named(path), opened as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all."""
    with open_replacing(path) as file:
        file.write(content)


def sync(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with named(path):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def link_or_copy(source: Path, target: Path) -> None:
    """Makes ``target`` a second name of the file ``source``, or a copy where that cannot be.

    A hard link takes no room, and unlike a symbolic one it outlives its source. It must not be
    written into; everything here writes beside and renames.
    """
    if not (is_local(source) and is_local(target)):
        write_bytes(target, source.read_bytes())
        return
    if target.is_dir():
        raise DataError(f"{target}: expected the name of a file to write, but it is a folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = temporary_name(target)
    try:
        os.link(source, beside)
    except OSError:  # another file system, one without links, or a file of somebody else
        with source.open("rb") as original, open_replacing(target) as file:
            shutil.copyfileobj(original, file)
        return
    try:
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)  # renaming to another name of the same file does nothing


def write_json(path: Path, value: object) -> None:
    """Writes compact UTF-8 JSON atomically; NaN and infinity are errors."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    write_bytes(path, text.encode() + b"\n")


def read_bounded(path: Path, expected: str, limit: int) -> bytes:
    """The bytes of an ordinary file; more than ``limit`` of them are an error."""
    pieces, left = [], limit + 1
    with _open_pieces(path, expected) as file:
        # Some stores give what has come so far, and less than is asked for.
        while piece := file.read(left):
            pieces.append(piece)
            left -= len(piece)
    if left == 0:
        raise DataError(f"{path}: expected {expected} of at most {limit} bytes, got more")
    return b"".join(pieces)


def as_utf8(content: bytes) -> bytes:
    """A text in UTF-8 without mark of the order of bytes. With one, as Windows sets it, UTF-16 is
    read too; other bytes stay as they are, for the reader of the text to refuse."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            content = content.decode("utf-16").encode()
        except UnicodeError:
            return content
    return content.removeprefix(codecs.BOM_UTF8)


# Control characters would reach a terminal, line breaks end a name; lone surrogates, bytes of names
# that are not UTF-8, cannot be written.
MAX_MESSAGE = 5000  # characters; a path has 4096
_UNPRINTABLE = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029\\ud800-\\udfff]")


def check_text(value: str, place: object) -> str:
    """``value`` if it is not empty and can be printed, else an error."""
    if not is_text(value):
        raise DataError(
            f"{place}: expected text without line breaks, control characters and bytes that are "
            f"not UTF-8, got {shown(value)}"
        )
    return value


def is_text(value: str) -> bool:
    """Whether it is not empty and can be printed on one line."""
    return bool(value) and not _UNPRINTABLE.search(value)


def one_line(text: str) -> str:
    """A message that a terminal shows as it is: without control characters, and of bounded length.

    >>> one_line("a name\\nof two lines")
    'a name\\\\nof two lines'
    """
    text = _UNPRINTABLE.sub(lambda match: repr(match[0])[1:-1], text)
    return text if len(text) <= MAX_MESSAGE else f"{text[: MAX_MESSAGE - 3]}..."
