"""The CUDA kernels on the CPU: right results and the same bits under any schedule, no data race,
no access outside a buffer."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from simt import build, cases, kernels
from simt import build, cases, kernels, tree_expected

from point2mask.ops import reference
from point2mask.ops.reference.geodesic import geodesic_distance_backward

pytestmark = pytest.mark.skipif(build.compiler() is None, reason="no host C++ compiler")

SCHEDULES = 20
RACE_SCHEDULES = 3


def expected_labels(cost, potential, demand):
    value = cost - potential[..., None]
    if not cost.shape[1]:
        return np.full(demand.shape, -1)
    return np.where((demand > 0) & (value.min(1) < np.inf), value.argmin(1), -1)


def expected_plan(cost, potential, demand, epsilon, demand_relaxation):
    exponent = (potential.astype(np.float64)[..., None] - cost) / epsilon
    part = np.where(demand[:, None] > 0, np.exp(exponent), 0)
    total = part.sum(1, keepdims=True)
    scale = demand[:, None] * total ** (epsilon / (demand_relaxation + epsilon))
    return np.divide(scale * part, total, out=np.zeros_like(part), where=total > 0)


def on_cpu(operator):
    """The CPU engine's result in float64."""

    def run(*arguments):
        arguments = [
            torch.from_numpy(x.astype(np.float64)) if isinstance(x, np.ndarray) else x
            for x in arguments
        ]
        result = getattr(torch.ops.point2mask, operator).default(*arguments)
        return tuple(part.numpy() for part in result)

    return run


def expected_sinkhorn(*arguments):
    *arguments, _variant = arguments
    return reference.sinkhorn(*arguments)


EXPECTED = {
    "transport_labels": expected_labels,
    "transport_plan": expected_plan,
    "sinkhorn": expected_sinkhorn,
    "sinkhorn_backward": on_cpu("sinkhorn_backward"),
    "transport_plan_backward": on_cpu("transport_plan_backward"),
}
EXPECTED = {
    "geodesic_distance_backward": geodesic_distance_backward,
    "transport_labels": expected_labels,
    "transport_plan": expected_plan,
}
EXACT = ("geodesic_distance", "geodesic_distance_backward")  # the reference rounds like the kernel
EXPECTED = {
    **{"transport_labels": expected_labels, "transport_plan": expected_plan},
    **tree_expected.EXPECTED,
}
# float32: the exponent (u - c) / epsilon reaches 20 and is off by 2 roundings, 20 * 2 * 6e-8.
TOLERANCE = {np.dtype(np.float32): 4e-6, np.dtype(np.float64): 1e-13}
# Sums of terms of both signs: within 5 such tolerances of the largest entry, for potentials and
# marginal errors of 1.
SIGNED = {"sinkhorn_backward", "transport_plan_backward"}


def largest_error(operator, want, tolerance):
    if operator == "sinkhorn":
        return 5 * tolerance
    largest = np.abs(want[np.isfinite(want)]).max(initial=0) if operator in SIGNED else 0
    return max(5 * tolerance * largest, 1e-30)


def as_tuple(result):
    return result if isinstance(result, tuple) else (result,)


def numbered(some_cases):
    return [pytest.param(case, id=f"{case[0]}-{number}") for number, case in enumerate(some_cases)]


@pytest.mark.parametrize("case", numbered(cases.all_cases()))
def test_result_does_not_depend_on_the_schedule(case):
    operator, arguments = case
    machine = kernels.Kernels("plain")
    first = as_tuple(getattr(machine, operator)(*arguments))
    wanted = as_tuple(EXPECTED.get(operator, getattr(reference, operator, None))(*arguments))
    for got, want in zip(first, wanted, strict=True):
        rtol = TOLERANCE.get(got.dtype, 0)
        atol = largest_error(operator, np.asarray(want), rtol)
        np.testing.assert_allclose(got, want, rtol=rtol, atol=atol)
        tolerance = 0 if operator in EXACT else TOLERANCE.get(got.dtype, 0)
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=1e-30)
        atol = 1e-30 + tree_expected.rounding(operator, got, want)
        np.testing.assert_allclose(got, want, rtol=TOLERANCE.get(got.dtype, 0), atol=atol)
    for _ in range(SCHEDULES - 1):
        again = as_tuple(getattr(machine, operator)(*arguments))
        for got, want in zip(again, first, strict=True):
            assert got.tobytes() == want.tobytes()


@pytest.mark.parametrize("resident_blocks", [1, 3])
@pytest.mark.parametrize("operator", kernels.OPERATORS)
def test_no_races(operator, resident_blocks):
    machine = kernels.Kernels("race")
    machine.schedule = {"resident_blocks": resident_blocks, "preempt": 0.01}
    some = [case for case in cases.all_cases() if case[0] == operator]
    accesses = 0
    for name, arguments in some:
        for _ in range(RACE_SCHEDULES):
            getattr(machine, name)(*arguments)  # raises KernelError for a race
            accesses += machine.emulator.accesses
    assert accesses > 10_000  # the kernels are instrumented


def test_labels_out_of_range_are_ignored_on_the_device():
    labels = np.array([[[0, 2, 5, -7, 2**31 - 1, -(2**31), 1, 1]]], np.int32)
    area, _, _ = kernels.Kernels("plain").mask_statistics(labels, 2)
    np.testing.assert_array_equal(area, [[1, 2]])


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
