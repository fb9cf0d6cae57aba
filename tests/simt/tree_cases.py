"""Inputs for the tree kernels: shallow and deep trees, ties, seeds with gaps. NumPy only."""

from collections.abc import Iterator
from typing import Any

import numpy as np

Case = tuple[str, tuple[Any, ...]]  # operator, arguments

# More pixels than one block takes alone get a launch a level: 1100 has 11, and deeper ones follow.
# A straight share of 1 is one path of all ranks, of 0.998 a few that a block scans.
SIZES = (
    *((2, 1, 0.5), (2, 33, 0.5), (1, 150, 0.95), (1, 1100, 0.6)),
    *((1, 600, 1.0), (1, 1500, 0.998)),
)


def random_tree(
    rng: np.random.Generator, images: int, pixels: int, straight: float
) -> tuple[np.ndarray, np.ndarray]:
    """order and parent; a share `straight` of the parents is the rank before, others are near."""
    order = rng.permuted(np.tile(np.arange(pixels, dtype=np.int32), (images, 1)), axis=1)
    back = np.where(
        rng.random((images, pixels)) < straight, 1, rng.integers(1, 6, (images, pixels))
    )
    parent = np.maximum(np.arange(pixels) - back, 0)
    return order, parent.astype(np.int32)


def spanning_cases(rng: np.random.Generator, dtype: type[np.floating]) -> Iterator[Case]:
    for shape in ((1, 1), (3, 1), (2, 33), (13, 31)):
        for directions, values in ((2, 3), (4, 10**6)):
            weight = rng.integers(-1, values, (2, directions, *shape)).astype(dtype)
            yield "spanning_tree", (weight,)
    # Several blocks count the components that are left.
    yield "spanning_tree", (rng.integers(-1, 10**6, (1, 2, 31, 41)).astype(dtype),)
    # Components join to one chain of all pixels in a single round.
    yield "spanning_tree", (np.arange(2 * 300, dtype=dtype).reshape(1, 2, 1, 300),)


def filter_cases(rng: np.random.Generator, dtype: type[np.floating]) -> Iterator[Case]:
    for images, pixels, straight in SIZES:
        order, parent = random_tree(rng, images, pixels, straight)
        similarity = rng.random((images, pixels)).astype(dtype)
        similarity[:, ::3], similarity[:, 1::7] = 1, 0
        for channels, normalize in ((1, True), (9, False)) if pixels < 500 else ((1, True),):
            feature, grad, output = rng.normal(size=(3, images, channels, pixels)).astype(dtype)
            tree = (order, parent, similarity, normalize)
            yield "tree_filter", (feature, *tree)
            yield "tree_filter_backward", (grad, feature, output, *tree)
        yield "tree_filter_backward", (grad, None, None, *tree)


def star_cases(rng: np.random.Generator, dtype: type[np.floating]) -> Iterator[Case]:
    """No grid's tree: more children than a list is searched for. One image beside it has none."""
    pixels = 400
    order = rng.permuted(np.tile(np.arange(pixels, dtype=np.int32), (2, 1)), axis=1)
    star, line = np.zeros(pixels, np.int32), np.maximum(np.arange(pixels, dtype=np.int32) - 1, 0)
    star[200::3] = 7  # a second vertex with many
    similarity = rng.random((2, pixels)).astype(dtype)
    feature = rng.normal(size=(2, 1, pixels)).astype(dtype)
    for trees in ((star, line), (line, star)):
        yield "tree_filter", (feature, order, np.stack(trees), similarity, True)


def many_image_cases(rng: np.random.Generator, dtype: type[np.floating]) -> Iterator[Case]:
    """More images than the emulator's grid has rows: a block takes a second one. Several, as the
    content of a case decides whether it runs in shared memory."""
    for _ in range(3):
        order, parent = random_tree(rng, 5, 70, 0.5)
        similarity = rng.random((5, 70)).astype(dtype)
        feature, grad, output = rng.normal(size=(3, 5, 2, 70)).astype(dtype)
        tree = (order, parent, similarity, True)
        yield "tree_filter", (feature, *tree)
        yield "tree_filter_backward", (grad, feature, output, *tree)


def broom_cases(rng: np.random.Generator, dtype: type[np.floating]) -> Iterator[Case]:
    """Paths of a level of which a block scans several, before and after those of another level."""
    arms, length = 3, 300
    pixels = 1 + arms * length
    parent = np.arange(-1, pixels - 1, dtype=np.int32)
    parent[0] = parent[1::length] = 0
    parent = parent[None]
    order = rng.permuted(np.arange(pixels, dtype=np.int32)[None], axis=1)
    similarity = rng.random((1, pixels)).astype(dtype)
    for channels in (1, 2):
        feature, grad, output = rng.normal(size=(3, 1, channels, pixels)).astype(dtype)
        yield "tree_filter", (feature, order, parent, similarity, True)
        yield "tree_filter_backward", (grad, feature, output, order, parent, similarity, True)


def tree_cases(rng: np.random.Generator, dtype: type[np.floating]) -> Iterator[Case]:
    yield from spanning_cases(rng, dtype)
    yield from filter_cases(rng, dtype)
    yield from star_cases(rng, dtype)
    yield from many_image_cases(rng, dtype)
    yield from broom_cases(rng, dtype)
