"""The CUDA kernels on the CPU: right results and the same bits under any schedule, no data race,
no access outside a buffer."""

import os
import subprocess
import sys

import numpy as np
import pytest
from simt import build, cases, kernels
from simt.expected import allowed, engine, expected

pytestmark = pytest.mark.skipif(build.compiler() is None, reason="no host C++ compiler")

SCHEDULES = 20


def as_tuple(result):
    return result if isinstance(result, tuple) else (result,)


def numbered(some_cases):
    return [pytest.param(case, id=f"{case[0]}-{number}") for number, case in enumerate(some_cases)]


@pytest.mark.parametrize("case", numbered(cases.all_cases()))
def test_result_does_not_depend_on_the_schedule(case, schedules):
    operator, arguments = case
    machine = kernels.Kernels("plain")
    first = as_tuple(getattr(machine, operator)(*arguments))
    wanted = as_tuple(expected(operator)(*arguments))
    for got, want in zip(first, wanted, strict=True):
        relative, absolute = allowed(operator, got, np.asarray(want))
        np.testing.assert_allclose(got, want, rtol=relative, atol=absolute)
    for _ in range(schedules * SCHEDULES - 1):
        again = as_tuple(getattr(machine, operator)(*arguments))
        for got, want in zip(again, first, strict=True):
            assert got.tobytes() == want.tobytes()


@pytest.mark.parametrize("resident_blocks", [1, 3])
@pytest.mark.parametrize("operator", kernels.OPERATORS)
def test_no_races(operator, resident_blocks, schedules):
    machine = kernels.Kernels("race")
    machine.schedule = {"resident_blocks": resident_blocks, "preempt": 0.01}
    some = [case for case in cases.all_cases() if case[0] == operator]
    accesses = 0
    for name, arguments in some:
        # What orders two accesses is tracked: the input decides what is found, hardly the schedule.
        for _ in range(schedules):
            getattr(machine, name)(*arguments)  # raises KernelError for a race
            accesses += machine.emulator.accesses
    assert accesses > 10_000  # the kernels are instrumented


@pytest.mark.parametrize("operator", ["boundary_loss", "lab_affinity_loss"])
def test_the_same_pairs_are_counted_as_on_the_cpu(operator):
    machine = kernels.Kernels("plain")
    rng = np.random.default_rng(1)
    for name, arguments in cases.all_cases():
        if name != operator:
            continue
        if operator == "lab_affinity_loss":  # colours between which rounding decides
            lab = rng.random(arguments[1].shape).astype(arguments[1].dtype)
            arguments = (arguments[0], lab, *arguments[2:5], 0.7, arguments[6])
        _, pairs = getattr(machine, f"{operator}_and_pairs")(*arguments)
        np.testing.assert_array_equal(pairs, engine(operator, arguments)[1])


def test_labels_out_of_range_are_ignored_on_the_device():
    labels = np.array([[[0, 2, 5, -7, 2**31 - 1, -(2**31), 1, 1]]], np.int32)
    area, _, _ = kernels.Kernels("plain").mask_statistics(labels, 2)
    np.testing.assert_array_equal(area, [[1, 2]])


def test_deformable_attention_says_what_a_device_cannot_hold():
    shapes = np.array([[1, 2]] * 17)
    value, where = np.zeros((1, 34, 1, 2)), np.zeros((1, 3, 1, 17, 1, 2))
    arguments = (value, where, where[..., 0], shapes)
    machine = kernels.Kernels("plain")
    with pytest.raises(kernels.KernelError, match="attention: shapes must have at most 16 maps on"):
        machine.deformable_attention(*arguments)
    with pytest.raises(kernels.KernelError, match="backward: shapes must have at most 16 maps on"):
        machine.deformable_attention_backward(np.zeros((1, 3, 1, 2)), *arguments)


def run_under_sanitizers(*arguments):
    library = subprocess.run(
        [build.compiler(), "-print-file-name=libasan.so"], capture_output=True, text=True
    ).stdout.strip()
    if not os.path.isabs(library):
        pytest.skip("the compiler has no libasan")
    environment = os.environ | {
        "LD_PRELOAD": library,
        "ASAN_OPTIONS": "detect_leaks=0",  # Python's
        "PYTHONPATH": str(build.ROOT / "tests"),
        "PYTHONMALLOC": "malloc",
    }
    command = [sys.executable, "-m", "simt.under_sanitizers", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_no_access_outside_a_buffer():
    done = run_under_sanitizers("all")
    assert (done.returncode, done.stdout) == (0, "clean\n"), done.stderr[-3000:]


def test_sanitizers_notice_an_access_outside_shared_memory():
    done = run_under_sanitizers("fault")
    assert done.returncode != 0
    assert "heap-buffer-overflow" in done.stderr
