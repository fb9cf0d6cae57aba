"""Point labels of annotation tools and tables, to ours and back."""

from point2mask.data.formats.clicks import to_labels
from point2mask.data.formats.cvat import read_cvat
from point2mask.data.formats.label_studio import read_label_studio
from point2mask.data.formats.labelme import read_labelme, write_labelme
from point2mask.data.formats.pictures import ClickedImage, Pictures
from point2mask.data.formats.table import read_csv, write_csv

# By the names that the commands have for formats.
READERS = {
    "csv": read_csv,
    "labelme": read_labelme,
    "cvat": read_cvat,
    "label-studio": read_label_studio,
}
WRITERS = {"csv": write_csv, "labelme": write_labelme}

__all__ = [
    "READERS",
    "WRITERS",
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
