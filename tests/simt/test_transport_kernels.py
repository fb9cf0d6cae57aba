"""The transport kernels on the device that each variant of sinkhorn is meant for."""

import numpy as np
import pytest
from simt import build, kernels, transport_cases, transport_kernels

pytestmark = pytest.mark.skipif(build.compiler() is None, reason="no host C++ compiler")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_cases_run_the_variants_that_they_name(dtype):
    machine = kernels.Kernels("plain")
    cases = transport_cases.sinkhorn_cases(np.random.default_rng(0), dtype)
    named = set()
    for operator, (cost, *_, variant) in cases:
        assert operator == "sinkhorn"
        assert machine.sinkhorn_variant(variant, *cost.shape, dtype) == variant
        named.add(variant)
    assert named == {*transport_kernels.VARIANTS}
