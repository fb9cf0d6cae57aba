"""SIGTERM, by which schedulers take a machine back: a run ends at a step, with a checkpoint."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from point2mask.train.errors import Stopped


class Stop:
    """Notes SIGTERM inside of its ``with`` block, in the main thread of a program.

    Attributes:
        asked: whether the signal has come.
    """

    def __init__(self) -> None:
        self.asked = False
        self._at_once = False
        self._before: Any = None

    def __enter__(self) -> "Stop":
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    @contextmanager
    def leaving_at_once(self) -> Iterator[None]:
        """The signal raises :class:`Stopped` inside of the block, which changes nothing."""
        self._at_once = True
        try:
            if self.asked:
                raise Stopped
            yield
        finally:
            self._at_once = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        if self._at_once:
            self._at_once = False
            raise Stopped


def ignore_stop(worker: int) -> None:
    """For processes that load data: a signal to the whole group is their parent's to answer."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
