"""Arrays handed to the kernels."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

C_TYPES = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}


def garbage(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Outputs start as anything: a kernel must write every entry."""
    return np.frombuffer(
        bytearray(b"\xa5" * (math.prod(shape) * np.dtype(dtype).itemsize)), dtype
    ).reshape(shape)
