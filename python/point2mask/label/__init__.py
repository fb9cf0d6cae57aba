"""Clicks to panoptic masks without training: edges, region merging, shortest paths, transport."""

from point2mask.label.folder import LabelOptions, label_folder
from point2mask.label.pipeline import (
    ASSIGNERS,
    DEFAULT_ASSIGNER,
    AssignerName,
    PreparedImage,
    label_image,
)

__all__ = [
    "ASSIGNERS",
    "DEFAULT_ASSIGNER",
    "AssignerName",
    "LabelOptions",
    "PreparedImage",
    "label_folder",
    "label_image",
]
