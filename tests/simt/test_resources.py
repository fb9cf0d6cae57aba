"""Registers, spills and shared memory of the compiled kernels, held to the budget file."""

import importlib.util
import json
import shutil

import pytest
from simt.build import ROOT

_spec = importlib.util.spec_from_file_location("gate", ROOT / "cuda" / "check_resources.py")
gate = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(gate)

REPORT = """
ptxas info    : Compiling entry function 'void point2mask::cuda::(anonymous namespace)::\
plan_kernel<float>(point2mask::cuda::Plan<float>)' for 'sm_90'
ptxas info    : Function properties for plan_kernel
    {stack} bytes stack frame, {spills} bytes spill stores, {spills} bytes spill loads
ptxas info    : Used {registers} registers, used 1 barriers, 512 bytes smem
"""
BUDGET = {"plan_kernel<float>": {"registers": 40, "shared": 512}}


@pytest.mark.skipif(not shutil.which("nvcc"), reason="nvcc not found")
def test_kernels_stay_within_their_budget():
    usages = gate.measure()
    assert {u.architecture for u in usages} == set(gate.ARCHITECTURES)
    assert gate.complaints(usages, json.loads(gate.BUDGET.read_text())) == []


@pytest.mark.parametrize(
    ("stack", "spills", "registers", "complaint"),
    [
        (0, 0, 40, None),
        (0, 0, 41, "plan_kernel<float> on sm_90: 41 registers, budget 40"),
        (8, 4, 40, "plan_kernel<float> on sm_90: 8 bytes of stack, 4 bytes spilled"),
    ],
)
def test_notices_spills_and_registers(stack, spills, registers, complaint):
    report = REPORT.format(stack=stack, spills=spills, registers=registers)
    assert gate.complaints(gate.parse(report), BUDGET) == ([complaint] if complaint else [])


def test_notices_kernels_without_budget_and_budgets_without_kernel():
    usages = gate.parse(REPORT.format(stack=0, spills=0, registers=40))
    assert gate.complaints(usages, {"other": {}}) == [
        "other: in resources.json but not compiled",
        "plan_kernel<float> on sm_90: has no budget in resources.json",
    ]
