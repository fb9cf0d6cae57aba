"""Calls operators once each and waits for the device: does every kernel start and end, without NaN?

    python bench/gpu_smoke.py sinkhorn tree_filter    # in this process
    python bench/gpu_smoke.py --apart 4               # all, a process each, four at a time

In a process of its own a kernel that hangs or breaks the device takes nothing else with it.
"""

import argparse
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

OPERATOR_SECONDS = 20


def call(operator: str, size: str, device: str) -> str:
    """Runs the operator; what there is to say about it."""
    import gpu_problems
    import torch

    from point2mask.ops._library import WITHOUT_CUDA

    if device == "cuda" and operator in WITHOUT_CUDA:
        return "has no CUDA kernel"
    arguments = gpu_problems.arguments(
        operator, gpu_problems.PROBLEMS[operator].sizes[size], device
    )
    if device == "cuda":
        torch.cuda.synchronize()
    begin = time.perf_counter()
    result = getattr(torch.ops.point2mask, operator).default(*arguments)
    if device == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - begin
    for part in result if isinstance(result, tuple) else (result,):
        if part.isnan().any():
            raise ValueError(f"{operator} {size}: NaN in the result")
    return f"ok, {seconds * 1e3:.1f} ms"


def call_apart(operator: str, size: str, device: str) -> tuple[bool, str]:
    """The same in a process of its own, stopped after `OPERATOR_SECONDS`."""
    command = [sys.executable, __file__, "--device", device, "--size", size, operator]
    try:
        run = subprocess.run(
            command, capture_output=True, text=True, timeout=OPERATOR_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return False, f"{operator}: still running after {OPERATOR_SECONDS} s"
    return run.returncode == 0, (run.stdout + run.stderr).strip()[-2000:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("operators", nargs="*", help="default: all")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--size", default="tiny", help="a size of gpu_problems.py")
    parser.add_argument("--apart", type=int, metavar="N", help="a process each, N at a time")
    args = parser.parse_args()
    import gpu_problems

    unknown = sorted(set(args.operators) - set(gpu_problems.PROBLEMS))
    if unknown:
        parser.error(
            f"unknown operators {', '.join(unknown)}; there are {', '.join(gpu_problems.PROBLEMS)}"
        )
    operators = args.operators or list(gpu_problems.PROBLEMS)
    if not args.apart:
        for operator in operators:
            print(f"{operator}: {call(operator, args.size, args.device)}", flush=True)
        return
    failed = 0
    with ThreadPoolExecutor(args.apart) as pool:
        for good, text in pool.map(lambda o: call_apart(o, args.size, args.device), operators):
            failed += not good
            print(text, flush=True)
    print(f"{len(operators) - failed} of {len(operators)} operators ran")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
