"""All there is to learn on a GPU in ten minutes: one script, every step under a limit of its own.

    python bench/gpu_day.py --out FOLDER [--carried FOLDER] [--budget SECONDS]

A step that fails, hangs or finds no tool stops none of the next. Results are written as they come;
a summary is printed last. FOLDER gets at most seven files, of less than 16 MiB each:

    steps.jsonl     a line a step: passed, failed, out of time or left out; seconds; its last words
    log.txt         what the steps printed
    times.jsonl     our times at all sizes (bench_gpu.py --peers none)
    peers.jsonl     ours beside plain torch, torch.compile and others, at one size an operator
    kernels.txt     what ncu counted
    tests.xml       the tests of tests/cuda, in JUnit's form
    summary.txt     the summary

The package is that of ``--carried`` (an unpacked wheel, built elsewhere for this Python), or the
one installed here if it has kernels, or else is built for this GPU with all cores and without the
network: CMake, ninja, scikit-build-core and pybind11 must be there. ``--device cpu`` runs the
script on the CPU's operators, to try it.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from shutil import which
from typing import IO

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "gpu_day"
BUDGET = 590  # seconds
STEP_BYTES = 1_500_000  # of output that are kept, a command
GRACE_SECONDS = 5  # between asking a command to end and ending it
LEAST_SECONDS = 2  # a step that would get less is left out
# The kernels that ncu looks at, and in which problem; their budgets: cuda/resources.json.
COUNTED = {
    "sinkhorn_kernel": ("sinkhorn", "8x65536x80"),
    "geodesic_distance_kernel": ("geodesic_distance", "16x20x128"),
    "resident_filter_kernel": ("tree_filter", "8x21x256"),
    "pass_kernel": ("tree_filter", "8x21x512"),
    "neighbor_difference_kernel": ("neighbor_difference", "8x21x256"),
    "lab_pairs_kernel": ("lab_affinity_loss", "8x21x256"),
    "read_kernel": ("deformable_attention", "2x64"),
}
METRICS = (
    "gpu__time_duration.sum,dram__bytes.sum,lts__t_bytes.sum,launch__registers_per_thread,"
    "sm__throughput.avg.pct_of_peak_sustained_elapsed,"
    "sm__warps_active.avg.pct_of_peak_sustained_active"
)
PEER_SIZES = ("8x65536x20", "16x20x128", "8x21x256", "8x1x256", "2x64")
ABOUT = (
    "import platform, numpy, torch; print('python', platform.python_version(), 'numpy', "
    "numpy.__version__, 'torch', torch.__version__, 'cuda', torch.version.cuda)"
)
IMPORT = (
    "import sys, point2mask.ops; from point2mask import engine; "
    "print(point2mask.__path__[0], 'kernels:', engine.cuda_architectures or 'none'); "
    "sys.exit(sys.argv[1] == 'cuda' and not engine.cuda_architectures)"
)
CAPABILITY = "import torch; print('%d%d-real' % torch.cuda.get_device_capability())"


@dataclass
class Step:
    name: str
    seconds: float  # at most, of the full budget
    commands: list[list[str]]
    tool: str | None = None  # without it the step is left out
    output: str = "log.txt"
    environment: dict[str, str] = field(default_factory=dict)


@dataclass
class Outcome:
    step: str
    state: str  # passed, failed, out of time, left out
    seconds: float
    words: str  # the last line printed, or why it was left out


def pump(stream: IO[bytes], file: IO[bytes], last: bytearray) -> None:
    """Copies what a command prints, up to `STEP_BYTES`; keeps its end."""
    left = STEP_BYTES
    while chunk := stream.read1(1 << 16):  # type: ignore[attr-defined]
        file.write(chunk[:left])
        file.flush()
        left = max(0, left - len(chunk))
        last += chunk
        del last[:-4000]


def run(
    command: list[str], seconds: float, file: IO[bytes], environment: dict[str, str]
) -> tuple[str, str]:
    """State and last words of a command, which is asked to end: pytest then says what failed."""
    file.write(f"\n$ {' '.join(command)}\n".encode())
    file.flush()
    last = bytearray()
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, env={**os.environ, **environment}, start_new_session=True,
    )  # fmt: skip
    assert process.stdout
    reader = threading.Thread(target=pump, args=(process.stdout, file, last), daemon=True)
    reader.start()
    state = ""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        state = "out of time"
        os.killpg(process.pid, signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)
    with suppress(ProcessLookupError):  # its children, too
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    reader.join(GRACE_SECONDS)
    process.stdout.close()
    lines = [line.strip() for line in last.decode(errors="replace").splitlines() if line.strip()]
    state = state or ("passed" if process.returncode == 0 else "failed")
    return state, lines[-1][:200] if lines else ""


def perform(step: Step, seconds: float, out: Path) -> Outcome:
    """The step's commands one after the other, all under one limit; one that fails ends none."""
    begin = time.monotonic()
    states, words = [], ""
    with (out / step.output).open("ab") as file:
        file.write(f"\n== {step.name}\n".encode())
        for command in step.commands:
            left = seconds - (time.monotonic() - begin)
            if left < LEAST_SECONDS:
                states.append("out of time")
                break
            state, words = run(command, left, file, step.environment)
            states.append(state)
    state = next((s for s in ("out of time", "failed") if s in states), "passed")
    return Outcome(step.name, state, round(time.monotonic() - begin, 1), words)


def steps_of(device: str, out: Path, scale: float) -> list[Step]:
    """What is done, in this order: what finds faults first, what takes longest last."""
    python = sys.executable
    pytest = [python, "-m", "pytest", "-v", "--tb=short", "-W", "default", "-p", "no:cacheprovider"]
    bench = [python, "bench/bench_gpu.py", "--device", device]
    on_gpu = device == "cuda"
    marked = ["-m", "cuda"] if on_gpu else []
    sizes = ["--sizes", *PEER_SIZES] if on_gpu else []
    ncu = ["ncu", "--clock-control", "none", "--launch-count", "1", "--csv", "--metrics", METRICS]

    def within(seconds: float) -> list[str]:
        return ["--budget", f"{seconds * scale * 0.8:.0f}"]

    return [
        Step("smoke: every operator in a process of its own", 60,
             [[python, "bench/gpu_smoke.py", "--device", device, "--apart", "4"]],
             environment={"CUDA_LAUNCH_BLOCKING": "1"}),
        Step("tests/cuda", 90,
             [[*pytest, *marked, f"--junit-xml={out / 'tests.xml'}", "tests/cuda"]]),
        Step("our times", 90,
             [[*bench, "--peers", "none", *within(90), "--out", str(out / "times.jsonl")]]),
        Step("compute-sanitizer", 100,
             [["bash", "bench/compute_sanitizer.sh", python, "memcheck", "racecheck", "synccheck"]],
             tool="compute-sanitizer"),
        Step("counters of six kernels", 60,
             [[*ncu, "--kernel-name", f"regex:{kernel}", python, "bench/gpu_smoke.py",
               "--size", size, operator] for kernel, (operator, size) in COUNTED.items()],
             tool="ncu", output="kernels.txt"),
        Step("tests/ops", 90, [[*pytest, *marked, "--backend", device, "tests/ops"]]),
        Step("peers", 80,
             [[*bench, "--peers", "all", "--repeats", "7", *sizes, *within(80),
               "--out", str(out / "peers.jsonl")]]),
    ]  # fmt: skip


def find_package(args: argparse.Namespace, seconds: float, out: Path) -> Outcome:
    """Puts a package with kernels for the device on PYTHONPATH; builds it if there is none."""
    begin = time.monotonic()
    python = sys.executable
    about = Step("versions", 20, [[python, "-c", ABOUT], [python, "-c", IMPORT, args.device]])
    if which("nvidia-smi"):
        about.commands.insert(0, ["nvidia-smi"])
    for folder in [args.carried.resolve()] if args.carried else []:
        os.environ["PYTHONPATH"] = f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    outcome = perform(about, seconds, out)
    if outcome.state == "passed":
        return Outcome("package", "passed", outcome.seconds, outcome.words)
    capability = subprocess.run([python, "-c", CAPABILITY], capture_output=True, text=True)
    build = Step(
        "build", 0,
        [[python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation",
          "--upgrade", "--target", str(BUILD), "--config-settings=cmake.define.POINT2MASK_CUDA=ON",
          str(ROOT)], about.commands[-1]],
        environment={
            "POINT2MASK_CUDA_ARCHITECTURES": capability.stdout.strip(),
            "CMAKE_BUILD_PARALLEL_LEVEL": str(os.cpu_count()),
        },
    )  # fmt: skip
    os.environ["PYTHONPATH"] = f"{BUILD}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    built = perform(build, seconds - (time.monotonic() - begin), out)
    return Outcome("package", built.state, round(time.monotonic() - begin, 1), built.words)


def summary(outcomes: list[Outcome]) -> str:
    width = max(len(o.step) for o in outcomes)
    return "\n".join(
        f"{o.step:{width}}  {o.state:11}  {o.seconds:6.1f} s  {o.words}" for o in outcomes
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--carried", type=Path, help="folder of an unpacked wheel")
    parser.add_argument("--budget", type=float, default=BUDGET, help=f"seconds; default {BUDGET}")
    args = parser.parse_args()
    if args.budget <= 0:
        parser.error(f"--budget must be positive, got {args.budget}")
    begin = time.monotonic()
    out = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    for name in ("log.txt", "steps.jsonl", "kernels.txt"):
        (out / name).unlink(missing_ok=True)
    os.environ["PYTHONUNBUFFERED"] = "1"
    outcomes: list[Outcome] = []

    def note(outcome: Outcome) -> None:
        outcomes.append(outcome)
        print(summary([outcome]), flush=True)
        with (out / "steps.jsonl").open("a") as file:
            file.write(json.dumps(asdict(outcome)) + "\n")

    def left() -> float:
        return args.budget - (time.monotonic() - begin)

    note(find_package(args, 0.4 * args.budget, out))
    full = [step.seconds for step in steps_of(args.device, out, 1)]
    for number in range(len(full)):
        scale = min(1.0, (left() - GRACE_SECONDS) / sum(full[number:]))
        step = steps_of(args.device, out, scale)[number]
        seconds = step.seconds * scale
        if step.tool and not (args.device == "cuda" and which(step.tool)):
            note(Outcome(step.name, "left out", 0, f"needs a GPU and {step.tool}"))
        elif seconds < LEAST_SECONDS:
            note(Outcome(step.name, "left out", 0, "the budget was spent"))
        else:
            note(perform(step, seconds, out))
    text = (
        f"{args.device}, {time.monotonic() - begin:.0f} of {args.budget:.0f} s\n{summary(outcomes)}"
    )
    (out / "summary.txt").write_text(text + "\n")
    print(f"\n{text}")
    sys.exit(any(o.state not in ("passed", "left out") for o in outcomes))


if __name__ == "__main__":
    main()
