"""What the build says on systems that no test runs on: configured here, compiled nowhere."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("cmake", "ninja", "c++"))), reason="no cmake, ninja or C++ compiler"
)


def configure(build, *definitions):
    python = f"Python_EXECUTABLE={sys.executable}"
    settings = [f"-D{d}" for d in (python, "POINT2MASK_CUDA=OFF", *definitions)]
    command = ["cmake", "-S", str(ROOT), "-B", str(build), "-G", "Ninja", *settings]
    return subprocess.run(command, capture_output=True, text=True)


def test_microsofts_compiler_is_refused_in_a_sentence(tmp_path):
    done = configure(tmp_path, "MSVC=ON")
    assert done.returncode != 0
    assert "On Windows build it in WSL" in " ".join(done.stderr.split())
    assert done.stderr.count("CMake Error") == 1


def test_apples_linker_gets_words_that_it_knows(tmp_path):
    pybind11 = pytest.importorskip("pybind11")
    # Nothing is linked, so the compiler of this machine serves.
    apple = ("CMAKE_SYSTEM_NAME=Darwin", "CMAKE_SYSTEM_VERSION=23", "CMAKE_CXX_COMPILER_WORKS=1")
    tool = f"CMAKE_INSTALL_NAME_TOOL={shutil.which('true')}"
    done = configure(tmp_path, *apple, tool, f"pybind11_DIR={pybind11.get_cmake_dir()}")
    assert done.returncode == 0, done.stderr
    rules = (tmp_path / "build.ninja").read_text()
    assert "-Wl,-dead_strip" in rules
    assert "libtorch_cpu.dylib" in rules
    assert not [word for word in ("--exclude-libs", "--gc-sections") if word in rules]
    assert "$ORIGIN" not in rules + (tmp_path / "cmake_install.cmake").read_text()
