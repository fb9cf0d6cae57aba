"""Launchers on a runtime whose calls fail: a failure is returned once, an answer is kept."""

import subprocess

import pytest
from simt import build

pytestmark = pytest.mark.skipif(build.compiler() is None, reason="no host C++ compiler")
RUNTIME = build.SIMT / "runtime"


def test_failures_are_returned_once_and_answers_are_kept(tmp_path):
    program = tmp_path / "failures"
    flags = ("-std=c++17", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-D__CUDACC__")
    include = (f"-I{RUNTIME}", f"-I{build.ROOT / 'cuda' / 'include'}")
    command = (build.compiler(), *flags, *include, RUNTIME / "failures.cpp", "-o", program)
    subprocess.run(command, check=True)
    done = subprocess.run([program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
