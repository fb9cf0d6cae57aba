"""Clicks to panoptic masks without training: edges, region merging, shortest paths, transport."""

from point2mask.label.folder import LabelOptions, label_folder
from point2mask.label.pipeline import (
    DEFAULT_ASSIGNER,
    PICTURE_ASSIGNERS,
    AssignerName,
    PreparedImage,
    label_image,
)

__all__ = [
    "DEFAULT_ASSIGNER",
    "PICTURE_ASSIGNERS",
    "AssignerName",
    "LabelOptions",
    "PreparedImage",
    "label_folder",
    "label_image",
]
