"""Work in three stages: the one in the middle stays in the process that asks for it."""

import os
from functools import partial

import pytest

from point2mask.workers import Stages, spread_around


def first(fault, task):
    if task == fault:
        raise ValueError(f"task {task}")
    return task, os.getpid()


def last(value):
    task, reader, finder = value
    return task, reader, finder, os.getpid()


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
