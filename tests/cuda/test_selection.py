"""The tests of a GPU on a machine that has torch and pytest, but none of the extras."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
OF_A_GPU = (
    "cuda/test_operators cuda/test_training_step ops/test_deformable ops/test_geodesic "
    "ops/test_masks ops/test_pairs_lab ops/test_transport ops/test_tree_filter "
    "ops/test_tree_spanning"
).split()


def test_the_tests_of_a_gpu_are_collected_without_the_extras():
    command = [sys.executable, "-m", "pytest", "-p", "without_extras", "-p", "no:cacheprovider"]
    command += ["-m", "cuda", "-q", "--collect-only", "-rs"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    collected = set(re.findall(r"^tests/[a-z_0-9/]*\.py", run.stdout, re.MULTILINE))
    assert {f"tests/{name}.py" for name in OF_A_GPU} <= collected
    assert "timm is not installed" in run.stdout
