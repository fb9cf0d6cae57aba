"""Work that is spread over the machines of a Ray cluster, any of which may die."""

import logging
import os
from collections.abc import Callable, Generator, Iterable
from functools import lru_cache
from itertools import islice
from typing import Any, TypeVar, cast

Task = TypeVar("Task")
Result = TypeVar("Result")
LOCAL = "local"  # in place of an address: a cluster of this machine alone
AHEAD = 2  # tasks under way a processor, so that none waits for the driver
ATTEMPTS = 10  # at a task whose machine or process is lost


def spread_on_ray(
    work: Callable[[Task], Result],
    tasks: Iterable[Task],
    address: str,
    gpus: float = 0.0,
    together: int = 1,
) -> Generator[Result, None, None]:
    """The results of all tasks, in the order in which they are done.

    A task whose machine is lost is done again by another one; machines that join later get their
    share.

    Args:
        work: can be pickled, and imported on every machine.
        tasks: taken one after the other, never many ahead of the work.
        address: of the cluster, ``auto`` for the one that this machine belongs to, or ``local``
            to start one for the time of the work.
        gpus: share of a GPU that one task needs.
        together: tasks that Ray is handed as one, as each costs it some milliseconds.

    Raises:
        Exception: what ``work`` raises.
    """
    import ray
    from ray.exceptions import RayTaskError

    started = not ray.is_initialized()
    if started:
        ray.init(
            address=None if address == LOCAL else address,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    try:
        run = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=ATTEMPTS)(_run)
        shared = [ray.put((os.getcwd(), work))]  # in a list it is not fetched for every task
        remaining = iter(tasks)
        running: list[Any] = []
        while True:
            limit = AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))
            while len(running) < limit and (few := list(islice(remaining, together))):
                running.append(run.remote(shared, few))
            if not running:
                return
            done, running = ray.wait(running, num_returns=1)
            try:
                results: list[Result] = ray.get(done[0])
            except RayTaskError as error:
                raise error.cause from error
            yield from results
    finally:
        if started:
            ray.shutdown()


def _run(shared: list[Any], tasks: list[Any]) -> list[Any]:
    return list(map(_work(shared[0]), tasks))


@lru_cache(maxsize=1)
def _work(reference: Any) -> Callable[[Any], Any]:
    """The work, once a process: a network is in it, maybe."""
    import ray

    folder, work = ray.get(reference)
    os.chdir(folder)  # relative paths are the driver's
    return cast(Callable[[Any], Any], work)
