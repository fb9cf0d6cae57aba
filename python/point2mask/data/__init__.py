"""Data sets on disk: COCO panoptic layout, point labels, and generated pictures."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from point2mask.data.errors import BrokenPictureError, DataError
    from point2mask.data.gathering import gather
    from point2mask.data.making import Made, Spreading
    from point2mask.data.panoptic import (
        Category,
        ImageRecord,
        PanopticDataset,
        PanopticImage,
        Segment,
        read_panoptic,
        write_panoptic,
    )
    from point2mask.data.png import SizeLimit, read_rgb, write_rgb
    from point2mask.data.points import (
        read_point_pngs,
        read_points,
        sample_points,
        write_point_pngs,
        write_points,
    )
    from point2mask.data.results import Shard
    from point2mask.data.segments import segment_areas, segment_labels
    from point2mask.data.targets import PointLabels, PointTarget

# Loaded when they are asked for: readers need msgspec and Pillow, the command line's help neither.
_MODULES = {
    "errors": ("BrokenPictureError", "DataError"),
    "gathering": ("gather",),
    "making": ("Made", "Spreading"),
    "panoptic": ("PanopticDataset", "PanopticImage", "read_panoptic", "write_panoptic"),
    "png": ("SizeLimit", "read_rgb", "write_rgb"),
    "points": (
        "read_point_pngs",
        "read_points",
        "sample_points",
        "write_point_pngs",
        "write_points",
    ),
    "records": ("Category", "ImageRecord", "Segment"),
    "results": ("Shard",),
    "segments": ("segment_areas", "segment_labels"),
    "targets": ("PointLabels", "PointTarget"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


__all__ = [
    "BrokenPictureError",
    "Category",
    "DataError",
    "ImageRecord",
    "Made",
    "PanopticDataset",
    "PanopticImage",
    "PointLabels",
    "PointTarget",
    "Segment",
    "Shard",
    "SizeLimit",
    "Spreading",
    "gather",
    "read_panoptic",
    "read_point_pngs",
    "read_points",
    "read_rgb",
    "sample_points",
    "segment_areas",
    "segment_labels",
    "write_panoptic",
    "write_point_pngs",
    "write_points",
    "write_rgb",
]
