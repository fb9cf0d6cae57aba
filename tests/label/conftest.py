import pytest

from point2mask.data import read_panoptic, sample_points, write_points
from point2mask.data.shapes import write_shapes


@pytest.fixture
def shapes(tmp_path):
    """Three tiny pictures and clicks on them: data set, folder of pictures, points file."""
    root = tmp_path / "shapes"
    write_shapes(root, "val", 3, (64, 96))
    dataset = read_panoptic(root / "annotations" / "panoptic_val.json")
    write_points(tmp_path / "points.json", sample_points(dataset, 2, seed=1))
    return dataset, root / "images" / "val", tmp_path / "points.json"
