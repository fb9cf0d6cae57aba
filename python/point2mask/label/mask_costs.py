"""Mask scores of a promptable network as a part of what a pixel costs a target."""

import math
from collections.abc import Callable
from functools import wraps

import numpy as np
from numpy.typing import NDArray

from point2mask.label.scene import Scene

# The network is trusted up to this probability: where it denies a pixel to every target, what the
# assigner says decides, and not by which of them it denies it more.
FLOOR = 0.02
HIGHEST = -math.log(FLOOR)  # cost of a pixel that is certainly not of the target
# Of a pixel outside the region that the assigner gives to the target: a mask takes a pixel from
# another region where it is at least as likely as not and the region's own mask denies it.
ELSEWHERE = HIGHEST + math.log(0.5)


def mask_cost(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """The negative logarithm of a mask's probability, at most :data:`HIGHEST`."""
    # exp(-|x|) cannot overflow.
    decay = np.exp(-np.abs(logits))
    probability = np.where(logits >= 0, 1, decay) / (1 + decay)
    return np.asarray(-np.log(FLOOR + (1 - FLOOR) * probability), np.float32)


def shared_with_masks(
    assign: Callable[[Scene], NDArray[np.int32]],
) -> Callable[[Scene], NDArray[np.int32]]:
    """An assigner whose answer joins the mask costs of a scene that has any.

    All pixels are shared out at once: each goes to the target that costs least, by its mask and by
    whether the assigner gave it the pixel. Clicks stay with their targets.
    """

    @wraps(assign)
    def shared(scene: Scene) -> NDArray[np.int32]:
        labels = assign(scene)
        if scene.mask_cost is None:
            return labels
        cost = scene.mask_cost + np.float32(ELSEWHERE)
        own = np.take_along_axis(scene.mask_cost, labels[None], 0)
        np.put_along_axis(cost, labels[None], own, 0)
        labels = np.asarray(cost.argmin(0), np.int32)
        for target, seeds in enumerate(scene.seeds):
            labels.flat[seeds[seeds >= 0]] = target
        return labels

    return shared
