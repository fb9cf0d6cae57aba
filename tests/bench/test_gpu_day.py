"""The day on a GPU without one: the script runs to its end, and its files become tables."""

import json
import subprocess
import sys
from pathlib import Path

import gpu_day
import gpu_report
import pytest

ROOT = Path(gpu_day.ROOT)


def test_runs_to_its_end_whatever_its_steps_do(tmp_path):
    command = [sys.executable, gpu_day.__file__, "--device", "cpu", "--budget", "25"]
    done = subprocess.run(
        [*command, "--out", tmp_path], capture_output=True, text=True, timeout=200
    )
    steps = gpu_report.rows_of(tmp_path / "steps.jsonl")
    names = [step.name for step in gpu_day.steps_of("cpu", tmp_path, 1)]
    assert [step["step"] for step in steps] == ["package", *names], done.stderr
    states = {step["step"]: step["state"] for step in steps}
    assert states["compute-sanitizer"] == states["counters of six kernels"] == "left out"
    assert set(states.values()) <= {"passed", "out of time", "left out"}, done.stdout
    files = list(tmp_path.iterdir())
    assert len(files) <= 8
    assert max(file.stat().st_size for file in files) < 16 << 20
    assert done.stdout.endswith((tmp_path / "summary.txt").read_text())


@pytest.mark.parametrize(
    ("code", "state"),
    [("print('fine')", "passed"), ("print('fine'); exit(3)", "failed"),
     ("print('fine', flush=True); import time; time.sleep(60)", "out of time")],
)  # fmt: skip
def test_a_step_passes_fails_or_runs_out_of_time(tmp_path, monkeypatch, code, state):
    monkeypatch.setattr(gpu_day, "GRACE_SECONDS", 1)
    step = gpu_day.Step("step", 3, [[sys.executable, "-c", code]])
    outcome = gpu_day.perform(step, 3, tmp_path)
    assert outcome.state == state
    assert "fine" in (tmp_path / "log.txt").read_text()


def test_a_command_that_fails_ends_none_of_the_next(tmp_path):
    failing, good = [sys.executable, "-c", "exit(1)"], [sys.executable, "-c", "print('good')"]
    outcome = gpu_day.perform(gpu_day.Step("step", 9, [failing, good]), 9, tmp_path)
    assert (outcome.state, outcome.words) == ("failed", "good")


def test_of_endless_output_the_beginning_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_day, "STEP_BYTES", 1000)
    command = [sys.executable, "-c", "print('x' * 100_000); print('the end')"]
    outcome = gpu_day.perform(gpu_day.Step("step", 9, [command]), 9, tmp_path)
    assert outcome.words == "the end"
    assert (tmp_path / "log.txt").stat().st_size < 1500


def test_the_counted_kernels_are_there():
    kernels = json.loads((ROOT / "cuda" / "resources.json").read_text())
    names = {kernel.split("<")[0].split("::")[-1] for kernel in kernels}
    assert set(gpu_day.COUNTED) <= names


NCU = """==PROF== Connected to process 7
"ID","Process ID","Kernel Name","Metric Name","Metric Unit","Metric Value"
"0","7","void plan_kernel<float>(Plan)","dram__bytes.sum","Mbyte","12.5"
"""


def write_day(folder, device="NVIDIA H100"):
    roofs = {"bytes_per_second": 3e12}
    about = {"device": device, "torch": "2.11.0", "date": "2030-01-01", "roofs": roofs}
    plan = {
        "operator": "transport_plan", "size": "1x4x2", "seconds": 2e-6, "spread": 1.25,
        "graph": {"seconds": 1e-6}, "bytes_per_second": 1.5e12, "of_roof": 0.5, "peers": {},
    }  # fmt: skip
    beside = {"seconds": 4e-6, "peers": {"eager": {"seconds": 2e-5}, "compile": {"reason": "no"}}}
    other = {"operator": "sinkhorn", "size": "1x4x2", "reason": "the budget was spent"}
    step = {"step": "tests/cuda", "state": "passed", "seconds": 61.2, "words": "== 9 passed =="}
    for name, rows in {
        "times.jsonl": [about, plan, other],
        "peers.jsonl": [about, plan | beside],
        "steps.jsonl": [step],
    }.items():
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    with (folder / "times.jsonl").open("a") as file:
        file.write('{"operator": "cut o')
    (folder / "kernels.txt").write_text(NCU)


def run_report(*arguments):
    command = [sys.executable, gpu_report.__file__, *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_files_become_json_a_page_and_a_table(tmp_path):
    write_day(tmp_path)
    for name in ("README.md", "docs/gpu.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text())
    (tmp_path / "bench" / "results").mkdir(parents=True)
    for _ in range(2):  # the second time replaces what the first wrote
        done = run_report(tmp_path, "--root", tmp_path)
        assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "bench" / "results" / "gpu.json").read_text())
    assert [row["operator"] for row in report["results"]] == ["transport_plan", "sinkhorn"]
    assert report["counters"] == [
        {"kernel": "void plan_kernel<float>(Plan)", "metric": "dram__bytes.sum", "unit": "Mbyte",
         "value": "12.5"}
    ]  # fmt: skip
    page = (tmp_path / "docs" / "gpu.md").read_text()
    assert "| `transport_plan` 1x4x2 | 2.0 | 1.25 | 1.0 | 1500 | 50% | 5.0 |  |" in page
    assert "| tests/cuda | passed | 61 | 9 passed |" in page
    assert "Not timed: `sinkhorn` 1x4x2: the budget was spent." in page
    assert "No kernel has run" not in page
    readme = (tmp_path / "README.md").read_text()
    assert readme.count("| `transport_plan` 1x4x2 | 2.0 | 50% | 5.0 |") == 1
    assert "## Results" in readme


def test_a_dry_run_is_no_result(tmp_path):
    write_day(tmp_path, "x86_64 CPU (dry run)")
    done = run_report(tmp_path, "--root", tmp_path)
    assert done.returncode == 1
    assert "whose figures mean nothing" in done.stderr
