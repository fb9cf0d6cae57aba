"""Work that is spread over processes; of three stages the middle one stays in this process."""

import os
from functools import partial

import pytest

from point2mask.workers import Stages, spread, spread_around


def first(fault, task):
    if task == fault:
        raise ValueError(f"task {task}")
    return task, os.getpid()


def last(value):
    task, reader, finder = value
    return task, reader, finder, os.getpid()


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("together", [1, 7])
def test_all_is_done_once(workers, together):
    done = list(spread(partial(first, None), range(30), workers, together))
    assert sorted(task for task, _ in done) == list(range(30))
    assert ({pid for _, pid in done} == {os.getpid()}) == (workers < 2)


def test_an_error_in_a_handful_ends_the_work():
    with pytest.raises(ValueError, match="task 5"):
        list(spread(partial(first, 5), range(10_000), 2, 3))


@pytest.mark.parametrize("workers", [1, 2])
def test_the_middle_stays_here(workers):
    asked = []

    def find(read):  # cannot be pickled
        asked.append(read[0])
        return (*read, os.getpid())

    stages = Stages(partial(first, None), find, last)
    done = list(spread_around(stages, range(30), workers))
    assert sorted(task for task, *_ in done) == list(range(30))
    assert asked == list(range(30))
    assert {finder for *_, finder, _ in done} == {os.getpid()}
    others = {pid for _, reader, _, writer in done for pid in (reader, writer)}
    assert (others == {os.getpid()}) == (workers == 1)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("where", ["read", "find"])
def test_an_error_ends_the_work(workers, where):
    def find(read):
        if where == "find" and read[0] == 5:
            raise ValueError("task 5")
        return (*read, os.getpid())

    stages = Stages(partial(first, 5 if where == "read" else None), find, last)
    taken = []

    def tasks():
        for number in range(10_000):
            taken.append(number)
            yield number

    with pytest.raises(ValueError, match="task 5"):
        list(spread_around(stages, tasks(), workers))
    assert len(taken) < 100
