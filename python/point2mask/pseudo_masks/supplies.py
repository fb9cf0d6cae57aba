"""How many pixels each target should receive: one function a scheme, chosen by name.

A scheme maps a :class:`Problem` to supplies ``[B, K]`` in pixels. :func:`supplies` scales them to
the number of foreground pixels, so that the transport is balanced. Areas that come with the clicks
take the place of a scheme's guesses.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from point2mask import ops
from point2mask.pseudo_masks.options import Supplies
from point2mask.pseudo_masks.points import PointBatch
from point2mask.pseudo_masks.problem import Problem

# Of a stated area in the mean of logarithms, the rest being a guess's: what is best where those are
# off by 0.4 and by 0.57. Sizes of one class differ within a picture by 0.48 (people in Penn-Fudan),
# 0.62 (nuclei) and 0.93 (COCO).
TRUST = 2 / 3


def label_areas(problem: Problem, label: Tensor) -> Tensor:
    """Pixels of every target in a label map, ``[B, K]``."""
    return ops.mask_statistics(label, problem.is_target.shape[1]).area.to(problem.cost.dtype)


def centroid_supplies(problem: Problem) -> Tensor:
    """The published scheme (b.5): areas of the PSPS labels grown from the masks' centroids.

    A mask's centroid replaces the click only if both lie inside the mask. As published, the click
    is the target's first by rows, and what must lie inside is the first pixel of its cell.
    """
    first = problem.most_likely(problem.distance)
    statistics = ops.mask_statistics(first, problem.is_target.shape[1])
    height, width = first.shape[-2:]
    y, x = (c.long() for c in statistics.centroid.unbind(-1))
    rows, columns = problem.edges.shape[-2:]
    click_y, click_x = first_by_rows(problem.points, height, width)
    row, column = cell_of(click_y, rows, problem), cell_of(click_x, columns, problem)
    corner = row * problem.stride * width + column * problem.stride
    target = torch.arange(problem.is_target.shape[1], device=first.device)
    flat = first.flatten(1)
    inside = (flat.gather(1, y * width + x) == target) & (flat.gather(1, corner) == target)
    row = torch.where(inside, cell_of(y, rows, problem), row)
    column = torch.where(inside, cell_of(x, columns, problem), column)
    cell = row * columns + column
    has_point = problem.is_target & problem.points.is_point.any(-1)
    cell = torch.where(has_point, cell, -1).int()
    return label_areas(problem, problem.most_likely(problem.distance_from(cell)))


def cell_of(pixel: Tensor, count: int, problem: Problem) -> Tensor:
    """The cells of pixels on one axis of the reduced grid, of which there are ``count``."""
    return pixel.div(problem.stride, rounding_mode="floor").clamp_max(count - 1)


def first_by_rows(points: PointBatch, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Int64 (y, x) ``[B, K]`` of every target's first point in the order of pixels."""
    y, x = points.pixels(height, width)
    pixel = (y * width + x).masked_fill(~points.is_point, height * width)
    chosen = pixel.argmin(-1, keepdim=True)
    return y.gather(-1, chosen)[..., 0], x.gather(-1, chosen)[..., 0]


def uniform_supplies(problem: Problem) -> Tensor:
    """The pixels of a class in equal shares to the targets of that class."""
    pixels = problem.pixel_class.masked_fill(problem.unlabelled, -1).int()
    area = ops.mask_statistics(pixels, problem.classes).area.to(problem.cost.dtype)
    category = problem.points.category.clamp_min(0)
    one = problem.is_target.to(area.dtype)
    rivals = torch.zeros_like(area).scatter_add(1, category, one)
    return (area / rivals.clamp_min(1.0)).gather(1, category)


def learned_supplies(problem: Problem) -> Tensor:
    """The pixels that the click branch expects to be each thing's, Σ_i p_ij over the things."""
    assert problem.partition is not None  # pseudo_masks() sees to it
    things = problem.is_target[..., None, None]
    share = problem.partition.masked_fill(~things, -torch.inf).softmax(1)
    # Nothing is a thing where no thing is clicked.
    return (share.nan_to_num(0.0) * problem.foreground[:, None]).sum((2, 3))


def given_supplies(problem: Problem) -> Tensor:
    """The areas handed in by the caller, in pixels."""
    if problem.areas is None:
        raise ValueError("supplies need areas [B, K], one a target, in pixels, got None")
    # Checked where the tensor lives: no value is read back.
    valid = (problem.areas.isfinite() & (problem.areas >= 0)).all()
    torch._assert_async(valid, "areas must be finite and not negative")
    return problem.areas.to(problem.cost.dtype)


SUPPLIES: dict[Supplies, Callable[[Problem], Tensor]] = {
    "centroid": centroid_supplies,
    "uniform": uniform_supplies,
    "network": given_supplies,  # the grower hands in what the network draws
    "learned": learned_supplies,
    "given": given_supplies,
}


def supplies(problem: Problem, scheme: Supplies) -> Tensor:
    """Supplies ``[B, K]`` of a scheme by name; an image's sum is its foreground pixel count.

    Things whose area comes with their clicks get that, in proportion; see :func:`_with_stated`.
    """
    area = SUPPLIES[scheme](problem).masked_fill(~problem.is_target, 0.0)
    demand = problem.foreground.sum((1, 2)).to(area.dtype)[:, None]
    total = area.sum(1, keepdim=True)
    # Targets without any claim at all (say, no pixel of their class) share the image equally.
    area = torch.where(total == 0, problem.is_target.to(area.dtype), area)
    area = area * (demand / area.sum(1, keepdim=True).clamp_min(1e-30))
    if problem.points.area is None:
        return area
    return _with_stated(problem, problem.points.area.to(area.dtype), area, demand)


def _with_stated(problem: Problem, stated: Tensor, guess: Tensor, demand: Tensor) -> Tensor:
    """Stated areas, and of what they leave the others' guesses, scaled to the foreground.

    Somebody's estimate and the scheme's guess are both off, so a thing gets a mean of them, that of
    their logarithms; what the scheme gives nothing gets what is stated. Stated areas may come to
    more than there is: at least half of their guesses is left to the others. An image without a
    stated area keeps its guesses to the bit.
    """
    known = problem.is_target & ~stated.isnan()
    others = guess.masked_fill(known, 0.0)
    guessed = others.sum(1, keepdim=True)
    believed = stated**TRUST * guess ** (1 - TRUST)
    stated = torch.where(guess > 0, believed, stated).masked_fill(~known, 0.0)
    left = torch.maximum(demand - stated.sum(1, keepdim=True), guessed / 2)
    area = stated + others * (left / guessed.clamp_min(1e-30))
    area = area * (demand / area.sum(1, keepdim=True).clamp_min(1e-30))
    return torch.where(known.any(1, keepdim=True), area, guess)
