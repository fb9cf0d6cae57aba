"""Point labels of annotation tools and tables, to ours and back."""

from point2mask.data.point_files.clicks import ClickedImage, Pictures, to_labels
from point2mask.data.point_files.cvat import read_cvat
from point2mask.data.point_files.label_studio import read_label_studio
from point2mask.data.point_files.labelme import read_labelme, write_labelme
from point2mask.data.point_files.table import read_csv, write_csv

__all__ = [
    "ClickedImage",
    "Pictures",
    "read_csv",
    "read_cvat",
    "read_label_studio",
    "read_labelme",
    "to_labels",
    "write_csv",
    "write_labelme",
]
