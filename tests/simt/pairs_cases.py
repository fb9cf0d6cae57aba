"""Inputs of the pair kernels: maps around warps and patches of 32 x 8 pixels, windows that fit,
that leave the image and that need several groups of positions."""

from collections.abc import Iterator
from typing import Any

import numpy as np

MAPS = ((1, 1), (1, 33), (9, 1), (7, 32), (17, 37))
WINDOWS = ((3, 1), (5, 2), (3, 2), (3, 50))
Case = tuple[str, tuple[Any, ...]]  # operator, arguments


def _difference_cases(rng: np.random.Generator, dtype: Any) -> Iterator[Case]:
    for height, width in MAPS:
        feature = rng.integers(-2, 3, (2, 3, height, width)).astype(dtype)  # with ties
        for directions, norm in ((2, "squared_l2"), (4, "l2"), (8, "l1"), (8, "l2")):
            shape = (2, directions, height, width)
            grad = rng.normal(size=shape).astype(dtype)
            difference = rng.integers(0, 4, shape).astype(dtype)
            yield "neighbor_difference_backward", (grad, feature, difference, norm)


def _lab_cases(rng: np.random.Generator, dtype: Any) -> Iterator[Case]:
    for number, (height, width) in enumerate(MAPS):
        for turn in (number, number + 1):
            # At 60 some pairs underflow in float32, at 1e4 most.
            window, spread = WINDOWS[turn % 4], (1e4, 5.0, 60.0, 0.5)[turn % 4]
            logits = (spread * rng.normal(size=(2, 5, height, width))).astype(dtype)
            lab = rng.integers(0, 3, (2, 3, height, width)).astype(dtype)
            valid = rng.random((2, height, width)) < 0.8 if number % 2 else None
            if valid is not None:
                logits[:, :, ~valid[0]] = np.nan
                valid[1] = valid[0]
            parameters = (*window, 2.0, 0.3, valid)
            yield "lab_affinity_loss", (logits, lab, *parameters)
            grad, pairs = rng.normal(size=2).astype(dtype), rng.integers(0, 3, 2)
            yield "lab_affinity_loss_backward", (grad, logits, lab, pairs, *parameters)


def _boundary_cases(rng: np.random.Generator, dtype: Any) -> Iterator[Case]:
    for number, (height, width) in enumerate(MAPS):
        for turn in (number, number + 1):
            window = WINDOWS[turn % 4]
            boundary = (rng.integers(0, 5, (2, height, width)) / 4).astype(dtype)  # with ties
            labels = rng.integers(-1, 2, (2, 2, height, width)).astype(np.int32)
            yield "boundary_loss", (boundary, *labels, *window)
            grad, pairs = rng.normal(size=2).astype(dtype), rng.integers(0, 3, (2, 3))
            yield "boundary_loss_backward", (grad, boundary, *labels, pairs, *window)


def pair_cases(rng: np.random.Generator, dtype: Any) -> Iterator[Case]:
    yield from _difference_cases(rng, dtype)
    yield from _lab_cases(rng, dtype)
    yield from _boundary_cases(rng, dtype)
