"""A small good file of every kind that is read."""

import io
import json
import tarfile
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

from point2mask.data import read_points, write_points
from point2mask.data.journal import journal_path

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
                {"id": 7, "category_id": 3, "iscrowd": 0, "points": [[1.5, 2.5], [3.0, 4.0]],
                 "area": 12.5},
                {"id": 300, "category_id": 4, "iscrowd": 0, "points": [[7.5, 0.5]]},
            ],
            "rest": [[6.5, 4.5]],
            "strokes": [
                {"segment_id": 7, "shape": "line", "points": [[1, 1], [2, 2]], "radius": 1.5},
                {"segment_id": 0, "shape": "polygon", "points": [[5, 0], [8, 0], [8, 2]]},
            ],
            "status": "done",
        }
    ],
    "categories": CATEGORIES,
}  # fmt: skip
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
BOXES = {
    **COCO,
    "annotations": [
        *COCO["annotations"],
        {"id": 4, "image_id": 1, "category_id": 3, "segmentation": [], "bbox": [1, 1, 3.5, 2]},
    ],
}
STUFF = {
    **COCO,
    "annotations": [{**COCO["annotations"][0], "category_id": 9}],
    "categories": [{"id": 9, "name": "sky"}, {"id": 10, "name": "other"}],
}
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
VIDEO = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><task><id>5</id><size>9</size>
<original_size><width>8</width><height>5</height></original_size></task></meta>
<track id="0" label="cat" task_id="5">
<points frame="0" outside="0" occluded="0" keyframe="1" points="1.5,2.5;3.0,4.0"></points>
<points frame="7" outside="0" points="1,1"></points>
<points frame="8" outside="1" points="1,1"></points>
</track></annotations>
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
CHANGES = (
    {"image": IMAGE, "annotation": POINTS["annotations"][0]},
    {"categories": CATEGORIES},
    {"image": {**IMAGE, "id": 2, "file_name": "b.png"}, "annotation": None},
)
MARKS = {"name": "a.png", "revision": 0, **POINTS["annotations"][0]}
CITY = np.array([[7, 7, 26001, 26002], [7, 23, 26, 0]], np.uint16)


def encoded(pixels, kind, **options):
    file = io.BytesIO()
    Image.fromarray(np.asarray(pixels)).save(file, format=kind, **options)
    return file.getvalue()


def matlab(compressed: bool) -> bytes:
    file = io.BytesIO()
    numbers = np.zeros(SIZE, np.uint8)
    numbers[3:9, 4:20] = 1
    content = {"GTinst": {"Segmentation": numbers, "Categories": np.array([[8.0]])}}
    savemat(file, content, do_compression=compressed)
    return file.getvalue()


def ids_png(ids) -> bytes:
    return encoded(np.stack([ids & 255, ids >> 8, ids >> 16], 2).astype(np.uint8), "PNG")


def clicked() -> np.ndarray:
    ids = np.zeros_like(IDS)
    ids[2, 1], ids[0, 7] = 7, 300
    return ids


def checkpoint() -> bytes:
    """As mmdet writes them: a zip with a pickle in it."""
    file = io.BytesIO()
    state = {"backbone.conv1.weight": torch.ones(2, 3), "module.bbox_head.x": torch.arange(4.0)}
    torch.save({"meta": {"epoch": 1}, "state_dict": state}, file)
    return file.getvalue()


def _packed(name: str, content: bytes) -> bytes:
    """A tar of one file."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def _in_tar() -> dict:
    entry = {**PANOPTIC["annotations"][0], "file_name": "000000.tar/a.png"}
    return {**PANOPTIC, "annotations": [entry]}


def _jsons() -> dict[str, object]:
    return {
        "points.json": POINTS, "panoptic.json": PANOPTIC, "coco.json": COCO, "boxes.json": BOXES,
        "stuff.json": STUFF, "photos/a.json": LABELME, "studio.json": STUDIO,
        "results/runs/1-of-1.json": RUN, "results/records/a.json": RECORD,
        "network/config.json": network_config(), "predicted/panoptic.json": PANOPTIC,
        "packed/panoptic.json": _in_tar(), "album/points.json": POINTS, "result.json": {"pq": 0.5},
        "made/.point2mask.json": {"convert": ["a"]}, "requests/marks.json": MARKS,
        "requests/category.json": {"name": "dog", "isthing": 1, "color": [1, 2, 3]},
        "requests/status.json": {"revision": 0, "status": "done"},
    }  # fmt: skip


def _others() -> dict[str, bytes]:
    noise = np.random.default_rng(0).integers(0, 256, (*SIZE, 3)).astype(np.uint8)
    small, names = noise[: CITY.shape[0], : CITY.shape[1]], range(1, 151)
    jpeg, dark = encoded(small, "JPEG"), np.zeros(CITY.shape, np.uint8)
    files = {
        "clicks.csv": CSV.encode(), "cvat.xml": CVAT.encode(), "video.xml": VIDEO.encode(),
        "inst/x.mat": matlab(False), "inst/y.mat": matlab(True), "indices.png": encoded(noise[...,
        0], "PNG"),
        "tensors.safetensors": save({"a": torch.arange(6.0), "b.c": torch.ones(2, 3)}),
        "run.yaml": recipe(), "override.txt": b"schedule.milestones=[1, 2]",
        "published.pth": checkpoint(),
        "clicked/a.png": ids_png(clicked()), "edges/a.png": encoded(noise[:5, :8, 0], "PNG"),
        "wide.png": encoded(noise[..., 0].astype(np.uint16) * 200, "PNG"),
        "wide.tiff": encoded(noise[..., 0].astype(np.uint16) * 200, "TIFF"),
        "float.tiff": encoded(noise[..., 0].astype(np.float32) / 255, "TIFF"),
        
        "ade/objectInfo150.txt": b"Idx\tName\n" + b"".join(b"%d\tthing %d, x\n" % (n,
        n) for n in names),
        "results/panoptic/a.png": ids_png(IDS), "packed/panoptic/000000.tar": _packed("a.png",
        ids_png(IDS)),
        **{f"picture.{kind.lower()}": encoded(noise, kind) for kind in KINDS},
    }  # fmt: skip
    for split, long_split in (("train", "training"), ("val", "validation")):
        files |= {
            f"city/leftImg8bit/{split}/x/y_leftImg8bit.png": encoded(small, "PNG"),
            f"city/gtFine/{split}/x/y_gtFine_instanceIds.png": encoded(CITY, "PNG"),
            f"ade/images/{long_split}/x.jpg": jpeg,
            f"ade/annotations/{long_split}/x.png": encoded(dark + 3, "PNG"),
            f"ade/annotations_instance/{long_split}/x.png": encoded(
                np.stack([dark + 1] * 2 + [dark], 2), "PNG"
            ),
        }
    for folder in ("panoptic", "predicted/panoptic"):
        files[f"{folder}/a.png"] = ids_png(IDS)
    return files


def write_good(folder: Path) -> Path:
    """The good files of all readers."""
    write_photos(folder / "photos")
    write_photos(folder / "album")
    write_voc(folder / "VOC2012", train=("2008_000002",), val=("2007_000003",))
    contents = {name: json.dumps(value).encode() for name, value in _jsons().items()} | _others()
    album = folder / "album/points.json"
    journal = journal_path(album, contents["album/points.json"])
    contents[JOURNAL] = b"".join(json.dumps(change).encode() + b"\n" for change in CHANGES)
    for name, content in contents.items():
        path = journal if name == JOURNAL else folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for name in ("points.jsonl", *(["points.parquet"] if find_spec("pyarrow") else [])):
        write_points(folder / name, read_points(folder / "points.json"))
    with tarfile.open(folder / "photos.tar", "w") as tar:
        tar.add(folder / "photos", "photos")
    return folder


KINDS = "PNG", "JPEG", "WEBP", "BMP", "TIFF"
JOURNAL = "album/points.*.journal"


def network_config():
    return {
        "format": "point2mask 2", "network": {"name": "panoptic_segformer"}, "augment": {},
        "merge": {}, "supervision": {"kind": "points"}, "mean": [0.1, 0.2, 0.3],
        "std": [1.0, 1.0, 1.0], "categories": CATEGORIES,
    }  # fmt: skip


def recipe() -> bytes:
    from importlib.resources import files

    return (files("point2mask.recipes") / "shapes_tiny.yaml").read_bytes()
