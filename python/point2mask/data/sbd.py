"""The Semantic Boundaries Dataset: instances of more VOC pictures, in MATLAB files.

Only ``inst/*.mat`` is read: it numbers the instances and gives the class of each, so that
``cls/*.mat`` is not needed.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from point2mask.data.errors import DataError
from point2mask.data.files import resolve_inside
from point2mask.data.matfile import Numbers, read_struct

MAX_INSTANCES = 255  # their numbers are bytes


def read_instances(
    folder: Path, name: str, size: tuple[int, int], num_classes: int
) -> tuple[NDArray[np.int32], dict[int, int]]:
    """Numbers of the instances, ``int32 [H, W]``, 0 = background, and the class of each number.

    Args:
        folder: ``benchmark_RELEASE/dataset``.
        name: of the picture, without suffix.
        size: its height and width.
        num_classes: classes are in [1, num_classes].

    Raises:
        DataError: no such file, another size, or numbers that mean nothing.
    """
    path = resolve_inside(folder / "inst", f"{name}.mat")
    fields = read_struct(path, "GTinst", ("Segmentation", "Categories"))
    numbers = fields["Segmentation"]
    if numbers.shape != size:
        raise DataError(
            f"{path}: expected {size[1]} x {size[0]} pixels as the picture has, "
            f"got {numbers.shape[1]} x {numbers.shape[0]}"
        )
    categories = fields["Categories"].ravel()
    if len(categories) > MAX_INSTANCES:
        raise DataError(f"{path}: expected at most {MAX_INSTANCES} instances, got more")
    _check_integers(categories, 1, num_classes, f"{path}: Categories")
    _check_integers(numbers, 0, len(categories), f"{path}: Segmentation")
    classes = {number: int(c) for number, c in enumerate(categories, start=1)}
    return np.array(numbers, dtype=np.int32, order="C"), classes


def _check_integers(values: Numbers, low: int, high: int, place: str) -> None:
    # Written as not (all good), so that NaN is an error.
    if not ((values >= low) & (values <= high) & (values == np.floor(values))).all():
        raise DataError(f"{place}: expected integers in [{low}, {high}], got others")
