"""The losses of the click branch, which shares an image out among its clicked targets."""

import torch
from torch import Tensor

from point2mask.losses.colors import Colors
from point2mask.losses.config import AnyLossConfig
from point2mask.losses.counts import divisor_of
from point2mask.losses.point_cross_entropy import point_cross_entropy
from point2mask.losses.targets import Targets
from point2mask.models import NetworkOutput
from point2mask.models.precision import at_least_float32
from point2mask.pseudo_masks.batch import Batch
from point2mask.pseudo_masks.cells import cell_labels


def click_losses(
    config: AnyLossConfig, output: NetworkOutput, targets: Targets, batch: Batch, colors: Colors
) -> dict[str, Tensor]:
    """The losses by name, ``[B]`` each, not weighted yet.

    Cross-entropy where the target is known for certain: at the clicks, every other one of which
    says "not I", or everywhere. Where it is not: the masks of the step, the picture's colours, and
    the semantic map. The two of colours are left out where their weight is 0.
    """
    assert output.partition is not None
    assert targets.target is not None
    logits, geometry = at_least_float32(output.partition), output.geometry
    valid = geometry.finest
    losses = {"click_point": point_cross_entropy(logits, targets.target)}
    if targets.complete:
        return losses
    made = cell_labels(targets.masks.panoptic, batch.image_size, valid, geometry.spanning)
    losses["click_mask"] = point_cross_entropy(logits, made)
    if config.click_lab:
        # Without a click there is nothing to share out: all alike, over as many as the batch has.
        clicked = batch.points.nonempty().is_point.flatten(1).any(1)
        losses["click_lab"] = colors.lab_affinity(logits) * clicked
    if config.click_tree:
        losses["click_tree"] = colors.tree_energy(logits, targets.label)
    losses["click_class"] = class_agreement(
        logits,
        at_least_float32(output.semantics.logits[-1]).detach().softmax(1),
        targets.category,
        batch.points.nonempty().is_point.any(-1),
        batch.is_thing,
        valid,
    )
    return losses


def class_agreement(
    logits: Tensor,
    semantic: Tensor,
    category: Tensor,
    clicked: Tensor,
    is_thing: Tensor,
    valid: Tensor,
) -> Tensor:
    """Mean cross-entropy over the cells of what the targets of a class have together, and the map.

    The kinds are the classes of things, and all the rest as one: -Σ_c s_c log Σ_{j of c} p_j.

    Args:
        logits: ``[L, B, K, h, w]``, of L layers, which are summed; p is their softmax over K.
        semantic: ``[B, C, h, w]``, the map s, to which no gradient goes.
        category: int64 ``[B, K]``, class, -1 = padding.
        clicked: bool ``[B, K]``, targets that have a click; others are of no kind.
        is_thing: bool ``[C]``.
        valid: bool ``[B, h, w]``, cells that hold image.

    Returns:
        ``[B]``, the images' parts of the mean over the batch's cells.
    """
    things = is_thing.to(semantic.dtype)
    own = category[..., None] == torch.arange(len(is_thing), device=category.device)
    # Kinds: the things by class, which other classes leave empty, and the rest in the last place.
    kind = own * things
    member = torch.cat((kind, 1 - kind.sum(-1, keepdim=True)), -1) * clicked[..., None]
    sure = semantic * things[:, None, None]
    wanted = torch.cat((sure, 1 - sure.sum(1, keepdim=True)), 1).flatten(2)
    # What no clicked target is of is nobody's here.
    present = member.any(1)[..., None]
    has = member.transpose(1, 2) @ logits.softmax(2).flatten(3)  # [L, B, C + 1, h·w]
    tiny = torch.finfo(has.dtype).tiny
    entropy = -(wanted * present * has.clamp(min=tiny).log()).sum(2)
    cells = valid.flatten(1)
    return (entropy * cells).sum((0, 2)) / divisor_of(cells.sum())
