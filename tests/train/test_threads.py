"""Two threads: what libraries add up in whichever order comes, unless they are asked not to.

Each test is a program of its own: MKL is asked before its first product, or never.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from point2mask import checkpoint
from point2mask.train.repeatable import repeatable

TESTS = Path(__file__).parents[1]
ARCHITECTURES = "panoptic_segformer", "mask2former", "maskdino"

# The gradient of a strided convolution with one cell of output is a product with one row.
PRODUCTS = """
import torch
import point2mask.train

torch.set_num_threads(2)
seen = set()
weight, error = torch.randn(32, 320, 3, 3), torch.randn(1, 32, 1, 1)
image = torch.randn(1, 320, 1, 2, requires_grad=True)
for _ in range(60):
    others = [torch.empty(n) for n in torch.randint(70000, (3,)).tolist()]  # results lie elsewhere
    output = torch.nn.functional.conv2d(image, weight, stride=2, padding=1)
    seen.add(torch.autograd.grad(output, image, error)[0].numpy().tobytes())
print(len(seen))
"""

# A table of Swin's with windows of 12 x 12, which all pairs of cells are looked up in.
TABLE = """
import torch
from point2mask.train.repeatable import repeatable

torch.set_num_threads(2)
seen = set()
table = torch.randn(23 * 23, 48, requires_grad=True)
index, error = torch.randint(len(table), (144 * 144,)), torch.randn(144 * 144, 48)
with repeatable(torch.device("cpu")):
    for _ in range(20):
        seen.add(torch.autograd.grad(table[index], table, error)[0].numpy().tobytes())
print(len(seen))
"""

RUNS = """
import sys
from dataclasses import replace
from pathlib import Path

import runs
import torch
from point2mask.pseudo_masks import PseudoMaskOptions, SupervisionConfig, TransportOptions
from point2mask.train import train

torch.set_num_threads(2)
root, out = map(Path, sys.argv[1:3])
transport = TransportOptions(supplies="network")
supervision = SupervisionConfig(
    pseudo_masks=PseudoMaskOptions(transport=transport), transport_warmup=1
)
for architecture in sys.argv[4:]:
    config = replace(runs.of(architecture, runs.config(root)), supervision=supervision)
    for epochs in map(int, sys.argv[3].split("+")):
        schedule = replace(config.schedule, epochs=epochs)
        train.train(
            replace(config, schedule=schedule), out / architecture, device="cpu", resume=True
        )
"""


def said_by(program: str, *arguments: str | Path) -> str:
    """What a program of Python's prints that has two threads."""
    environment = os.environ | {
        "OMP_NUM_THREADS": "2",
        "OMP_WAIT_POLICY": "passive",
        "PYTHONPATH": str(TESTS),
    }
    environment.pop("MKL_CBWR", None)
    command = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("program", [PRODUCTS, TABLE], ids=["products", "table"])
def test_a_gradient_has_the_same_bits_again(program):
    assert said_by(program) == "1\n"


def test_the_setting_of_torch_is_restored():
    def setting() -> tuple[bool, bool]:
        memory = torch.utils.deterministic.fill_uninitialized_memory
        return torch.are_deterministic_algorithms_enabled(), memory

    before = setting()
    with repeatable(torch.device("cpu")):
        assert setting() == (True, False)
    assert setting() == before
    with repeatable(torch.device("meta")):
        assert setting() == before


@pytest.mark.slow
def test_a_run_begun_anew_or_taken_up_has_the_same_bits(tmp_path):
    """Of every network: one program trains two epochs, another one, and goes on with the second."""
    said_by("import sys, runs, pathlib; runs.write_data(pathlib.Path(sys.argv[1]), 2)", tmp_path)
    for out, epochs in (("whole", "2"), ("parts", "1+2")):
        said_by(RUNS, tmp_path, tmp_path / out, epochs, *ARCHITECTURES)
    for architecture in ARCHITECTURES:
        whole, parts = (
            checkpoint.last_checkpoint(tmp_path / out / architecture / "checkpoints")
            for out in ("whole", "parts")
        )
        tensors = sorted(path.name for path in whole.glob("*.safetensors"))
        assert tensors
        for name in tensors:
            same = (whole / name).read_bytes() == (parts / name).read_bytes()
            assert same, (architecture, name)
