"""Calls of the pair kernels; see ``kernels.py``."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from simt.arrays import C_TYPES, garbage

OPERATORS = (
    "boundary_loss",
    "boundary_loss_backward",
    "lab_affinity_loss",
    "lab_affinity_loss_backward",
    "neighbor_difference",
    "neighbor_difference_backward",
)
NORMS = ("l1", "l2", "squared_l2")

Array = NDArray[Any]


def _check_window(operator: str, kernel_size: int, dilation: int) -> None:
    if kernel_size < 3 or kernel_size % 2 == 0:
        raise ValueError(f"{operator}: kernel_size must be odd and at least 3, got {kernel_size}")
    if dilation < 1:
        raise ValueError(f"{operator}: dilation must be at least 1, got {dilation}")


def _check_lab(channels: int, theta: float, threshold: float) -> None:
    operator = "lab_affinity_loss"
    if channels < 1:
        raise ValueError(f"{operator}: logits must have at least one channel, got {channels}")
    if not 0 < theta < math.inf:
        raise ValueError(f"{operator}: theta must be positive, got {theta}")
    if not 0 < threshold <= 1:
        raise ValueError(f"{operator}: threshold must lie in (0, 1], got {threshold}")


class PairKernels:
    """Losses and gradients of pairs; ``_and_pairs`` returns the numbers of pairs as well."""

    emulator: Any
    _launch: Any

    def neighbor_difference(
        self, feature: NDArray[Any], directions: int = 8, norm: str = "l1"
    ) -> NDArray[Any]:
        if directions not in (2, 4, 8):
            raise ValueError(f"neighbor_difference: directions must be 2, 4 or 8, got {directions}")
        if norm not in NORMS:
            raise ValueError(f"neighbor_difference: norm must be l1, l2 or squared_l2, got {norm}")
        feature = np.ascontiguousarray(feature)
        images, channels, height, width = feature.shape
        difference = garbage((images, directions, height, width), feature.dtype)
        self._launch(
            f"neighbor_difference_{C_TYPES[feature.dtype]}",
            *(feature, images, channels, height, width),
            *(directions, NORMS.index(norm), difference),
        )
        return difference

    def neighbor_difference_backward(
        self, grad_difference: Array, feature: Array, difference: Array, norm: str
    ) -> Array:
        arrays = map(np.ascontiguousarray, (grad_difference, feature, difference))
        grad_feature = garbage(feature.shape, feature.dtype)
        self._launch(
            f"neighbor_difference_backward_{C_TYPES[feature.dtype]}",
            *(*arrays, *feature.shape, difference.shape[1], NORMS.index(norm), grad_feature),
        )
        return grad_feature

    def lab_affinity_loss_and_pairs(
        self,
        logits: Array,
        lab: Array,
        kernel_size: int = 3,
        dilation: int = 2,
        theta: float = 2.0,
        threshold: float = 0.3,
        valid: NDArray[np.bool_] | None = None,
    ) -> tuple[Array, NDArray[np.int64]]:
        images, channels, height, width = logits.shape
        _check_window("lab_affinity_loss", kernel_size, dilation)
        _check_lab(channels, theta, threshold)
        logits, lab = map(np.ascontiguousarray, (logits, lab))
        valid = None if valid is None else np.ascontiguousarray(valid)
        dtype = C_TYPES[logits.dtype]
        loss, pairs = garbage((images,), logits.dtype), garbage((images,), np.int64)
        self._launch(
            f"lab_affinity_loss_{dtype}",
            *(logits, lab, valid, images, channels, height, width, kernel_size, dilation),
            *(float(theta), float(threshold), loss, pairs),
        )
        return loss, pairs

    def lab_affinity_loss(self, *arguments: Any, **named: Any) -> Array:
        return self.lab_affinity_loss_and_pairs(*arguments, **named)[0]

    def lab_affinity_loss_backward(
        self,
        grad_loss: Array,
        logits: Array,
        lab: Array,
        pairs: NDArray[np.int64],
        kernel_size: int,
        dilation: int,
        theta: float,
        threshold: float,
        valid: NDArray[np.bool_] | None,
    ) -> Array:
        dtype = C_TYPES[logits.dtype]
        images, channels, height, width = logits.shape
        grad_logits = garbage(logits.shape, logits.dtype)
        self._launch(
            f"lab_affinity_loss_backward_{dtype}",
            *(grad_loss, logits, lab, valid, pairs, images, channels, height, width),
            *(kernel_size, dilation, float(theta), float(threshold), grad_logits),
        )
        return grad_logits

    def boundary_loss_and_pairs(
        self,
        boundary: Array,
        instance: NDArray[np.int32],
        semantic: NDArray[np.int32],
        kernel_size: int = 3,
        dilation: int = 1,
    ) -> tuple[Array, NDArray[np.int64]]:
        _check_window("boundary_loss", kernel_size, dilation)
        boundary, instance, semantic = map(np.ascontiguousarray, (boundary, instance, semantic))
        loss = garbage(boundary.shape[:1], boundary.dtype)
        pairs = garbage((*boundary.shape[:1], 3), np.int64)
        self._launch(
            f"boundary_loss_{C_TYPES[boundary.dtype]}",
            *(boundary, instance, semantic, *boundary.shape, kernel_size, dilation),
            *(loss, pairs),
        )
        return loss, pairs

    def boundary_loss(self, *arguments: Any, **named: Any) -> Array:
        return self.boundary_loss_and_pairs(*arguments, **named)[0]

    def boundary_loss_backward(
        self,
        grad_loss: Array,
        boundary: Array,
        instance: NDArray[np.int32],
        semantic: NDArray[np.int32],
        pairs: NDArray[np.int64],
        kernel_size: int,
        dilation: int,
    ) -> Array:
        grad_boundary = garbage(boundary.shape, boundary.dtype)
        self._launch(
            f"boundary_loss_backward_{C_TYPES[boundary.dtype]}",
            *(grad_loss, boundary, instance, semantic, pairs, *boundary.shape),
            *(kernel_size, dilation, grad_boundary),
        )
        return grad_boundary
