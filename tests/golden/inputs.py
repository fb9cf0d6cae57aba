"""Inputs made by integer arithmetic, so that they are the same on every machine, and digests."""

import hashlib
from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray

_INCREMENT, _FIRST, _SECOND = (
    np.uint64(value) for value in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)


def integers(seed: int, *shape: int, below: int) -> NDArray[np.int64]:
    """SplitMix64 of a counter, modulo ``below``."""
    counter = np.arange(1, int(np.prod(shape)) + 1, dtype=np.uint64)
    with np.errstate(over="ignore"):
        state = (counter + np.uint64(seed << 32)) * _INCREMENT
        state = (state ^ (state >> np.uint64(30))) * _FIRST
        state = (state ^ (state >> np.uint64(27))) * _SECOND
        state = state ^ (state >> np.uint64(31))
    return (state % np.uint64(below)).astype(np.int64).reshape(shape)


def unit(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Multiples of 2^-12 in [0, 1), exact in float32."""
    return torch.from_numpy(integers(seed, *shape, below=4096) / 4096).to(dtype)


def smooth(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Multiples of 2^-12 in [0, 1) that vary slowly over the last two axes."""
    height, width = shape[-2:]
    coarse = integers(seed, *shape[:-2], height // 8 + 2, width // 8 + 2, below=64)
    rows, columns = np.arange(height), np.arange(width)
    y, x, dy, dx = rows // 8, columns // 8, (rows % 8)[:, None], columns % 8

    def corner(down: int, right: int) -> NDArray[np.int64]:
        return coarse[..., y + down, :][..., x + right]

    upper = corner(0, 0) * (8 - dx) + corner(0, 1) * dx
    lower = corner(1, 0) * (8 - dx) + corner(1, 1) * dx
    return torch.from_numpy((upper * (8 - dy) + lower * dy) / 4096).to(dtype)


def digest(values: Iterable[torch.Tensor | NDArray[np.generic] | bytes]) -> str:
    """Of shapes, dtypes and bits."""
    state = hashlib.sha256()
    for value in values:
        if isinstance(value, torch.Tensor):
            value = value.detach().contiguous().numpy()
        if isinstance(value, np.ndarray):
            state.update(f"{value.dtype.str}{value.shape}".encode())
            value = np.ascontiguousarray(value).tobytes()
        state.update(value)
    return state.hexdigest()[:32]
