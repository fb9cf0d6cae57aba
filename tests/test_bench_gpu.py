"""The GPU benchmark without a GPU: its peers compute what we do, its dry run goes through."""

import json
import subprocess
import sys
from argparse import Namespace
from functools import partial
from pathlib import Path

import bench_gpu
import gpu_peers
import gpu_problems
import pytest
import torch
from gpu_timing import Timer
from torch import Tensor

SCRIPT = Path(bench_gpu.__file__)
# Other definitions of the same: windows with padding, sums, unrooted edges, half of a gradient.
DIFFERENT = (
    *("boundary_loss", "lab_affinity_loss", "mask_statistics", "spanning_tree"),
    "tree_filter_backward",
)


def both(operator: str) -> tuple[tuple, object, object]:
    size = gpu_problems.PROBLEMS[operator].sizes["tiny"]
    arguments = gpu_problems.arguments(operator, size, "cpu")
    peer = gpu_peers.PEERS[operator](lambda f: f)(*arguments)
    return arguments, getattr(torch.ops.point2mask, operator).default(*arguments), peer


@pytest.mark.parametrize("operator", sorted(set(gpu_peers.PEERS) - set(DIFFERENT)))
def test_eager_peers_compute_the_operator(operator):
    _, ours, peer = both(operator)
    ours = ours if isinstance(ours, Tensor) else ours[0]
    if operator == "sinkhorn":  # the potential is free up to a constant
        peer = peer - peer.mean(1, keepdim=True)
    if operator == "sinkhorn_backward":
        assert torch.allclose(peer, ours, rtol=1e-3, atol=1e-5 * float(ours.abs().max()))
        return
    torch.testing.assert_close(peer.to(ours.dtype), ours, rtol=1e-4, atol=1e-5)


def test_eager_statistics_and_trees():
    (labels, targets), ours, peer = both("mask_statistics")
    assert torch.equal(peer[0][:, :targets], ours[0])
    _, (_, _, edge, _), mask = both("spanning_tree")
    want = torch.zeros_like(mask).flatten(1)
    want[0, edge[0, 1:].long()] = True
    assert torch.equal(mask.flatten(1), want)
    assert labels.shape[1] == 9


def test_a_peer_that_fails_is_named_and_ours_may_not():
    def broken():
        raise RuntimeError("out of luck\nand more")

    taken = Timer("cpu").measure({"ours": lambda: 1, "peer": broken}, 2)
    assert taken["peer"] == {"reason": "RuntimeError: out of luck"}
    assert taken["ours"]["seconds"] > 0
    with pytest.raises(RuntimeError, match="out of luck"):
        Timer("cpu").measure({"ours": broken}, 2)


def test_the_roof_is_the_slower_of_memory_and_exponentials():
    roofs = {"bytes_per_second": 100.0, "exponentials_per_second": 10.0}
    assert bench_gpu.roof_seconds(gpu_problems.Floor(50), roofs) == 0.5
    assert bench_gpu.roof_seconds(gpu_problems.Floor(50, 20), roofs) == 2.0
    assert bench_gpu.roof_seconds(gpu_problems.Floor(50, 20), {"bytes_per_second": 1.0}) is None


def test_dry_run(tmp_path):
    run = partial(subprocess.run, capture_output=True, text=True, timeout=300)
    out = tmp_path / "times.jsonl"
    command = [sys.executable, SCRIPT, "--device", "cpu", "--repeats", "2", "--out", out]
    done = run(
        [*command, "--operators", "transport_plan", "transport_plan_backward", "spanning_tree"]
    )
    assert done.returncode == 0, done.stderr
    about, plan, backward, tree = map(json.loads, out.read_text().splitlines())
    assert about["device"].endswith("(dry run)")
    assert (plan["operator"], backward["operator"]) == ("transport_plan", "transport_plan_backward")
    assert plan["floor_exponentials"] == 2 * 70 * 3
    assert plan["seconds"] > 0
    assert plan["graph"] == {"reason": "not on a GPU"}
    assert "seconds" in plan["peers"]["eager"]
    assert "seconds" in plan["peers"]["compile"]
    assert tree["peers"]["cuGraph"] == {"reason": "not installed"}
    assert done.stdout.count("GB/s") == 3


def rows(*arguments):
    parser = {"operators": None, "sizes": None, "device": "cpu", "repeats": 1, "peers": "none"}
    return list(bench_gpu.bench(Namespace(**parser | dict(arguments))))


def test_past_the_budget_no_row_is_begun():
    _, *left_out = rows(("operators", ["mask_statistics", "sinkhorn"]), ("budget", -1.0))
    assert [row["operator"] for row in left_out] == ["mask_statistics", "sinkhorn"]
    assert all(row["reason"] == "the budget was spent" for row in left_out)


def test_an_operator_that_fails_is_a_row(monkeypatch):
    def broken(*_):
        raise MemoryError("none left\nat all")

    problem = gpu_problems.PROBLEMS["sinkhorn"]._replace(make=broken)
    monkeypatch.setitem(gpu_problems.PROBLEMS, "sinkhorn", problem)
    _, failed, good = rows(("operators", ["sinkhorn", "mask_statistics"]), ("budget", 60.0))
    assert failed["failed"]
    assert failed["reason"] == "MemoryError: none left"
    assert good["seconds"] > 0


def test_the_first_size_of_all_operators_comes_first():
    order = [(o, s) for o, s, _ in bench_gpu.in_turn(["transport_plan", "boundary_loss"], None)]
    assert order[:4] == [
        ("transport_plan", "1x16384x20"),
        ("boundary_loss", "8x21x128"),
        ("transport_plan", "1x65536x20"),
        ("boundary_loss", "8x21x256"),
    ]
    assert len(order) == 6


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so():
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert "no CUDA device found" in done.stderr


# Iterations read the cost more than once, or keep it; not every norm needs its differences.
FLOORS = set(gpu_problems.PROBLEMS) - {
    "sinkhorn",
    "sinkhorn_backward",
    "neighbor_difference_backward",
}


@pytest.mark.parametrize("operator", sorted(FLOORS))
def test_the_floor_reads_every_input_and_writes_every_result_once(operator):
    problem = gpu_problems.PROBLEMS[operator]
    size = problem.sizes["tiny"]
    arguments = gpu_problems.arguments(operator, size, "cpu")
    results = getattr(torch.ops.point2mask, operator).default(*arguments)
    results = (results,) if isinstance(results, Tensor) else results
    tensors = [t for t in (*arguments, *results) if isinstance(t, Tensor)]
    moved = sum(t.numel() * t.element_size() for t in tensors)
    floor = problem.floor(size, 0).bytes
    assert 0.8 * moved <= floor <= moved  # vectors of a number a target are left out
