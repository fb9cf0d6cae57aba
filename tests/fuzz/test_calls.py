"""Random calls of the operators, some thousand; as many as are wanted: ``tests/fuzz/calls.py``."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fuzz.calls import FACES, make_call

CALLS = {"numpy": 3000, "torch": 2000}


@pytest.mark.slow
@pytest.mark.parametrize("face", FACES)
def test_random_calls(face):
    """In a process of its own, as each of its processes is a copy of it, with few threads."""
    tests = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        [sys.executable, "-m", "fuzz.calls", face, "--calls", str(CALLS[face])],
        env={**os.environ, "PYTHONPATH": str(tests), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    refused = int(done.stdout.partition("'refused': ")[2].partition("}")[0])
    assert CALLS[face] * 0.3 < refused < CALLS[face] * 0.8  # there are good ones and others
    assert f"{face}: {{'calls': {CALLS[face]}," in done.stdout


def test_the_same_number_makes_the_same_call():
    for face in FACES:
        for number in range(50):
            (name, first), (again, second) = make_call(face, number), make_call(face, number)
            assert name == again
            for key, value in first.items():
                np.testing.assert_array_equal(np.asarray(value), np.asarray(second[key]))
