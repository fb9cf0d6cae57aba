"""An export in the background, one at a time, and how far it is."""

import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from point2mask.app.storage import ConflictError
from point2mask.data.errors import DataError
from point2mask.progress import Progress

Work = Callable[[Progress], Path]


@dataclass(frozen=True)
class Status:
    """``state`` is ``none`` before the first export, then ``running``, ``done`` or ``failed``."""

    state: str = "none"
    format: str = ""
    done: int = 0
    total: int = 0
    path: str = ""
    error: str = ""


class ExportJob:
    """The export that runs or was the last one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._status = Status()
        self._scratch: weakref.finalize[..., ExportJob] | None = None  # removes it

    def scratch(self) -> Path:
        """An empty folder for files that are fetched and then forgotten; the last one is gone."""
        if self._scratch is not None:
            self._scratch()
        path = Path(tempfile.mkdtemp(prefix="point2mask-"))
        self._scratch = weakref.finalize(self, shutil.rmtree, path, ignore_errors=True)
        return path

    @property
    def status(self) -> Status:
        with self._lock:
            return self._status

    def start(self, format_name: str, work: Work) -> Status:
        """Runs ``work`` in a thread.

        Raises:
            ConflictError: an export is running.
        """
        with self._lock:
            if self._status.state == "running":
                raise ConflictError("an export is running; wait until it is done")
            self._status = Status("running", format_name)
            started = self._status
        # A daemon: whoever stops the server does not wait, and half an export is not seen.
        threading.Thread(target=self._run, args=(format_name, work), daemon=True).start()
        return started

    def _run(self, format_name: str, work: Work) -> None:
        def progress(done: int, total: int) -> None:
            with self._lock:
                self._status = Status("running", format_name, done, total)

        error = ""
        path = ""
        try:
            path = str(work(progress))
        except DataError as fault:
            error = str(fault)
        except OSError as fault:
            error = f"{fault.filename}: {fault.strerror}" if fault.filename else str(fault)
        except ModuleNotFoundError as fault:
            error = f"this needs {fault.name}; run: pip install 'point2mask[app]'"
        except Exception as fault:  # the page must not wait for ever
            error = f"{type(fault).__name__}: {fault}"
            raise
        finally:
            with self._lock:
                last = self._status
                state = "failed" if error else "done"
                self._status = Status(state, format_name, last.done, last.total, path, error)
