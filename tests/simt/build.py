"""Compiles CUDA kernels for the CPU: sources and emulator to one shared library a flavour.

``plain`` checks barriers, warp collectives and deadlocks under random schedules; ``race`` also
reports data races (ThreadSanitizer's runtime stays out); ``asan`` adds the address and
undefined-behaviour sanitizers. Only the kernels are instrumented, not the emulator. What was
built is kept in ``build/simt`` under the hash of everything that went into it. Processes that need
the same library at once share its compilation.
"""

import ctypes
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

Flavour = Literal["plain", "race", "asan"]

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "simt"
SIMT = ROOT / "tests" / "simt"
EMULATOR = SIMT / "emulator"
INCLUDES = (ROOT / "cuda" / "include", ROOT / "cuda" / "src", ROOT / "cpp" / "include", EMULATOR)
ENTRIES = sorted(SIMT.glob("entry*.cpp"))
KERNELS = (*sorted((ROOT / "cuda" / "src").glob("*.cu")), *ENTRIES)
SAMPLES = (SIMT / "samples.cu",)

_WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas")
_COMMON = ("-std=c++20", "-O1", "-g", "-fPIC", "-ffp-contract=off", *_WARNINGS)
_SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")
_KERNEL_FLAGS = {"plain": (), "race": ("-fsanitize=thread",), "asan": _SANITIZE}
_EMULATOR_FLAGS = {"plain": (), "race": ("-DSIMT_RACE",), "asan": ("-DSIMT_ASAN",)}
_LINK_FLAGS = {"plain": (), "race": (), "asan": _SANITIZE}


class BuildError(RuntimeError):
    """The compiler said no; carries what it printed."""


def compiler() -> str | None:
    """The host C++ compiler, ``CXX`` or g++, or None."""
    return shutil.which(os.environ.get("CXX", "g++"))


@cache
def _version() -> str:
    command = [compiler() or "g++", "--version"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@dataclass(frozen=True)
class Step:
    """A command that makes a file, without its last two words ``-o FILE``."""

    target: Path
    command: tuple[str | Path, ...]

    def run(self, wait: bool) -> bool:
        """Makes the file if it is not there; False if another process does and we do not wait."""
        if self.target.exists():
            return True
        BUILD.mkdir(parents=True, exist_ok=True)
        with open(self.target.with_suffix(".lock"), "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                return False
            if not self.target.exists():
                part = self.target.with_suffix(f".part{self.target.suffix}")
                command = [str(word) for word in (*self.command, "-o", part)]
                done = subprocess.run(command, capture_output=True, text=True)
                if done.returncode:
                    raise BuildError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
                part.rename(self.target)
        return True


def run_all(steps: Iterable[Step]) -> None:
    """First those that no other process is at, so that several processes divide the work."""
    for step in [step for step in steps if not step.run(wait=False)]:
        step.run(wait=True)


@cache
def _included(source: Path) -> frozenset[Path]:
    """The source and our headers that it includes, directly or not."""
    found = {source}
    for name in re.findall(
        r'^[ \t]*#[ \t]*include ["<]([^">]+)[">]', source.read_text(), re.MULTILINE
    ):
        folders = (source.parent, *INCLUDES)
        header = next((f / name for f in folders if (f / name).is_file()), None)
        if header:
            found |= _included(header.resolve())
    return frozenset(found)


def content_hash(*parts: bytes | str) -> str:
    """A short name for what the parts contain."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()[:16]


def _object(source: Path, flags: tuple[str, ...]) -> Step:
    texts = [file.read_bytes() for file in sorted(_included(source))]
    name = content_hash(_version(), str(source), *flags, *texts)
    include = [f"-I{folder}" for folder in INCLUDES]
    command = (compiler() or "g++", *flags, *include, "-x", "c++", "-c", source)
    return Step(BUILD / f"{source.stem}-{name}.o", command)


def library_path(sources: tuple[Path, ...], flavour: Flavour) -> Path:
    """Builds what is not built yet."""
    kernel_flags = (*_COMMON, *_KERNEL_FLAGS[flavour])
    emulator_flags = (*_COMMON, "-O2", *_EMULATOR_FLAGS[flavour])
    steps = [_object(source, kernel_flags) for source in sources]
    steps += [_object(source, emulator_flags) for source in sorted(EMULATOR.glob("*.cpp"))]
    run_all(steps)
    objects = [step.target for step in steps]
    name = content_hash(*map(str, objects), flavour)
    # Bsymbolic: the __tsan_ functions called are the emulator's, whoever else defines some.
    link = (*_LINK_FLAGS[flavour], "-shared", "-Wl,-Bsymbolic", "-ldl")
    library = BUILD / f"lib{sources[-1].stem}-{flavour}-{name}.so"
    run_all([Step(library, (compiler() or "g++", *objects, *link))])
    return library


@dataclass(frozen=True)
class Traffic:
    """Bytes of global memory; ``emulator/traffic.cpp`` says what is counted."""

    launches: int = 0
    read: int = 0
    written: int = 0
    fetched: int = 0
    stored: int = 0

    def __add__(self, other: "Traffic") -> "Traffic":
        return Traffic(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    @property
    def requested(self) -> int:
        """What the kernels ask for, whatever the caches answer."""
        return self.read + self.written

    @property
    def moved(self) -> int:
        """What comes from and goes to device memory if the caches keep what a launch touches."""
        return self.fetched + self.stored


class Emulator:
    """A library of kernels, its schedule and its report."""

    def __init__(self, sources: tuple[Path, ...], flavour: Flavour) -> None:
        self.functions = ctypes.CDLL(str(library_path(sources, flavour)))
        self.functions.simt_races.restype = ctypes.c_uint64
        self.functions.simt_accesses.restype = ctypes.c_uint64
        self.functions.simt_switches.restype = ctypes.c_uint64

    def configure(
        self,
        seed: int,
        *,
        resident_blocks: int = 4,
        max_blocks: int = 3,
        shared_bytes: int = 65536,
        scratch_limit: int = 1 << 28,
        preempt: float = 0.02,
        watchdog: int = 3_000_000,
    ) -> None:
        """Sets the schedule of the next launches and forgets what was reported."""
        self.functions.simt_configure(
            ctypes.c_uint64(seed),
            resident_blocks,
            max_blocks,
            ctypes.c_size_t(shared_bytes),
            ctypes.c_int64(scratch_limit),
            ctypes.c_double(preempt),
            ctypes.c_uint64(watchdog),
        )
        self.functions.simt_clear_report()

    @property
    def errors(self) -> list[str]:
        """What was wrong since configure(): divergence, deadlocks, races with file and line."""
        text = ctypes.create_string_buffer(1 << 16)
        self.functions.simt_errors(text, ctypes.c_size_t(len(text)))
        return text.value.decode().splitlines()

    def traffic(
        self, call: Callable[[], object], within: NDArray[Any] | None = None
    ) -> dict[str, Traffic]:
        """What the kernels that a call launches move, by name; ``within`` one array alone.

        Race flavour; races stay unseen.
        """
        text = ctypes.create_string_buffer(1 << 16)
        array = None if within is None else ctypes.c_void_p(within.ctypes.data)
        size = ctypes.c_size_t(0 if within is None else within.nbytes)
        self.functions.simt_count_traffic(1, array, size)
        call()
        self.functions.simt_traffic(text, ctypes.c_size_t(len(text)))
        self.functions.simt_count_traffic(0, None, ctypes.c_size_t(0))
        rows = (line.split(" ", 5) for line in text.value.decode().splitlines())
        total: dict[str, Traffic] = {}
        for *counts, kernel in rows:
            name = re.sub(r"<.*|\(.*", "", kernel.replace("(anonymous namespace)::", ""))
            name = name.split("::")[-1]
            total[name] = total.get(name, Traffic()) + Traffic(*map(int, counts))
        return total

    @property
    def races(self) -> int:
        return int(self.functions.simt_races())

    @property
    def accesses(self) -> int:
        return int(self.functions.simt_accesses())

    @property
    def switches(self) -> int:
        return int(self.functions.simt_switches())


@cache
def emulator(sources: tuple[Path, ...], flavour: Flavour) -> Emulator:
    """One emulator a library and process."""
    return Emulator(sources, flavour)
