"""Calls of the tree kernels; see ``kernels.py``."""

import ctypes
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from simt.arrays import C_TYPES, garbage

Floats = NDArray[Any]
Indices = NDArray[np.int32]

OPERATORS = (
    "spanning_tree",
    "tree_filter",
    "tree_filter_backward",
)


def shared_bytes(rows: int, channels: int, itemsize: int) -> int:
    """What a block takes for so many rows: a number of long paths and 32 heads, then a weight and a
    row for each of 32 warps, then the rows."""
    long_paths = 4 * (2 + 32) + 32 * itemsize * (1 + channels)
    return (long_paths + 15) // 16 * 16 + rows * channels * itemsize


class TreeKernels:
    """Mixed into :class:`simt.kernels.Kernels`."""

    emulator: Any
    _launch: Any
    _launch_on: Any

    def _launch_tree(self, name: str, content: Floats, channels: int, *arguments: Any) -> None:
        """On a device whose blocks hold whole maps, two thirds of so many channels or nothing, by
        `content`'s bytes."""
        some = shared_bytes(2 * content.shape[-1] // 3, channels, content.itemsize)
        device = zlib.crc32(np.ascontiguousarray(content).tobytes()) % 3
        self._launch_on({"shared_bytes": (0, some, 1 << 20)[device]}, name, *arguments)

    def spanning_tree(self, edge_weight: Floats) -> tuple[Indices, Indices, Indices, Floats]:
        edge_weight = np.ascontiguousarray(edge_weight)
        images, directions, height, width = edge_weight.shape
        if directions not in (2, 4):
            raise ValueError(
                f"spanning_tree: edge_weight must have 2 or 4 directions, got {directions}"
            )
        order, parent, edge = (garbage((images, height * width), np.int32) for _ in range(3))
        weight = garbage((images, height * width), edge_weight.dtype)
        self._launch(
            f"spanning_tree_{C_TYPES[edge_weight.dtype]}",
            *(edge_weight, images, directions, height, width, order, parent, edge, weight),
        )
        return order, parent, edge, weight

    def tree_filter(self, *arguments: Any, **named: Any) -> Floats:
        """What :meth:`tree_filter_and_kept` gives first."""
        return self.tree_filter_and_kept(*arguments, **named)[0]

    def kept_words(self, images: int, pixels: int, normalize: bool, dtype: Any) -> int:
        function = getattr(self.emulator.functions, f"tree_filter_kept_{C_TYPES[np.dtype(dtype)]}")
        function.restype = ctypes.c_int64
        return function(ctypes.c_int64(images), ctypes.c_int64(pixels), normalize)

    def tree_filter_and_kept(
        self,
        feature: Floats,
        order: Indices,
        parent: Indices,
        similarity: Floats,
        normalize: bool = True,
    ) -> tuple[Floats, Indices]:
        inputs = tuple(map(np.ascontiguousarray, (feature, order, parent, similarity)))
        output = garbage(feature.shape, feature.dtype)
        images, _, pixels = feature.shape
        kept = garbage((self.kept_words(images, pixels, normalize, feature.dtype),), np.int32)
        self._launch_tree(
            *(f"tree_filter_{C_TYPES[feature.dtype]}", feature, 1),
            *(*inputs, *feature.shape, normalize, output, kept),
        )
        return output, kept

    def tree_filter_backward(
        self,
        grad_output: Floats,
        feature: Floats | None,
        output: Floats | None,
        order: Indices,
        parent: Indices,
        similarity: Floats,
        normalize: bool,
        kept: Indices | None = None,
    ) -> tuple[Floats, Floats]:
        """What the filter keeps does not depend on what it filters."""
        images, _, pixels = grad_output.shape
        both = feature is not None
        if kept is None:
            _, kept = self.tree_filter_and_kept(grad_output, order, parent, similarity, normalize)
        grad_feature = garbage(grad_output.shape, grad_output.dtype)
        grad_similarity = garbage((images if both else 0, pixels), grad_output.dtype)
        self._launch_tree(
            *(f"tree_filter_backward_{C_TYPES[grad_output.dtype]}", grad_output, 1 + both),
            *(grad_output, feature if both else 0, output if both else 0),
            *(order, parent, similarity, *grad_output.shape, normalize, kept),
            *(grad_feature, grad_similarity if both else 0),
        )
        return grad_feature, grad_similarity
