"""Random calls of the operators, of torch's face and of NumPy's, good ones and made worse.

    PYTHONPATH=tests python tests/fuzz/calls.py [torch numpy] [--calls 100000] [--first 0]

Calls run in processes that report after every one: one that crashes, hangs, takes more than
``MEMORY`` or raises anything but an ordinary error is named by its number. The same number makes
the same call.
"""

import argparse
import math
import mmap
import os
import random
import resource
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

EACH = 2000  # calls in a process
MEMORY = 2**31  # bytes beyond what a process has
SECONDS = 60  # of processor time, without a call that ends
WAITING = 1200  # seconds on the clock: whoever waits for ever does not work
ORDINARY = (ValueError, TypeError, RuntimeError, OverflowError, MemoryError)
HUGE = (2**15, 2**16 + 1, 2**31 - 1, 2**31, 2**32, 2**62, 2**63 - 1, 2**63, 2**64, -(2**63))
NUMBERS = (0, 1, -1, 2, 3, 7, 64, True, None, "l2", 0.0, -0.0, 1e-320, 1e308, -1.5, *HUGE)
ODD = (*NUMBERS, math.inf, -math.inf, math.nan, b"x", [], {})
PATIENT = ("max_iterations",)  # what a caller may ask to take for ever
DTYPES = (
    "float16", "float32", "float64", "int8", "uint8", "int16", "int32", "int64", "bool",
    "complex64",
)  # fmt: skip
VALUES = (math.nan, math.inf, -math.inf, -1.0, 0.0, 1e30, 1e308, 1e-40, 2.0**31, -(2.0**31))
Arguments = dict[str, Any]


def sizes(rng: np.random.Generator) -> tuple[int, int, int]:
    """Images, height and width: mostly small, sometimes none."""
    limit = int(rng.choice((3, 9, 25)))
    batch, height, width = rng.integers(1, (4, limit + 1, limit + 1))
    return int(batch), int(height), int(width)


def geodesic_distance(rng: np.random.Generator) -> Arguments:
    b, h, w = sizes(rng)
    return {
        "edge_cost": rng.random((b, 8, h, w)),
        "seeds": rng.integers(-1, h * w, (b, rng.integers(0, 5), rng.integers(0, 4)), np.int32),
    }


def sinkhorn(rng: np.random.Generator) -> Arguments:
    b, h, w = sizes(rng)
    k = int(rng.integers(1, 6))
    supply, demand = rng.random((b, k)) + 0.1, rng.random((b, h * w)) + 0.1
    demand *= supply.sum(1, keepdims=True) / demand.sum(1, keepdims=True)
    return {
        "cost": rng.random((b, k, h * w)), "supply": supply, "demand": demand,
        "epsilon": float(rng.choice((1e-3, 0.05, 1.0))), "max_iterations": int(rng.integers(0, 9)),
        "tolerance": float(rng.choice((0.0, 1e-3))),
        "supply_relaxation": float(rng.choice((math.inf, 0.5))),
        "demand_relaxation": float(rng.choice((math.inf, 2.0))),
        "method": str(rng.choice(("sinkhorn", "sinkhorn", "newton"))),
    }  # fmt: skip


def transport_labels(rng: np.random.Generator) -> Arguments:
    made = sinkhorn(rng)
    return {"cost": made["cost"], "potential": made["supply"], "demand": made["demand"]}


def transport_plan(rng: np.random.Generator) -> Arguments:
    return {**transport_labels(rng), "epsilon": 0.05, "demand_relaxation": math.inf}


def mask_statistics(rng: np.random.Generator) -> Arguments:
    k = int(rng.integers(0, 7))
    return {"labels": rng.integers(-1, max(k, 1), sizes(rng), np.int32), "targets": k}


def neighbor_difference(rng: np.random.Generator) -> Arguments:
    b, h, w = sizes(rng)
    return {
        "feature": rng.random((b, rng.integers(1, 5), h, w)),
        "directions": int(rng.choice((2, 4, 8))),
        "norm": str(rng.choice(("l1", "l2", "squared_l2"))),
    }


def lab_affinity_loss(rng: np.random.Generator) -> Arguments:
    b, h, w = sizes(rng)
    return {
        "logits": rng.normal(size=(b, rng.integers(0, 4), h, w)),
        "lab": 50 * rng.random((b, 3, h, w)),
        "kernel_size": int(rng.choice((3, 5))), "dilation": int(rng.integers(1, 4)),
        "theta": 2.0, "threshold": 0.3, "valid": rng.random((b, h, w)) > 0.2,
    }  # fmt: skip


def boundary_loss(rng: np.random.Generator) -> Arguments:
    shape = sizes(rng)
    instance, semantic = (rng.integers(-1, 4, shape, np.int32) for _ in range(2))
    return {
        "boundary": rng.random(shape), "instance": instance, "semantic": semantic,
        "kernel_size": int(rng.choice((3, 5))), "dilation": int(rng.integers(1, 3)),
    }  # fmt: skip


def deformable_attention(rng: np.random.Generator) -> Arguments:
    b, h, w = sizes(rng)
    m, c, q, p = (int(n) for n in rng.integers(1, 4, 4))
    shapes = np.array([[h, w], [1, 2]])
    return {
        "value": rng.normal(size=(b, h * w + 2, m, c)),
        "where": 2 * rng.random((b, q, m, 2, p, 2)) - 0.5,
        "weight": rng.random((b, q, m, 2, p)), "shapes": shapes,
    }  # fmt: skip


def spanning_tree(rng: np.random.Generator) -> Arguments:
    b, h, w = sizes(rng)
    return {"edge_weight": rng.integers(0, 4, (b, rng.choice((2, 4)), h, w)).astype(float)}


def minimum_spanning_tree(rng: np.random.Generator) -> Arguments:
    b, h, w = sizes(rng)
    return {"guide": rng.random((b, 3, h, w)), "connectivity": int(rng.choice((4, 8)))}


def tree_filter(rng: np.random.Generator) -> Arguments:
    b, h, w = sizes(rng)
    parent = np.array([[max(0, int(rng.integers(-1, n))) for n in range(h * w)]] * b, np.int32)
    order = np.stack([rng.permutation(h * w) for _ in range(b)]).astype(np.int32)
    return {
        "feature": rng.random((b, rng.integers(1, 5), h * w)), "order": order, "parent": parent,
        "similarity": rng.random((b, h * w)), "normalize": bool(rng.integers(2)),
    }  # fmt: skip


def rgb_to_lab(rng: np.random.Generator) -> Arguments:
    b, h, w = sizes(rng)
    return {"image": rng.random((b, 3, h, w))}


def histogram_gradient(rng: np.random.Generator) -> Arguments:
    _, h, w = sizes(rng)
    return {
        "channels": rng.random((rng.integers(1, 4), h, w)), "bins": int(rng.integers(1, 9)),
        "radius": int(rng.integers(1, 5)), "distance": int(rng.integers(0, 5)),
    }  # fmt: skip


def merge_regions(rng: np.random.Generator) -> Arguments:
    _, h, w = sizes(rng)
    count, targets, features = int(rng.integers(1, 9)), int(rng.integers(1, 4)), 2
    return {
        "regions": rng.integers(0, count, (h, w), np.int32), "region_count": count,
        "edge": rng.random((h, w), np.float32),
        "bins": rng.integers(0, 4, (features, h, w), np.int32),
        "bin_counts": np.full(features, 4, np.int32), "weights": rng.random(features),
        "seeds": rng.integers(-1, h * w, (targets, 2), np.int32),
        "reach": rng.random(targets) * 9 + 0.1, "size_exponent": 0.05,
    }  # fmt: skip


def watershed(rng: np.random.Generator) -> Arguments:
    _, h, w = sizes(rng)
    markers = np.where(rng.random((h, w)) < 0.2, rng.integers(0, 5, (h, w)), -1)
    return {"edge": rng.random((h, w), np.float32), "markers": markers.astype(np.int32)}


NUMPY = (
    geodesic_distance, histogram_gradient, mask_statistics, merge_regions, sinkhorn, watershed,
)  # fmt: skip
TORCH = (
    boundary_loss, deformable_attention, geodesic_distance, lab_affinity_loss, mask_statistics,
    minimum_spanning_tree, neighbor_difference, rgb_to_lab, sinkhorn, spanning_tree,
    transport_labels, transport_plan, tree_filter,
)  # fmt: skip
FACES: dict[str, tuple[Callable[[np.random.Generator], Arguments], ...]] = {
    "numpy": NUMPY,
    "torch": TORCH,
}


def _other_shape(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    way = int(rng.integers(8))
    if array.ndim == 0 or way == 0:
        return array[None]
    axis = int(rng.integers(array.ndim))
    if way == 1:
        return array[(slice(None),) * axis + (slice(0, 0),)]
    if way == 2:
        return np.take(array, 0, axis) if array.shape[axis] else array
    if way == 3:
        return np.concatenate([array, array], axis)
    if way == 4:
        return array.swapaxes(axis, int(rng.integers(array.ndim)))
    if way == 5 and array.size > 2**16:  # large enough
        return array
    if way == 5:  # of many equal entries that take no memory
        large = [*array.shape]
        large[axis] = int(rng.choice((65, 1025, 20_000)))
        return np.broadcast_to(np.take(array, [0], axis) if array.size else np.zeros(1), large)
    return array[(slice(None),) * axis + (slice(None, None, -1 if way == 6 else 2),)]


def _other_layout(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    way = int(rng.integers(4))
    if way == 0:
        return np.asfortranarray(array)
    if way == 1:  # every other entry of a larger one
        return np.repeat(array, 2, -1)[..., ::2] if array.ndim else array
    if way == 2:
        return array[::-1].copy()[::-1] if array.ndim else array
    unaligned = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    unaligned[...] = array
    return unaligned


def _other_values(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    array = array.copy()
    for _ in range(int(rng.choice((1, 1, 5)))):
        if array.size and array.flags.writeable:
            place = np.unravel_index(int(rng.integers(array.size)), array.shape)
            with np.errstate(all="ignore"):
                if array.dtype.kind == "f":
                    array[place] = float(rng.choice(VALUES))
                elif array.dtype.kind in "iu":
                    number = int(rng.choice((-(2**31), -2, -1, 0, 1, 99, 2**31 - 1)))
                    array[place] = np.array(number).astype(array.dtype)
    return array


def made_worse(arguments: Arguments, rng: np.random.Generator) -> Arguments:
    """One of the arguments otherwise: its shape, layout, dtype, values, or another thing."""
    name = str(rng.choice([*arguments]))
    value = arguments[name]
    if not isinstance(value, np.ndarray):
        options = [x for x in ODD if name not in PATIENT or not isinstance(x, int) or x < 99]
        return {**arguments, name: options[int(rng.integers(len(options)))]}
    way = int(rng.integers(10))
    if way < 3:
        value = _other_shape(value, rng)
    elif way < 5:
        value = _other_layout(value, rng)
    elif way < 7:
        with np.errstate(all="ignore"):
            value = value.astype(str(rng.choice(DTYPES)))
    elif way < 9:
        value = _other_values(value, rng)
    else:
        value = ODD[int(rng.integers(len(ODD)))]
    return {**arguments, name: value}


def make_call(face: str, number: int) -> tuple[str, Arguments]:
    """The operator and the arguments of a call."""
    seed = random.Random(f"{face} {number}").getrandbits(64)
    rng = np.random.default_rng(seed)
    case = FACES[face][int(rng.integers(len(FACES[face])))]
    arguments = case(rng)
    kind = str(rng.choice(("float32", "float64")))
    if case not in (merge_regions, histogram_gradient, watershed):
        arguments = {
            name: value.astype(kind) if getattr(value, "dtype", None) == np.float64 else value
            for name, value in arguments.items()
        }
    for _ in range(int(rng.choice((0, 1, 1, 1, 2, 3)))):
        arguments = made_worse(arguments, rng)
    return case.__name__, arguments


def call(face: str, name: str, arguments: Mapping[str, Any], number: int) -> None:
    if face == "numpy":
        from point2mask import engine

        getattr(engine, name)(**arguments)
        return
    import torch

    from point2mask import ops

    tensors = {key: _tensor(value, number % 3 == 0) for key, value in arguments.items()}
    found = getattr(ops, name)(**tensors)
    outputs = [x for x in ((found,) if isinstance(found, torch.Tensor) else found)]
    smooth = [x.sum() for x in outputs if isinstance(x, torch.Tensor) and x.requires_grad]
    if smooth:
        sum(smooth).backward()


def _tensor(value: Any, grad: bool) -> Any:
    import torch

    if not isinstance(value, np.ndarray):
        return value
    if any(stride < 0 for stride in value.strides) or value.size == 0 or not value.flags.writeable:
        value = value.copy() if value.size < 2**24 else value
    tensor = torch.from_numpy(value)
    return tensor.requires_grad_() if grad and tensor.is_floating_point() else tensor


def _work(face: str, first: int, count: int, shared: mmap.mmap) -> None:
    """Runs calls; notes in shared memory the one that it is at, and how many were refused."""
    if face == "torch":
        import torch

        torch.set_num_threads(1)
    pages = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (pages + MEMORY, -1))
    refused = 0
    for number in range(first, first + count):
        shared[:16] = struct.pack("qq", number, refused)
        try:
            name, arguments = make_call(face, number)
        except MemoryError:
            continue  # arguments larger than a process may be here
        try:
            call(face, name, arguments, number)
        except ORDINARY:
            refused += 1
    shared[:16] = struct.pack("qq", first + count, refused)


def campaign(face: str, first: int, count: int) -> tuple[Counter[str], list[str]]:
    """What came of calls, and the faults."""
    import warnings

    warnings.simplefilter("ignore")
    outcomes, faults = Counter[str](), list[str]()
    shared = mmap.mmap(-1, 16)
    number, end = first, first + count
    while number < end:
        some = min(EACH, end - number)
        shared[:16] = struct.pack("qq", number, 0)
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # torch prints where its allocator fails
            try:
                _work(face, number, some, shared)
            except BaseException as error:
                os.write(writer, f"{type(error).__name__}: {error}"[:500].encode())
                os._exit(1)
            os._exit(0)
        os.close(writer)
        status = _wait(child, shared)
        with os.fdopen(reader) as pipe:
            raised = pipe.read()
        at, refused = struct.unpack("qq", shared[:16])
        outcomes["calls"] += at - number + bool(status)
        outcomes["refused"] += refused
        if status:
            faults.append(f"{face} call {at} ({make_call(face, at)[0]}): {raised or status}")
        number = at + bool(status)
    return outcomes, faults


def _wait(child: int, shared: mmap.mmap) -> int:
    """The status of a process; it is killed if no call ends."""
    last, since, begin = b"", 0.0, time.monotonic()
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        if shared[:8] != last:
            last, since, begin = shared[:8], _worked(child), time.monotonic()
        elif _worked(child) - since > SECONDS or time.monotonic() - begin > WAITING:
            os.kill(child, 9)
        time.sleep(0.02)


def _worked(process: int) -> float:
    """Seconds of processor time of a process."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("faces", nargs="*", choices=[*FACES, []], default=[])
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0)
    args = parser.parse_args()
    found = []
    for face in args.faces or FACES:
        outcomes, faults = campaign(face, args.first, args.calls)
        found += faults
        print(f"{face}: {dict(outcomes)}, {len(faults)} faults", *faults, sep="\n", flush=True)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
