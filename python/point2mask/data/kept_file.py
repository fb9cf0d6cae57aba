"""A file that stays open, to be read at any place whenever something of it is wanted."""

import os
import weakref
from collections.abc import Callable
from multiprocessing.reduction import DupFd
from typing import Any


class KeptFile:
    """Goes along to processes that are started with it; what is pickled else is for one of them."""

    def __init__(self, descriptor: int) -> None:
        """``descriptor``: of the file, or of a copy that has no name; duplicated."""
        self.descriptor = os.dup(descriptor)
        weakref.finalize(self, os.close, self.descriptor)

    def __reduce__(self) -> tuple[Callable[[Any], "KeptFile"], tuple[Any]]:
        return _received, (DupFd(self.descriptor),)

    @property
    def size(self) -> int:
        """Bytes."""
        return os.fstat(self.descriptor).st_size

    def read_at(self, count: int, place: int) -> bytes:
        """So many bytes from a place on, or fewer at the end."""
        return os.pread(self.descriptor, count, place)


def _received(handle: Any) -> KeptFile:
    descriptor = handle.detach()
    try:
        return KeptFile(descriptor)
    finally:
        os.close(descriptor)
