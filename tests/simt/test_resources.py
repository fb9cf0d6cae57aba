"""Registers, spills and shared memory of the compiled kernels, held to the budget file."""

import importlib.util
import json
import re
from pathlib import Path

import pytest
from simt.build import ROOT

from point2mask import engine

_spec = importlib.util.spec_from_file_location("gate", ROOT / "cuda" / "check_resources.py")
gate = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(gate)

REPORT = """
Fatbin elf code:
================
arch = sm_90
Resource usage:
 Common:
  GLOBAL:0 CONSTANT[3]:24
 Function void point2mask::cuda::(anonymous namespace)::plan_kernel<float>(\
point2mask::cuda::Plan<float>):
  REG:{registers} STACK:{stack} SHARED:1536 LOCAL:0 CONSTANT[0]:584 TEXTURE:0 SURFACE:0 SAMPLER:0
"""
BUDGET = {"plan_kernel<float>": {"registers": {"sm_80": 32, "sm_90": 40}, "shared": 512}}


@pytest.mark.skipif(not gate.cuobjdump(), reason="cuobjdump not found")
def test_kernels_stay_within_their_budget():
    compiled = set(engine.cuda_architectures.replace("-real", "").split())
    architectures = {name for name in gate.ARCHITECTURES if name.removeprefix("sm_") in compiled}
    if not architectures:
        pytest.skip(f"built without kernels for {' or '.join(gate.ARCHITECTURES)}")
    usages = gate.measure(Path(importlib.util.find_spec("point2mask._ops").origin))
    assert {u.architecture for u in usages} == architectures
    assert gate.complaints(usages, json.loads(gate.BUDGET.read_text())) == []


@pytest.mark.parametrize(
    ("stack", "registers", "complaint"),
    [
        (0, 40, None),
        (0, 41, "plan_kernel<float> on sm_90: 41 registers, budget 40"),
        (8, 40, "plan_kernel<float> on sm_90: 8 bytes of stack or spilled, budget 0"),
    ],
)
def test_notices_spills_and_registers(stack, registers, complaint):
    report = REPORT.format(stack=stack, registers=registers)
    assert gate.complaints(gate.parse(report), BUDGET) == ([complaint] if complaint else [])


def test_spills_are_allowed_where_the_file_says_how_many_and_why():
    usages = gate.parse(REPORT.format(stack=8, registers=40))
    (entry,) = BUDGET.values()
    spilling = entry | {"spilled": {"sm_90": 8}}
    where = "plan_kernel<float> on sm_90"
    assert gate.complaints(usages, {"plan_kernel<float>": spilling | {"why": "a reason"}}) == []
    assert gate.complaints(usages, {"plan_kernel<float>": spilling}) == [
        f"{where}: spills, and resources.json does not say why"
    ]
    other = entry | {"spilled": {"sm_80": 8}, "why": "a reason"}
    assert gate.complaints(usages, {"plan_kernel<float>": other}) == [
        f"{where}: 8 bytes of stack or spilled, budget 0"
    ]


def test_update_keeps_what_was_not_compiled():
    before = {
        "plan_kernel<float>": BUDGET["plan_kernel<float>"]
        | {"spilled": {"sm_80": 4, "sm_90": 8}, "why": "a reason"},
        "gone": {"registers": {"sm_90": 8}, "shared": 0},
    }
    usages = gate.parse(REPORT.format(stack=0, registers=41))
    assert gate.tightest_budget(usages, before) == {
        "plan_kernel<float>": {
            "registers": {"sm_80": 32, "sm_90": 48},
            "shared": 512,
            "spilled": {"sm_80": 4},
            "why": "a reason",
        }
    }


def test_every_kernel_has_a_budget_on_every_architecture_of_a_wheel():
    listed = (ROOT / "cmake" / "CudaArchitectures.cmake").read_text().splitlines()[-1]
    shipped = [
        f"sm_{word.removesuffix('-real')}" for word in re.findall(r"[0-9]+(?:-real)?", listed)
    ]
    assert list(gate.ARCHITECTURES) == shipped
    for kernel, entry in json.loads(gate.BUDGET.read_text()).items():
        assert list(entry["registers"]) == shipped, kernel
        assert set(entry.get("spilled", {})) <= set(shipped), kernel
        assert ("spilled" in entry) == ("why" in entry), kernel


def test_notices_kernels_without_budget_and_budgets_without_kernel():
    usages = gate.parse(REPORT.format(stack=0, registers=40))
    assert gate.complaints(usages, {"other": {}}) == [
        "other: in resources.json but not compiled",
        "plan_kernel<float> on sm_90: has no budget in resources.json",
    ]
