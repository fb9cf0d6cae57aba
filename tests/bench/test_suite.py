"""The benchmark suite measures what it says: arithmetic, goals, and a tiny run. No times."""

import itertools
import json
from dataclasses import replace

import instructions
import pytest
import run
import timing
import torch
from suite import goal_table, goals, native, peers, report, small, threads
from suite.harness import CHECK, OURS, Case, Figure, Row, Run, measure, summarize

OPERATORS = {
    name.removeprefix("point2mask::")
    for name in torch._C._dispatch_get_all_op_names()
    if name.startswith("point2mask::") and not name.endswith("_backward")
}


def figure(cpu):
    return Figure(cpu=cpu, wall=2 * cpu, cpu_low=cpu, cpu_high=cpu, repeats=3)


def row(operator, problem, **cpu):
    names = {OURS if name == "ours" else name: figure(t) for name, t in cpu.items()}
    return Row(operator, problem, 1.0, "call", names)


@pytest.fixture
def clock(monkeypatch):
    """A clock that the calls turn themselves, so that times are exact."""

    class Clock:
        now = 0.0

        def spend(self, seconds):
            self.now += seconds

    clock = Clock()
    for name in ("perf_counter", "process_time"):
        monkeypatch.setattr(timing.time, name, lambda: clock.now)
    return clock


def test_samples_are_interleaved_and_spread():
    turns = []
    calls = {name: lambda name=name: turns.append(name) for name in "ab"}
    prepared = []
    samples = timing.sample(calls, {"a": 6, "b": 2}, prepared.append)
    assert "".join(turns) == "aaabaaab"
    assert prepared == turns
    assert [len(samples[name].cpu) for name in "ab"] == [6, 2]


def test_interleaved_gives_medians(clock):
    seconds = itertools.cycle([1.0, 5.0, 2.0])
    taken = timing.interleaved({"a": lambda: clock.spend(next(seconds))}, repeats=3, warmup=0)
    assert taken == {"a": {"wall": 2.0, "cpu": 2.0, "spread": 5.0}}


def test_a_figure_is_the_median_and_the_middle_half():
    taken = timing.Samples(wall=[1.0, 3.0, 2.0], cpu=[5.0, 1.0, 4.0, 2.0, 3.0, 100.0, 0.5, 6.0])
    assert summarize(taken, 10.0) == Figure(
        cpu=35.0, wall=20.0, cpu_low=20.0, cpu_high=50.0, repeats=8
    )


def test_a_peer_that_does_a_share_counts_whole(clock):
    runs = {OURS: Run(lambda: clock.spend(0.5)), "peer": Run(lambda: clock.spend(1.0), 0.25)}
    measured = measure(Case("op", {}, 2.0, "unit", runs))
    assert measured.figures[OURS].cpu == pytest.approx(0.5)
    assert measured.figures["peer"].cpu == pytest.approx(4.0)
    assert measured.ratio("peer") == pytest.approx(8.0)
    assert measured.nanoseconds() == pytest.approx(0.25e9)


def test_short_calls_are_timed_in_batches(clock):
    measured = measure(Case("op", {}, 1.0, "unit", {OURS: Run(lambda: clock.spend(2.0**-20))}))
    assert measured.figures[OURS].cpu == pytest.approx(2.0**-20)


def test_threads_of_a_run_are_set_and_put_back(threads):
    seen = {1: set(), 2: set()}
    runs = {
        name: Run(lambda count=count: seen[count].add(torch.get_num_threads()), threads=count)
        for name, count in ((OURS, 2), ("one", 1))
    }
    with threads(1):
        measure(Case("op", {}, 1.0, "unit", runs), seconds=0.01)
        assert torch.get_num_threads() == 1
    assert seen == {1: {1}, 2: {2}}


def test_a_failing_peer_is_reported_and_ours_raises():
    def fail():
        raise RuntimeError("no such luck\nand more")

    measured = measure(Case("op", {}, 1.0, "unit", {OURS: Run(int), "peer": Run(fail)}))
    assert measured.errors == {"peer": "RuntimeError: no such luck"}
    assert measured.ratio("peer") is None
    with pytest.raises(RuntimeError, match="no such luck"):
        measure(Case("op", {}, 1.0, "unit", {OURS: Run(fail)}))


def test_disagreement_is_kept_with_the_times():
    def disagree():
        raise AssertionError("other distances")

    measured = measure(Case("op", {}, 1.0, "unit", {OURS: Run(int)}, disagree))
    assert measured.errors == {CHECK: "AssertionError: other distances"}
    assert OURS in measured.figures


def by_name(rows):
    return {goal.name: goal.as_json() for goal in goals.judge(rows)}


def test_goals_are_judged_by_the_worst_row():
    rows = [
        row("geodesic_distance", {"image": "astronaut"}, ours=1.0, SciPy=30.0),
        row("geodesic_distance", {"image": "coffee"}, ours=1.0, SciPy=19.0),
        row("geodesic_distance", {"image": "noise"}, ours=1.0, SciPy=5.0),
        row("threads: sinkhorn", {}, ours=1.0, **{"one thread": 1.9}),
        row("call of sinkhorn", {}, ours=21e-6),
        row("call of tree_filter", {}, ours=1e-6),
    ]
    found = by_name(rows)
    assert found["geodesic_distance over SciPy, photographs"] == {
        "name": "geodesic_distance over SciPy, photographs",
        "target": ">= 20",
        "value": 19.0,
        "met": False,
        "floor": "",
    }
    assert found["geodesic_distance over SciPy, white noise"]["met"] is True
    assert found["two threads over one, sinkhorn, B = 2"]["value"] == 1.9
    slowest = found["microseconds of the slowest small call"]
    assert (slowest["value"], slowest["met"]) == (pytest.approx(21.0), False)


def test_what_was_not_measured_is_neither_met_nor_missed():
    elsewhere = [row("sinkhorn", {"images": 1, "pixels": 4096, "targets": 20}, ours=1, PyTorch=99)]
    for rows in ([], elsewhere):
        found = by_name(rows)
        assert found
        assert all(goal["value"] is None and goal["met"] is None for goal in found.values())


def test_floors_are_those_of_the_same_rows():
    wall = {OURS: 80e-6, "one thread": 100e-6, threads.STARTED: 12e-6, threads.NOTHING: 2e-6}
    call = {OURS: 18e-6, small.BARE: 12e-6, small.EMPTY: 3e-6, small.EMPTY_WITH_RESULTS: 7e-6}
    found = by_name(
        [
            Row(
                "threads: mask_statistics",
                {},
                1.0,
                "pixel",
                {n: figure(s / 2) for n, s in wall.items()},
            ),
            row("threads: sinkhorn", {}, ours=1.0, **{"one thread": 1.9}),
            Row("call of sinkhorn", {}, 1.0, "call", {n: figure(s) for n, s in call.items()}),
            row("call of tree_filter", {}, ours=1e-6),
        ]
    )
    floor = found["two threads over one, mask_statistics, B = 2"]["floor"]
    assert floor == "a start takes 10 us of 100: at most 1.67"
    assert found["two threads over one, sinkhorn, B = 2"]["floor"] == ""
    assert found["microseconds of the slowest small call"]["floor"] == (
        "sinkhorn; without PyTorch's kernel for gradients 12; an empty operator 3; "
        "an empty operator, three results 7"
    )


def test_goals_alone_need_few_cases_and_runs():
    runs = dict.fromkeys((OURS, "SciPy", "higra", "igraph"), Run(int))
    problem = {"pixels": 4, "neighbours": 4, "image": "coffee"}
    case = Case("spanning_tree", problem, 1.0, "pixel", runs, int)
    kept = goals.needed(case)
    assert kept.runs.keys() == {OURS, "SciPy", "higra"}
    assert kept.check is None
    assert goals.needed(replace(case, problem={**problem, "neighbours": 8})) is None
    assert goals.needed(replace(case, operator="rgb_to_lab")) is None
    assert goals.needed(replace(case, operator="floor: exp2")).runs == runs


def test_a_partial_run_keeps_what_it_has_not_measured():
    def result(rows, **values):
        entries = [{"name": name, "value": value} for name, value in values.items()]
        return {
            "goals": entries,
            "rows": [{"operator": o, "problem": {}, "at": at} for o, at in rows],
        }

    before = result([("a", 1), ("b", 1)], first=1.0, second=1.0, gone=1.0)
    after = report.beside(before, result([("b", 2)], first=None, second=2.0, third=None))
    assert {goal["name"]: goal["value"] for goal in after["goals"]} == {
        "first": 1.0,
        "second": 2.0,
        "third": None,
    }
    assert {r["operator"]: r["at"] for r in after["rows"]} == {"a": 1, "b": 2}


def test_the_page_has_the_table_of_the_results():
    measured = json.loads((run.RESULTS / "cpu.json").read_text())["goals"]
    page = goal_table.PAGE.read_text()
    assert goal_table.with_table(page, measured) == page
    missed = {goal["name"] for goal in measured if goal["met"] is False}
    assert missed <= goal_table.REASONS.keys()
    assert goal_table.REASONS.keys() <= {goal["name"] for goal in measured}
    with pytest.raises(ValueError, match="expected the marks"):
        goal_table.with_table("no table", measured)


def test_epsilon_growth_pairs_equal_problems():
    def solved(pixels, epsilon, seconds):
        problem = {"images": 1, "pixels": pixels, "targets": 20, "cost": "photograph"}
        return row("sinkhorn", {**problem, "epsilon": epsilon}, ours=seconds)

    rows = [solved(16384, 1e-1, 1.0), solved(16384, 1e-3, 1.25), solved(65536, 1e-3, 9.0)]
    assert goals.epsilon_growth(rows) == 1.25


def test_missing_peers_have_no_version(monkeypatch):
    monkeypatch.setitem(peers.PEERS, "absent", ("no_such_module", "no-such-distribution"))
    versions = peers.versions()
    assert versions["absent"] is None
    assert torch.__version__.startswith(versions["PyTorch"])


def test_the_plot_takes_the_rows_that_differ_in_pixels_alone():
    rows = [row("op", {"pixels": n, "image": image}) for n, image in
            ((1, "a"), (2, "a"), (3, "a"), (9, "b"))]  # fmt: skip
    assert [r.problem["pixels"] for r in report.largest_family(rows)] == [1, 2, 3]


def test_import_time_is_that_of_fresh_processes():
    assert small.import_time(1).figures[OURS].wall > 0


def test_every_operator_has_a_small_call():
    calls = small.tiny_calls()
    assert calls.keys() == OPERATORS
    for call in calls.values():
        call()


needs_compiler = pytest.mark.skipif(native.compiler() is None, reason="no C++ compiler")


@needs_compiler
def test_native_loops():
    x = torch.rand(64) - 1
    assert native.read(x, times=3) == pytest.approx(float(3 * x.sum()), rel=1e-5)
    assert native.exp2(30 * x) == pytest.approx(float(torch.exp2(30 * x).sum()), rel=1e-5)


@needs_compiler
def test_a_tiny_run(tmp_path, threads, capsys):
    """Two families; every peer is checked against ours on the way."""
    with threads(1):
        run.main(["--quick", "--only", "floors", "geodesic", "--out", str(tmp_path)])
    result = json.loads((tmp_path / "cpu.json").read_text())
    assert {goal["met"] for goal in result["goals"]} <= {True, False, None}
    assert all(
        goal.keys() == {"name", "target", "value", "met", "floor", "measured"}
        for goal in result["goals"]
    )
    rows = [r for r in result["rows"] if r["operator"] == "geodesic_distance"]
    assert [r["problem"]["image"] for r in rows] == ["astronaut", "noise"]
    for measured in rows:
        assert measured["errors"] == {}
        assert measured["figures"].keys() >= {OURS, "SciPy", "published"}
        assert all(f["cpu"] > 0 and f["repeats"] >= 3 for f in measured["figures"].values())
    assert any(r["operator"] == "floor: exp2" for r in result["rows"])
    shown = capsys.readouterr().out
    for peer, version in result["peers"].items():
        assert peer in shown.split("Not installed" if version is None else "Peers:")[1]


def test_instruction_dumps(tmp_path):
    dump = tmp_path / "out.1"
    dump.write_text("version: 1\ndesc: Trigger: Client Request: sinkhorn, a\n\ntotals: 1234\n")
    assert instructions.parse(dump) == ("sinkhorn, a", 1234)
    dump.write_text("version: 1\ndesc: Trigger: Program termination\n\ntotals: 0\n")
    assert instructions.parse(dump) is None
    assert instructions.changes({"a": 100, "b": 1}, {"a": 103, "c": 1}) == {"a": 1.03}
