"""Work that is spread over processes: results as they come, a bounded number under way."""

import os
import pickle
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context, parent_process
from typing import Any, TypeVar, cast

Task = TypeVar("Task")
Result = TypeVar("Result")
AHEAD = 4  # tasks under way a process, so that none waits for the parent

_work: Callable[[Any], Any] | None = None  # of this process, sent once rather than with every task


class WorkerDiedError(ChildProcessError):
    """A process ended in the middle of its work."""


def spread(
    work: Callable[[Task], Result], tasks: Iterable[Task], workers: int
) -> Generator[Result, None, None]:
    """The results of all tasks, in the order in which they are done.

    Args:
        work: can be pickled, if there are several workers.
        tasks: taken one after the other, never many ahead of the work.
        workers: processes; with one the work is done in this process.

    Raises:
        WorkerDiedError: a process was killed, for its memory perhaps.
    """
    if workers < 2:
        yield from map(work, tasks)
        return
    # Fresh processes, as forking one with threads (torch's, say) can hang.
    context = get_context("spawn")
    remaining = iter(tasks)
    threads = max(1, (os.cpu_count() or 1) // workers)
    with ProcessPoolExecutor(workers, context, _start, (pickle.dumps(work), threads)) as pool:
        running: set[Future[Any]] = set()
        try:
            while True:
                for task in islice(remaining, AHEAD * workers - len(running)):
                    running.add(pool.submit(_run, task))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield cast(Result, future.result())
        except BrokenProcessPool as error:
            raise WorkerDiedError(
                "a worker process was killed, for want of memory perhaps; fewer workers need less"
            ) from error
        finally:  # after an error nobody wants the rest
            for future in running:
                future.cancel()


def _start(work: bytes, threads: int) -> None:
    global _work
    # Before numerical libraries are loaded, which happens when the work is unpickled.
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    _work = pickle.loads(work)
    # A parent that is killed cannot say goodbye: whoever outlives it would work on unseen.
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _run(task: object) -> object:
    assert _work is not None
    return _work(task)
