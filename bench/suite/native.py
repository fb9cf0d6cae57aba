"""The machine's floors and plain scalar loops, compiled when first used into ``build/bench``."""

import ctypes
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path

import torch
from torch import Tensor

from suite.harness import OURS, Case, Run

ROOT = Path(__file__).resolve().parents[2]
SOURCE = Path(__file__).with_name("native.cpp")
FLAGS = ("-std=c++20", "-O3", "-march=native", "-shared", "-fPIC", "-Wall", "-Wextra", "-Wno-psabi")
MIB = 2**20


def compiler() -> str | None:
    """The C++ compiler, ``CXX`` or g++, or None."""
    return shutil.which(os.environ.get("CXX", "g++"))


def build(source: Path, flags: tuple[str, ...] = FLAGS, libraries: tuple[str, ...] = ()) -> Path:
    """The shared library of one source file; kept under the hash of source and flags.

    Linkers that leave out what nothing before it needs want the ``libraries`` after the source.
    """
    command = compiler()
    if command is None:
        raise FileNotFoundError("the benchmarks need a C++ compiler: set CXX or install g++")
    key = hashlib.sha256(
        repr((command, flags, libraries)).encode() + source.read_bytes()
    ).hexdigest()[:16]
    library = ROOT / "build" / "bench" / f"{source.stem}-{key}.so"
    if not library.exists():
        library.parent.mkdir(parents=True, exist_ok=True)
        beside = library.with_suffix(f".{os.getpid()}")
        subprocess.run([command, *flags, str(source), "-o", str(beside), *libraries], check=True)
        beside.replace(library)
    return library


@cache
def library() -> ctypes.CDLL:
    native = ctypes.CDLL(str(build(SOURCE)))
    pointer, count = ctypes.c_void_p, ctypes.c_int64
    native.read_floats.argtypes = native.exp2_floats.argtypes = [pointer, count, count]
    native.read_floats.restype = native.exp2_floats.restype = ctypes.c_float
    native.copy_floats.argtypes = [pointer, pointer, count]
    native.tree_filter.argtypes = [pointer] * 4 + [count] * 2 + [pointer] * 2
    native.shortest_paths.argtypes = [pointer, count, count, pointer, count, pointer]
    return native


def read(*tensors: Tensor, times: int = 1) -> float:
    """Reads contiguous float32 tensors once, as fast as the machine can: the floor of a pass."""
    return sum(library().read_floats(t.data_ptr(), t.numel(), times) for t in tensors)


def copies(source: Tensor, target: Tensor, times: int) -> None:
    """Copies contiguous float32 tensors of one size, ``times`` times over."""
    for _ in range(times):
        library().copy_floats(source.data_ptr(), target.data_ptr(), source.numel())


def exp2(tensor: Tensor, times: int = 1) -> float:
    """The sum of 2^x over the tensor, ``times`` times over; x in [-126, 0]."""
    return float(library().exp2_floats(tensor.data_ptr(), tensor.numel(), times))


def scalar_tree_filter(
    feature: Tensor, order: Tensor, parent: Tensor, similarity: Tensor
) -> Tensor:
    """One image ``[C, N]``, a channel at a time and a pixel at a time, both passes."""
    channels, pixels = feature.shape
    output, scratch = torch.empty_like(feature), feature.new_empty(2, pixels)
    tree = (t.data_ptr() for t in (order, parent, similarity))
    library().tree_filter(
        feature.data_ptr(), *tree, channels, pixels, scratch.data_ptr(), output.data_ptr()
    )
    return output


def heap_paths(edge_cost: Tensor, seeds: Tensor) -> Tensor:
    """``[K, H, W]``: Dijkstra with a binary heap for every seed; edge_cost ``[8, H, W]``."""
    _, height, width = edge_cost.shape
    distance = edge_cost.new_empty(len(seeds), height, width)
    library().shortest_paths(
        *(edge_cost.data_ptr(), height, width),
        *(seeds.data_ptr(), len(seeds), distance.data_ptr()),
    )
    return distance


def cases(quick: bool) -> Iterator[Case]:
    """Bandwidth of memory and caches, and exponentials: bytes or calls, one core."""
    stream = torch.rand((64 if quick else 256) * MIB // 4)
    target = torch.zeros_like(stream)
    read_bytes = stream.numel() * 4
    copy = library().copy_floats
    for name, kib in (("L2", 256), ("L3", 4096)):
        part = stream[: kib * 256]
        times = max(1, 64 * 1024 // kib)
        yield Case(
            f"floor: read {name}",
            {"bytes": kib * 1024},
            part.numel() * 4.0 * times,
            "byte",
            {OURS: Run(partial(read, part, times=times))},
        )
    yield Case(
        "floor: read memory",
        {"bytes": read_bytes},
        float(read_bytes),
        "byte",
        {OURS: Run(partial(read, stream))},
    )
    yield Case(
        "floor: copy memory",
        {"bytes": read_bytes},
        2.0 * read_bytes,
        "byte",
        {OURS: Run(partial(copy, stream.data_ptr(), target.data_ptr(), stream.numel()))},
    )
    exponents = -30 * torch.rand(2048)
    yield Case(
        "floor: exp2",
        {"numbers": 2048},
        2048.0 * 2000,
        "number",
        {OURS: Run(partial(exp2, exponents, times=2000))},
    )
