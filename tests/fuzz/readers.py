"""Every reader of files from outside, with a small good file of its kind.

A reader is handed a folder that holds the good files, with one of them made worse.
"""

import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from click_files import write_photos
from PIL import Image
from run_lengths import text_of
from safetensors.torch import save
from scipy.io import savemat
from voc_trees import write_voc

from point2mask.checkpoint import load_tensors
from point2mask.cli import main
from point2mask.data import read_points, write_points
from point2mask.data.claims import claimed
from point2mask.data.files import read_bounded
from point2mask.data.formats.sbd import read_instances
from point2mask.data.places import files_below
from point2mask.data.png import picture_size, read_ids, read_indices, read_rgb
from point2mask.data.results import ResultFolder, run_records
from point2mask.hub import _read_config
from point2mask.train.config import load_config

CATEGORIES = [
    {"id": 3, "name": "cat", "isthing": 1, "color": [1, 2, 3]},
    {"id": 4, "name": "grass", "isthing": 0, "color": [9, 9, 9]},
]
IMAGE = {"id": 1, "file_name": "a.png", "height": 5, "width": 8}
POINTS = {
    "images": [IMAGE],
    "annotations": [
        {
            "image_id": 1,
            "segments_info": [
                {"id": 7, "category_id": 3, "iscrowd": 0, "points": [[1.5, 2.5], [3.0, 4.0]]},
                {"id": 300, "category_id": 4, "iscrowd": 0, "points": [[7.5, 0.5]]},
            ],
        }
    ],
    "categories": CATEGORIES,
}
PANOPTIC = {
    "images": [IMAGE],
    "annotations": [
        {
            "image_id": 1,
            "file_name": "a.png",
            "segments_info": [
                {"id": 7, "category_id": 3, "iscrowd": 0, "area": 20, "bbox": [0, 0, 4, 5]},
                {"id": 300, "category_id": 4, "iscrowd": 0, "area": 20, "bbox": [4, 0, 4, 5]},
            ],
        }
    ],
    "categories": CATEGORIES,
}
COCO = {
    "images": [IMAGE],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 3, "iscrowd": 0,
         "segmentation": [[0, 0, 4, 0, 4, 4, 0, 4]]},
        {"id": 2, "image_id": 1, "category_id": 3, "iscrowd": 1,
         "segmentation": {"size": [5, 8], "counts": [20, 5, 15]}},
        {"id": 3, "image_id": 1, "category_id": 3, "iscrowd": 0,
         "segmentation": {"size": [5, 8], "counts": text_of([20, 5, 15])}},
    ],
    "categories": [{"id": 3, "name": "cat"}],
}  # fmt: skip
LABELME = {
    "version": "5.5.0",
    "shapes": [
        {"label": "cat", "points": [[1.5, 2.5]], "group_id": 1, "shape_type": "point"},
        {"label": "cat", "points": [[1, 1], [3, 3]], "group_id": None, "shape_type": "rectangle"},
    ],
    "imagePath": "a.png",
    "imageHeight": 5,
    "imageWidth": 8,
}
STUDIO = [
    {
        "data": {"img": "/data/local-files/?d=photos/a.png"},
        "annotations": [
            {
                "result": [
                    {
                        "original_width": 8,
                        "original_height": 5,
                        "value": {"x": 20.0, "y": 40.0, "width": 0.5, "keypointlabels": ["cat"]},
                        "type": "keypointlabels",
                    }
                ]
            }
        ],
    }
]
CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version>
<image id="0" name="a.png" width="8" height="5">
<points label="cat" occluded="0" points="1.5,2.5;3.0,4.0"><attribute name="a">1</attribute></points>
<box label="cat" xtl="1" ytl="1" xbr="3" ybr="3"></box>
</image></annotations>
"""
CSV = "image,x,y,category,instance\na.png,1.5,2.5,cat,1\nsub/b.png,3,4,grass,\n"
RUN = {
    "command": "label", "version": "0.1", "settings": {"assigner": "merge"}, "overlays": True,
    "pictures": 1, "categories": CATEGORIES, "file_names": ["a.png"], "finished": True,
}  # fmt: skip
RECORD = {
    "signature": "0" * 32, "image": IMAGE, "bytes": 99,
    "annotation": PANOPTIC["annotations"][0],
}  # fmt: skip
SIZE = 24, 32
IDS = np.repeat([7, 300], 4)[None].repeat(5, 0)


def encoded(pixels, kind, **options):
    file = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(file, format=kind, **options)
    return file.getvalue()


def matlab():
    file = io.BytesIO()
    numbers = np.zeros(SIZE, np.uint8)
    numbers[3:9, 4:20] = 1
    savemat(file, {"GTinst": {"Segmentation": numbers, "Categories": np.array([[8.0]])}})
    return file.getvalue()


def ids_png():
    return encoded(np.stack([IDS & 255, IDS >> 8, IDS >> 16], 2), "PNG")


def write_good(folder: Path) -> Path:
    """The good files of all readers."""
    write_photos(folder / "photos")
    write_voc(folder / "VOC2012", train=("2008_000002",), val=("2007_000003",))
    for name, value in (
        ("points.json", POINTS), ("panoptic.json", PANOPTIC), ("coco.json", COCO),
        ("photos/a.json", LABELME), ("studio.json", STUDIO), ("results/runs/1-of-1.json", RUN),
        ("results/records/a.json", RECORD), ("network/config.json", network_config()),
    ):  # fmt: skip
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))
    noise = np.random.default_rng(0).integers(0, 256, (*SIZE, 3))
    for name, content in (
        ("clicks.csv", CSV.encode()), ("cvat.xml", CVAT.encode()), ("panoptic/a.png", ids_png()),
        ("inst/x.mat", matlab()), ("indices.png", encoded(noise[..., 0], "PNG")),
        ("tensors.safetensors", save({"a": torch.arange(6.0), "b.c": torch.ones(2, 3)})),
        ("run.yaml", load_text()),
        *((f"picture.{kind.lower()}", encoded(noise, kind)) for kind in KINDS),
    ):  # fmt: skip
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for name in ("points.jsonl", *(["points.parquet"] if find_spec("pyarrow") else [])):
        write_points(folder / name, read_points(folder / "points.json"))
    with tarfile.open(folder / "photos.tar", "w") as tar:
        tar.add(folder / "photos", "photos")
    return folder


KINDS = "PNG", "JPEG", "WEBP", "BMP", "TIFF"


def network_config():
    return {
        "format": "point2mask 2", "network": {"name": "panoptic_segformer"}, "augment": {},
        "merge": {}, "supervision": {"kind": "points"}, "mean": [0.1, 0.2, 0.3],
        "std": [1.0, 1.0, 1.0], "categories": CATEGORIES,
    }  # fmt: skip


def load_text() -> bytes:
    from importlib.resources import files

    return (files("point2mask.recipes") / "shapes_tiny.yaml").read_bytes()


@dataclass(frozen=True)
class Reader:
    """What is made worse, and what reads it."""

    file: str
    read: Callable[[Path], object]
    text: bool = True


def command(*words: str) -> Callable[[Path], object]:
    """A command in the folder; paths are relative. What it writes goes to ``out``."""
    return lambda folder: main([str(folder / w[1:]) if w.startswith("@") else w for w in words])


def imports(kind: str, source: str, *more: str) -> Callable[[Path], object]:
    return command("points", "import", kind, f"@{source}", "--out", "@out/points.json", *more)


def claim(folder: Path) -> None:
    with claimed(folder / "results", "convert", ["a"]):
        pass


READERS = {
    "points": Reader("points.json", command(
        "points", "export", "csv", "--points", "@points.json", "--out", "@out/clicks.csv")),
    "lines": Reader("points.jsonl", lambda f: list(read_points(f / "points.jsonl").images)),
    "table": Reader(
        "points.parquet", lambda f: list(read_points(f / "points.parquet").images), text=False),
    "tar": Reader(
        "photos.tar", lambda f: [read_bounded(p, "", 2**20) for p in files_below(f / "photos.tar")],
        text=False),
    "panoptic": Reader("panoptic.json", command(
        "points", "sample", "--annotations", "@panoptic.json", "--out", "@out/points.json")),
    "masks": Reader("panoptic/a.png", command(
        "points", "sample", "--annotations", "@panoptic.json", "--out", "@out/points.json"),
        text=False),
    "csv": Reader("clicks.csv", imports("csv", "clicks.csv", "--images", "@photos")),
    "labelme": Reader("photos/a.json", imports("labelme", "photos")),
    "cvat": Reader("cvat.xml", imports("cvat", "cvat.xml")),
    "cvat-photos": Reader("cvat.xml", imports("cvat", "cvat.xml", "--images", "@photos")),
    "label-studio": Reader("studio.json", imports("label-studio", "studio.json")),
    "categories": Reader("points.json", imports(
        "csv", "clicks.csv", "--images", "@photos", "--categories", "@points.json")),
    "coco": Reader("coco.json", command(
        "convert", "coco", "--instances", "@coco.json", "--images", "@photos", "--out", "@out/c")),
    "voc-list": Reader("VOC2012/ImageSets/Segmentation/train.txt", command(
        "convert", "voc", "--voc", "@VOC2012", "--out", "@out/v")),
    "voc-map": Reader("VOC2012/SegmentationObject/2008_000002.png", command(
        "convert", "voc", "--voc", "@VOC2012", "--out", "@out/v"), text=False),
    "sbd": Reader("inst/x.mat", lambda f: read_instances(f, "x", SIZE, 20), text=False),
    "ids": Reader("panoptic/a.png", lambda f: read_ids(f / "panoptic/a.png", 5, 8), text=False),
    "indices": Reader("indices.png", lambda f: read_indices(f / "indices.png", *SIZE), text=False),
    **{f"picture-{kind.lower()}": Reader(
        name := f"picture.{kind.lower()}",
        lambda f, name=name: (read_rgb(f / name), picture_size(f / name)), text=False)
       for kind in KINDS},
    "safetensors": Reader(
        "tensors.safetensors", lambda f: load_tensors(f / "tensors.safetensors"), text=False),
    "recipe": Reader("run.yaml", lambda f: load_config(f / "run.yaml")),
    "network": Reader("network/config.json", lambda f: _read_config(f / "network/config.json")),
    "runs": Reader("results/runs/1-of-1.json", lambda f: run_records(ResultFolder(f / "results"))),
    "gather": Reader("results/runs/1-of-1.json", command("gather", "@results")),
    "record": Reader("results/records/a.json", command("gather", "@results")),
}  # fmt: skip
