"""Data sets on disk: COCO panoptic layout, point labels, and generated pictures."""

from point2mask.data.errors import DataError
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
    PointLabels,
    PointTarget,
    read_point_pngs,
    read_points,
    sample_points,
    write_point_pngs,
    write_points,
)
from point2mask.data.segments import segment_areas, segment_labels

__all__ = [
    "Category",
    "DataError",
    "ImageRecord",
    "PanopticDataset",
    "PanopticImage",
    "PointLabels",
    "PointTarget",
    "Segment",
    "SizeLimit",
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
