"""The losses of the method, one module each, and the criterion that weighs them."""

from point2mask.losses.affinity import lab_affinity
from point2mask.losses.boundary import boundary_separation
from point2mask.losses.config import (
    AnyLossConfig,
    Mask2FormerLossConfig,
    MaskDINOLossConfig,
    SegformerLossConfig,
    published_losses,
)
from point2mask.losses.contrast import point_to_mask_contrast
from point2mask.losses.criterion import Criterion
from point2mask.losses.mask2former import Mask2FormerLosses
from point2mask.losses.maskdino import MaskDINOLosses
from point2mask.losses.panoptic_segformer import Assignment, SegformerLosses
from point2mask.losses.point_cross_entropy import point_cross_entropy
from point2mask.losses.presence import class_presence_focal
from point2mask.losses.sets import dice, sigmoid_focal
from point2mask.losses.targets import (
    Targets,
    known_targets,
    mask_targets,
    point_targets,
    true_masks,
)
from point2mask.losses.tree_energy import tree_energy

__all__ = [
    "AnyLossConfig",
    "Assignment",
    "Criterion",
    "Mask2FormerLossConfig",
    "Mask2FormerLosses",
    "MaskDINOLossConfig",
    "MaskDINOLosses",
    "SegformerLossConfig",
    "SegformerLosses",
    "Targets",
    "boundary_separation",
    "class_presence_focal",
    "dice",
    "known_targets",
    "lab_affinity",
    "mask_targets",
    "point_cross_entropy",
    "point_targets",
    "point_to_mask_contrast",
    "published_losses",
    "sigmoid_focal",
    "tree_energy",
    "true_masks",
]
