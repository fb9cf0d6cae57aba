"""Where files are: paths of this machine, and URLs of stores such as ``s3://bucket/photos``.

fsspec reaches the stores (each by a package of its own: s3fs, gcsfs, huggingface_hub), and
universal_pathlib gives their URLs the methods of paths, so that the rest of the package needs to
know of :func:`path_of` alone.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import cast
from urllib.parse import unquote, urlsplit

from point2mask.data.errors import DataError
from point2mask.data.tars import SUFFIX, begins_as_tar, member_names

_URL = re.compile(r"[a-z][a-z0-9+.-]+://")  # not C://, a drive
_EXTRAS = {"s3": "s3", "gs": "gs", "gcs": "gs", "hf": "hf"}


def is_url(text: str) -> bool:
    """Whether a text is meant for a place in a store; ``file://`` is this machine."""
    return "://" in text and not text.startswith("file://")


def path_of(text: str | Path) -> Path:
    """A path, or what has the methods of one for a URL.

    Raises:
        DataError: nothing here can read such URLs, or it is no whole one.
    """
    if not isinstance(text, str):
        return text
    if "://" not in text:
        return Path(text)
    if not _URL.match(text):  # as a path it would be a folder of a strange name
        raise DataError(f"{text}: expected a path, or a URL of a known kind")
    scheme = text.partition("://")[0]
    try:
        if scheme == "file":
            return Path(unquote(urlsplit(text).path))
        from upath import UPath

        path = UPath(text)
        _ = path.fs  # the package of the store is imported here
    except ImportError as error:
        extra = _EXTRAS.get(scheme, "remote")
        raise DataError(f"{text}: {error}; pip install 'point2mask[{extra}]'") from error
    except ValueError as error:
        raise DataError(f"{text}: expected a path, or a URL of a known kind ({error})") from error
    except Exception as error:  # every store has its own; some connect here
        raise DataError(f"{text}: cannot be reached ({error or type(error).__name__})") from error
    return cast(Path, path)


def is_local(path: Path) -> bool:
    """Whether a path is one of this machine, with links, locks and renaming."""
    return isinstance(path, Path)


def below(root: Path, *names: str) -> Path:
    """``root / name / ...``, by a connection of this process where that is needed.

    What talks to a store does not outlive a fork, as a process that loads data for training is.
    """
    return (root if is_local(root) else path_of(str(root))).joinpath(*names)


def written_in(root: Path, text: str) -> Path:
    """What a person has written: a URL, or a path that starts from ``root``."""
    return path_of(text) if "://" in text else below(root, text)


def files_below(root: Path, links: list[Path] | None = None) -> Iterator[Path]:
    """All files of a folder and its folders, sorted in each; those in tars too.

    Links to folders are not followed, but added to ``links``. A tar counts as a folder of its name.
    """
    if root.suffix == SUFFIX and root.is_file():
        for name in member_names(root):
            yield root / name
    else:
        for path in packed_below(root, links):
            yield from unpacked(path)


def unreadable(error: OSError) -> None:
    """For ``os.walk``, which else passes over a folder that cannot be read, as over none."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return
    raise DataError(f"{error.filename}: expected a folder, but it cannot be read ({error})")


def packed_below(root: Path, links: list[Path] | None = None) -> Iterator[Path]:
    """All files of a folder and its folders, sorted in each; a tar is one file."""
    if is_local(root):
        for folder, folders, names in os.walk(root, onerror=unreadable):
            folders.sort()
            if links is not None:
                links.extend(path for name in folders if (path := Path(folder, name)).is_symlink())
            for name in sorted(names):
                yield Path(folder, name)
    elif root.exists():
        yield from (path for path in sorted(root.rglob("*"), key=str) if path.is_file())


def unpacked(path: Path) -> Iterator[Path]:
    """The files in a tar; of any other file, be it of a tar's name, itself."""
    return files_below(path) if begins_as_tar(path) else iter([path])


def is_folder(path: Path) -> bool:
    """Whether there is a folder, or a tar, which counts as one."""
    return path.is_dir() or (path.suffix == SUFFIX and path.is_file())
