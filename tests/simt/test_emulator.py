"""The emulator itself: correct sample kernels pass, and each planted fault is noticed."""

import re

import numpy as np
import pytest
from simt import build

pytestmark = pytest.mark.skipif(build.compiler() is None, reason="no host C++ compiler")

RACE_SEEDS = 6
PLAIN_SEEDS = 20


def _row_sums(functions, rng, fault):
    rows, columns, threads = 5, int(rng.integers(1, 200)), int(rng.choice([64, 128]))
    matrix = rng.integers(0, 9, (rows, columns)).astype(np.float32)
    sums = np.full(rows, -1, np.float32)
    functions.row_sums(matrix.ctypes, sums.ctypes, rows, columns, threads, fault)
    return np.array_equal(sums, matrix.sum(1))


def _transpose(functions, rng, fault):
    matrix = rng.random((32, 32), np.float32)
    out = np.zeros_like(matrix)
    functions.transpose(matrix.ctypes, out.ctypes, fault)
    return np.array_equal(out, matrix.T)


def _grid_sum(functions, rng, fault):
    blocks, values = 3, rng.integers(0, 2, 250).astype(np.float32)
    parts = np.full(blocks, np.nan, np.float32)
    ticket, total = np.zeros(1, np.uint32), np.zeros(1, np.float32)
    functions.grid_sum(
        values.ctypes, values.size, parts.ctypes, ticket.ctypes, total.ctypes, blocks, fault
    )
    return total[0] == values.sum()


def _least(functions, rng, fault):
    keys = rng.integers(0, 1 << 40, 300).astype(np.uint64)
    groups = rng.integers(0, 3, keys.size).astype(np.int32)
    best, even = np.full(3, np.iinfo(np.uint64).max), np.zeros(1, np.int32)
    functions.least(keys.ctypes, groups.ctypes, keys.size, best.ctypes, even.ctypes, fault)
    expected = [keys[groups == group].min() for group in range(3)]
    return np.array_equal(best, expected) and even[0] == np.sum(keys % 2 == 0)


def _hand_over(functions, _rng, fault):
    value, flag, received = np.zeros(1, np.int32), np.zeros(1, np.uint32), np.zeros(4, np.int32)
    functions.hand_over(value.ctypes, flag.ctypes, received.ctypes, 4, fault)
    return bool(np.all(received[1:] == 42))


def _match(functions, rng, _fault):
    values = rng.integers(0, 6, 64).astype(np.int32)
    sizes = np.zeros_like(values)
    functions.match(values.ctypes, sizes.ctypes, values.size)
    expected = [np.sum(warp == value) for warp in values.reshape(2, 32) for value in warp]
    return np.array_equal(sizes, expected)


SAMPLES = (_row_sums, _transpose, _grid_sum, _least, _hand_over, _match)


def _run(flavour, sample, fault, seed):
    """Whether the result was right, and the emulator's errors."""
    machine = build.emulator(build.SAMPLES, flavour)
    machine.configure(seed, watchdog=100_000)
    right = sample(machine.functions, np.random.default_rng(seed), fault)
    return right, machine.errors


@pytest.mark.parametrize("flavour", ["plain", "race"])
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: s.__name__[1:])
def test_correct_kernels_pass(flavour, sample):
    for seed in range(PLAIN_SEEDS):
        assert _run(flavour, sample, 0, seed) == (True, [])


# What the race build must say; None: only the result is wrong, no rule was broken.
FAULTS = [
    (_row_sums, 1, r"shuffle: lane \d+ does not take part, samples.cu:\d+"),
    (_row_sums, 2, "deadlock: .* waits at samples.cu"),
    (_row_sums, 3, "divergent barrier"),
    (_row_sums, 4, "race: "),
    (_row_sums, 5, "race: "),
    (_transpose, 1, "race: "),
    (_grid_sum, 1, None),
    (_grid_sum, 2, "race: "),
    (_grid_sum, 3, "race: "),
    (_grid_sum, 4, "race: "),
    (_grid_sum, 5, "race: "),
    (_least, 1, "race: "),
    (_least, 2, r"race: atomic update at samples.cu:\d+ by block \d+ thread \d+ / read at "),
    (_least, 3, "race: "),
    (_hand_over, 1, "race: "),
    (_hand_over, 2, "race: "),
    (_hand_over, 3, "watchdog"),
]


@pytest.mark.parametrize(
    ("sample", "fault", "message"), FAULTS, ids=[f"{s.__name__[1:]}-{f}" for s, f, _ in FAULTS]
)
def test_race_build_notices_the_fault(sample, fault, message):
    outcomes = [_run("race", sample, fault, seed) for seed in range(RACE_SEEDS)]
    if message is None:
        assert not all(right for right, _ in outcomes)
        return
    errors = [error for _, found in outcomes for error in found]
    assert any(re.search(message, error) for error in errors), errors
