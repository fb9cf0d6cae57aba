"""Bounds on what a hostile file may cost."""

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MEMORY = 2**30  # bytes beyond what the process has
SECONDS = 20  # of processor time


class TooLongError(Exception):
    """A file took more than :data:`SECONDS`."""


def _stop(signum: int, frame: object) -> None:
    raise TooLongError(f"more than {SECONDS} s of processor time")


@contextmanager
def bounded() -> Iterator[None]:
    """More memory is a MemoryError, more time a :class:`TooLongError`."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGPROF, _stop)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, before[1]))
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, handler)
        resource.setrlimit(resource.RLIMIT_AS, before)
