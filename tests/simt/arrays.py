"""Arrays handed to the kernels."""

import ctypes
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from simt import build

C_TYPES = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}


def garbage(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Outputs start as anything: a kernel must write every entry."""
    return np.frombuffer(
        bytearray(b"\xa5" * (math.prod(shape) * np.dtype(dtype).itemsize)), dtype
    ).reshape(shape)


def scratch_memory(emulator: build.Emulator, name: str, *sizes: int) -> NDArray[np.uint8]:
    """Garbage of as many bytes as the launcher's function of this name tells."""
    function = getattr(emulator.functions, name)
    function.restype = ctypes.c_int64
    return garbage((function(*map(ctypes.c_int64, sizes)),), np.uint8)
