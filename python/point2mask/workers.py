"""Work that is spread over processes: results as they come, a bounded number under way."""

import os
import pickle
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from multiprocessing import get_context, parent_process
from typing import Any, Generic, TypeVar, cast

Task = TypeVar("Task")
Result = TypeVar("Result")
AHEAD = 4  # tasks under way a process, so that none waits for the parent

_work: Callable[[Any], Any] | None = None  # of this process, sent once rather than with every task


class WorkerDiedError(ChildProcessError):
    """A process ended in the middle of its work."""


def spread(
    work: Callable[[Task], Result], tasks: Iterable[Task], workers: int, together: int = 1
) -> Generator[Result, None, None]:
    """The results of all tasks, in the order in which they are done.

    Args:
        work: can be pickled, if there are several workers.
        tasks: taken one after the other, never many ahead of the work.
        workers: processes; with one the work is done in this process.
        together: tasks that a worker is handed at once: it waits for the parent between them, and
            on a busy machine that is milliseconds.

    Raises:
        WorkerDiedError: a process was killed, for its memory perhaps.
    """
    if workers < 2:
        yield from map(work, tasks)
        return
    remaining = iter(tasks)
    with _processes(partial(_each, work), workers) as submit:
        running: set[Future[Any]] = set()
        while True:
            while len(running) < AHEAD * workers and (few := list(islice(remaining, together))):
                running.add(submit(few))
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield from cast(list[Result], future.result())


def _each(work: Callable[[Task], Result], tasks: list[Task]) -> list[Result]:
    return list(map(work, tasks))


@dataclass(frozen=True)
class Stages(Generic[Task, Result]):
    """Work in three steps, of which the one in the middle needs what there is once: a network."""

    read: Callable[[Task], Any]
    find: Callable[[Any], Any]
    write: Callable[[Any], Result]

    def __call__(self, task: Task) -> Result:
        return self.write(self.find(self.read(task)))


@dataclass(frozen=True)
class _Ends:
    """The first and the last step, for the processes that do them."""

    read: Callable[[Any], Any]
    write: Callable[[Any], Any]

    def __call__(self, task: tuple[bool, Any]) -> Any:
        last, value = task
        return self.write(value) if last else self.read(value)


def spread_around(
    stages: Stages[Task, Result], tasks: Iterable[Task], workers: int
) -> Generator[Result, None, None]:
    """The results of all tasks, as they are done; the middle step is done in this process.

    Args:
        stages: whose first and last step can be pickled, if there are several workers.
        tasks: taken one after the other, never many ahead of the work.
        workers: processes for the first and the last step; with one all is done in this process.

    Raises:
        WorkerDiedError: a process was killed, for its memory perhaps.
    """
    if workers < 2:
        yield from map(stages, tasks)
        return
    remaining = iter(tasks)
    with _processes(_Ends(stages.read, stages.write), workers) as submit:
        reading: deque[Future[Any]] = deque()
        writing: set[Future[Any]] = set()
        while True:
            limit = AHEAD * workers - len(writing)
            for task in islice(remaining, max(0, limit - len(reading))):
                reading.append(submit((False, task)))
            if reading:
                writing.add(submit((True, stages.find(reading.popleft().result()))))
            elif not writing:
                return
            enough = len(writing) < AHEAD * workers and reading
            done, writing = wait(writing, 0 if enough else None, FIRST_COMPLETED)
            for future in done:
                yield cast(Result, future.result())


@contextmanager
def _processes(work: Callable[[Any], Any], workers: int) -> Iterator[Callable[[Any], Future[Any]]]:
    """Processes that do a work; what is yielded hands them a task."""
    # Fresh processes, as forking one with threads (torch's, say) can hang.
    context = get_context("spawn")
    threads = max(1, (os.cpu_count() or 1) // workers)
    with ProcessPoolExecutor(workers, context, _start, (pickle.dumps(work), threads)) as pool:
        try:
            yield lambda task: pool.submit(_run, task)
        except BrokenProcessPool as error:
            raise WorkerDiedError(
                "a worker process was killed, for want of memory perhaps; fewer workers need less"
            ) from error
        finally:  # after an error nobody wants the rest
            pool.shutdown(wait=False, cancel_futures=True)


def _start(work: bytes, threads: int) -> None:
    global _work
    # A parent that is killed cannot say goodbye: whoever outlives it would work on unseen.
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Before numerical libraries are loaded, which happens when the work is unpickled.
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    _work = pickle.loads(work)


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _run(task: object) -> object:
    assert _work is not None
    return _work(task)
