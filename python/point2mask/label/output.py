"""The folders of a labelling run: what they must hold before it, and what it leaves behind."""

import os
from collections.abc import Iterator
from pathlib import Path

from point2mask.data import DataError, ImageRecord, PanopticDataset, PointLabels
from point2mask.data.files import read_json
from point2mask.data.panoptic import mask_name

MADE = (("panoptic", ".png"), ("overlays", ".jpg"))  # folders of the output, suffix in them


def check_input_folder(images_dir: Path) -> None:
    if not images_dir.is_dir():
        fault = "it is not a folder" if images_dir.exists() else "there is no such folder"
        raise DataError(f"{images_dir}: expected the folder of the pictures, but {fault}")


def check_output_folder(out_dir: Path, labels: PointLabels) -> None:
    """Refuses a folder with results that a run would replace and no earlier run has written.

    What an interrupted first run leaves, masks and overlays of the same images, is accepted.
    """
    if out_dir.exists() and not out_dir.is_dir():
        raise DataError(f"{out_dir}: expected a folder for the results, but it is not a folder")
    if _is_output(out_dir):
        return
    written = _written(out_dir, [record for record, _ in labels.images])
    strangers = [path for path in _made(out_dir) if path not in written]
    if (out_dir / "panoptic.json").exists():
        strangers.insert(0, out_dir / "panoptic.json")
    if strangers:
        raise DataError(
            f"{out_dir}: expected a new or empty folder, or results of 'point2mask label' with "
            f"their summary.json, got {strangers[0].relative_to(out_dir)} without; choose another"
        )


def remove_stale(out_dir: Path, dataset: PanopticDataset, overlays: bool) -> None:
    """Removes the masks and overlays of earlier runs that do not belong to ``dataset``."""
    written = _written(out_dir, [image.record for image in dataset.images], overlays)
    for path in list(_made(out_dir)):
        if path not in written:
            path.unlink()


def overlay_name(record: ImageRecord) -> str:
    return Path(record.file_name).with_suffix(".jpg").as_posix()


def _is_output(out_dir: Path) -> bool:
    path = out_dir / "summary.json"
    if not path.exists():
        return False
    try:
        summary = read_json(path, "a summary of labelling")
    except DataError:
        return False
    return "assigner" in summary and "segments" in summary


def _written(out_dir: Path, records: list[ImageRecord], overlays: bool = True) -> set[Path]:
    paths = {out_dir / "panoptic" / mask_name(record) for record in records}
    if overlays:
        paths |= {out_dir / "overlays" / overlay_name(record) for record in records}
    return paths


def _made(out_dir: Path) -> Iterator[Path]:
    """Masks and overlays, by folder and suffix; links to folders are not entered."""
    for folder, suffix in MADE:
        for root, _, names in os.walk(out_dir / folder):
            yield from (Path(root, name) for name in sorted(names) if name.endswith(suffix))
