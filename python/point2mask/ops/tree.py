"""Minimum spanning trees of the pixel grid and what is computed along them.

A pixel's *rank* is its place in ``order``, in which a parent stands before its children. ``parent``
holds ranks; ``edge``, ``weight`` and a similarity belong to the edge from the pixel of that rank to
its parent, so that entry 0, the root's, carries nothing.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from point2mask.ops._library import (
    NAMESPACE,
    check_rank,
    differentiable,
    register_fake,
    run_in_float32,
    takes_tensors,
)
from point2mask.ops.pairs import neighbor_difference


class SpanningTree(NamedTuple):
    """What :func:`spanning_tree` returns, by rank."""

    order: Tensor  # int32 [B, N], the pixel of each rank
    parent: Tensor  # int32 [B, N], rank of the parent; 0 at the root
    edge: Tensor  # int32 [B, N], edge id d·H·W + y·W + x; -1 at the root
    weight: Tensor  # [B, N], weight of that edge; 0 at the root


@takes_tensors
def spanning_tree(edge_weight: Tensor) -> SpanningTree:
    """The minimum spanning tree of the 4- or 8-connected pixel grid, rooted at pixel 0.

    Edges are compared by (weight, edge id), -0 equals +0, so the tree is unique on every backend.
    The order is the depth-first preorder in which a pixel is followed by its child with the largest
    subtree (the smallest edge id among equals) and that child's subtree, then by its other children
    in increasing edge id: three of four parents are the previous entry.

    Args:
        edge_weight: float32 or float64 ``[B, D, H, W]``, finite, of any sign. D = 2: steps (1, 0)
            and (0, 1) in (y, x); D = 4: also (1, 1) and (1, -1). Each edge is stored at the pixel
            it leaves; entries whose step leaves the image are ignored.

    Returns:
        ``order``, ``parent``, ``edge``, ``weight``, N = H·W. ``weight`` is differentiable by
        ``edge_weight`` for a fixed tree, the others are not.

    Raises:
        ValueError: wrong shape or dtype, or a weight that is NaN or infinite.
    """
    return SpanningTree(*torch.ops.point2mask.spanning_tree.default(edge_weight))


@takes_tensors
def minimum_spanning_tree(
    guide: Tensor, connectivity: Literal[4, 8] = 4, offset: float = 0.0
) -> SpanningTree:
    """The spanning tree of an image: edges weigh the squared L2 difference of their ends + offset.

    Args:
        guide: float32 or float64 ``[B, C, H, W]``, finite: colours or features.
        connectivity: 4 or 8 neighbours a pixel.
        offset: added to every weight, in the dtype of ``guide``. 0 keeps every digit; trees made
            with 1 in float32 elsewhere have lost the differences below 6e-8, and 1 reproduces them.

    Returns:
        See :func:`spanning_tree`; ``weight`` is differentiable by ``guide``.

    Raises:
        ValueError: a connectivity other than 4 and 8, wrong shape or dtype, or a guide that is not
            finite.

    >>> minimum_spanning_tree(torch.tensor([[[[0.0, 0, 1], [0, 1, 1]]]])).weight.sum()
    tensor(1.)
    """
    if connectivity not in (4, 8):
        raise ValueError(f"minimum_spanning_tree: connectivity must be 4 or 8, got {connectivity}")
    return spanning_tree(neighbor_difference(guide, connectivity // 2, "squared_l2") + offset)


@takes_tensors
def tree_filter(
    feature: Tensor, order: Tensor, parent: Tensor, similarity: Tensor, normalize: bool = True
) -> Tensor:
    """Filters features along a tree: y_i = Σ_j S_ij x_j / Σ_j S_ij.

    S_ij is the product of the similarities of the edges on the path between pixels i and j
    (S_ii = 1). Linear time, two passes over the tree; the value does not depend on the root.

    Args:
        feature: float32 or float64 ``[B, C, N]`` in pixel order.
        order: int32 ``[B, N]`` of :func:`spanning_tree`.
        parent: int32 ``[B, N]`` of :func:`spanning_tree`.
        similarity: ``[B, N]`` in [0, 1], dtype of ``feature``; by rank, entry 0 is ignored.
        normalize: divide by Σ_j S_ij, which is at least 1.

    Returns:
        ``[B, C, N]`` in pixel order. Differentiable by ``feature`` and ``similarity``; the
        gradient by the root's similarity is 0.

    Raises:
        ValueError: wrong shape or dtype, a similarity outside [0, 1], an order that is no
            permutation or a parent that does not stand before its child.
    """
    output: Tensor = torch.ops.point2mask.tree_filter.default(
        feature, order, parent, similarity, normalize
    )[0]
    return output


@register_fake("spanning_tree")
def _(edge_weight: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    check_rank("edge_weight", edge_weight, "B, D, H, W")
    images, _, height, width = edge_weight.shape
    shape = (images, height * width)
    return (
        edge_weight.new_empty(shape, dtype=torch.int32),
        edge_weight.new_empty(shape, dtype=torch.int32),
        edge_weight.new_empty(shape, dtype=torch.int32),
        edge_weight.new_empty(shape),
    )


def kept_words(shape: Sequence[int], itemsize: int, normalize: bool) -> int:
    """Size of what ``tree_filter`` keeps for its gradient on a GPU; ``kept_words`` in tree.hpp."""
    images, _, pixels = shape
    return images * (pixels * (7 + (itemsize // 4 if normalize else 0)) + 1)


@register_fake("tree_filter")
def _(
    feature: Tensor, order: Tensor, parent: Tensor, similarity: Tensor, normalize: bool = True
) -> tuple[Tensor, Tensor]:
    check_rank("feature", feature, "B, C, N")
    on_cpu = feature.device.type == "cpu"
    words = 0 if on_cpu else kept_words(feature.shape, feature.itemsize, normalize)
    return feature.new_empty(feature.shape), feature.new_empty(words, dtype=torch.int32)


@register_fake("tree_filter_backward")
def _(
    grad_output: Tensor,
    feature: Tensor | None,
    output: Tensor | None,
    order: Tensor,
    parent: Tensor,
    similarity: Tensor,
    normalize: bool,
    kept: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    images, _, pixels = grad_output.shape
    if grad_output.device.type != "cpu":
        words = kept_words(grad_output.shape, grad_output.itemsize, normalize)
        torch._check(
            kept is not None and kept.numel() == words,
            lambda: f"kept must be the {words} words that tree_filter returned with this tree",
        )
    return (
        grad_output.new_empty(grad_output.shape),
        grad_output.new_empty((0 if feature is None else images, pixels)),
    )


def _save_tree(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(output[2])
    ctx.shape = inputs[0].shape


def _spanning_tree_backward(ctx: Any, *grads: Tensor) -> Tensor:
    (edge,) = ctx.saved_tensors
    grad_weight = grads[3]
    images, directions, height, width = ctx.shape
    # Every edge occurs once, so nothing is added up; the root has none.
    grad = grad_weight.new_zeros((images, directions * height * width))
    return grad.scatter(1, edge[:, 1:].long(), grad_weight[:, 1:]).view(ctx.shape)


def _save_filter(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    feature, order, parent, similarity, ctx.normalize = inputs
    filtered, kept = output
    both = (feature, filtered) if ctx.needs_input_grad[3] else ()
    ctx.save_for_backward(order, parent, similarity, kept, *both)


def _tree_filter_backward(ctx: Any, grad_output: Tensor, _: Any) -> tuple[Tensor | None, ...]:
    order, parent, similarity, kept, *both = ctx.saved_tensors
    feature, output = both or (None, None)
    grad_feature, grad_similarity = torch.ops.point2mask.tree_filter_backward.default(
        grad_output, feature, output, order, parent, similarity, ctx.normalize, kept
    )
    return grad_feature, None, None, grad_similarity if both else None, None


torch.library.register_autograd(
    f"{NAMESPACE}::spanning_tree", _spanning_tree_backward, setup_context=_save_tree
)
differentiable("tree_filter", _tree_filter_backward, _save_filter)
for _name in ("spanning_tree", "tree_filter"):
    run_in_float32(_name)
