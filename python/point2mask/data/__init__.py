"""Data sets on disk: COCO panoptic layout, point labels, and generated pictures."""

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
    PointLabels,
    PointTarget,
    read_point_pngs,
    read_points,
    sample_points,
    write_point_pngs,
    write_points,
)
from point2mask.data.results import Shard
from point2mask.data.segments import segment_areas, segment_labels

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
