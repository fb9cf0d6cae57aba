"""Every reader of files from outside, with the small good file that is made worse for it.

A reader is handed a folder that holds the good files, with one of them made worse.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from click_files import write_photos
from fuzz.good import CATEGORIES, JOURNAL, KINDS, SIZE

from point2mask.checkpoint import load_tensors
from point2mask.cli import main
from point2mask.cli.command import _is_result
from point2mask.data import DataError, read_panoptic, read_points
from point2mask.data.claims import claimed
from point2mask.data.files import read_bounded
from point2mask.data.formats.sbd import read_instances
from point2mask.data.frames import SHOWN, orientation
from point2mask.data.places import files_below
from point2mask.data.png import picture_size, read_ids, read_indices, read_rgb, read_wide_indices
from point2mask.data.records import categories_by_id
from point2mask.data.results import ResultFolder, run_records
from point2mask.data.sources import find_pictures
from point2mask.hub import _read_config
from point2mask.train.config import load_config
from point2mask.train.published import read_state


@dataclass(frozen=True)
class Reader:
    """What is made worse, as which format, and what reads it."""

    file: str  # in the folder; of patterns the one file that fits
    kind: str  # of ``mutants.FORMATS``
    read: Callable[[Path], object]
    within: bool = False  # the folder that is read is written to


def command(*words: str) -> Callable[[Path], object]:
    """A command in the folder; paths are relative. What it writes to ``out`` can be read."""

    def run(folder: Path) -> int:
        code = main([str(folder / w[1:]) if w.startswith("@") else w for w in words])
        if code == 0:
            read_back(folder)
        return code

    return run


def read_back(folder: Path) -> None:
    """What was written is what our own readers take."""
    try:
        for path in folder.glob("out/**/points.json"):
            all_of(path)
        converted = (p for p in folder.glob("out/converted/*.json") if p.name[0] != ".")
        for path in (*converted, *folder.glob("out/labels/panoptic.json")):
            written = read_panoptic(path)
            for image in written.images:
                written.segment_map(image)
        for path in folder.glob("results/panoptic.json"):
            read_panoptic(path)
    except DataError as error:
        raise AssertionError(f"written, and refused: {error}") from error


def imports(kind: str, source: str, *more: str) -> Callable[[Path], object]:
    return command("points", "import", kind, f"@{source}", "--out", "@out/points.json", *more)


def converts(kind: str, *more: str) -> Callable[[Path], object]:
    return command("convert", kind, *more, "--out", "@out/converted")


def labels(*more: str) -> Callable[[Path], object]:
    return command(
        "label", "--images", "@photos", "--out", "@out/labels", "--workers", "1", "--no-overlays",
        *more,
    )  # fmt: skip


def all_of(path: Path) -> list[object]:
    """Clicks, and all that is asked of them."""
    found = read_points(path)
    return [list(found.images), list(found.records), found.with_things(), found.marks]


def look(path: Path) -> object:
    """A picture as it is read for every purpose, and as the page shows it."""
    from point2mask.app.pictures import encoded, thumbnail

    size = picture_size(path)
    shown = read_rgb(path, frame=SHOWN)
    assert shown.shape[:2] in (size, size[::-1])
    return orientation(path), read_rgb(path, size), thumbnail(path), encoded(path, size)


def check_result(path: Path) -> None:
    if not _is_result(path):
        raise DataError(f"{path}: expected the results of a command")


def claim(folder: Path) -> None:
    with claimed(folder / "made", "convert", ["a"]):
        pass


def ask(method: str, address: str, file: str) -> Callable[[Path], object]:
    """The page's server is asked; what it refuses, it says in one line."""

    def read(folder: Path) -> None:
        from point2mask.app.project import Project
        from point2mask.data.records import CategoryEntry

        entries = [CategoryEntry(**{**c, "color": tuple(c["color"])}) for c in CATEGORIES]
        album = folder / "out" / "album"
        album.mkdir(parents=True)
        (album / "a.png").hardlink_to(folder / "album/a.png")
        project = Project(album, categories_by_id(entries, "album"))
        client = _client()
        client.app.state.desk = _desk(project, folder)
        content = (folder / file).read_bytes()
        try:
            head = {"content-type": "application/json"}
            answer = client.request(method, address, content=content, headers=head)
        finally:
            project.close()
        read_back(folder)
        assert answer.status_code in (200, 400, 404, 409, 413, 422), answer.text
        if answer.status_code != 200:
            raise DataError(answer.json()["error"])

    return read


def _desk(project, folder: Path) -> object:
    from point2mask.app import Masks
    from point2mask.app.jobs import ExportJob
    from point2mask.app.routes import Desk
    from point2mask.app.training import TrainingJob

    out = folder / "out" / "exports"
    return Desk(project, Masks(project.folder), out, ExportJob(), TrainingJob(out, lambda _: None))


@cache
def _client():
    """The server without a socket."""
    from fastapi.testclient import TestClient

    from point2mask.app import Masks, Project, create_app

    folder = write_photos(Path(tempfile.mkdtemp()))
    app = create_app(Project(folder), Masks(folder), folder / "out")
    return TestClient(app, base_url="http://127.0.0.1:8642")


SAMPLE = command("points", "sample", "--annotations", "@panoptic.json", "--out", "@out/points.json")
EVALUATE = command(
    "evaluate", "--truth", "@panoptic.json", "--predictions", "@predicted", "--mask-quality",
    "--json", "--workers", "1",
)  # fmt: skip
GATHER = command("gather", "@results")
PHOTOS = ("--images", "@photos")
READERS = {
    "points": Reader("points.json", "json", command(
        "points", "export", "csv", "--points", "@points.json", "--out", "@out/clicks.csv")),
    "journal": Reader(JOURNAL, "lines", lambda f: all_of(f / "album/points.json")),
    "lines": Reader("points.jsonl", "lines", lambda f: all_of(f / "points.jsonl")),
    "table": Reader("points.parquet", "parquet", lambda f: all_of(f / "points.parquet")),
    "labelme-export": Reader("points.json", "json", command(
        "points", "export", "labelme", "--points", "@points.json", "--out", "@out/jsons",
        "--images", "@photos")),
    "pngs": Reader("clicked/a.png", "png", imports(
        "pngs", "clicked", "--annotations", "@panoptic.json")),
    "tar": Reader("photos.tar", "tar", lambda f: [
        read_bounded(p, "", 2**20) for p in files_below(f / "photos.tar")]),
    "pictures-in-tar": Reader("photos.tar", "tar", lambda f: find_pictures([f / "photos.tar"])),
    "panoptic": Reader("panoptic.json", "json", SAMPLE),
    "masks": Reader("panoptic/a.png", "png", SAMPLE),
    "truth": Reader("panoptic.json", "json", EVALUATE),
    "predictions": Reader("predicted/panoptic.json", "json", EVALUATE),
    "predicted-masks": Reader("predicted/panoptic/a.png", "png", EVALUATE),
    "masks-in-tar": Reader("packed/panoptic/000000.tar", "tar", command(
        "evaluate", "--truth", "@panoptic.json", "--predictions", "@packed", "--json")),
    "csv": Reader("clicks.csv", "csv", imports("csv", "clicks.csv", *PHOTOS)),
    "csv-skip": Reader("clicks.csv", "csv", imports("csv", "clicks.csv", *PHOTOS, "--skip-broken")),
    "labelme": Reader("photos/a.json", "json", imports("labelme", "photos")),
    "labelme-photos": Reader("photos/a.json", "json", imports(
        "labelme", "photos", *PHOTOS, "--skip-broken")),
    "cvat": Reader("cvat.xml", "xml", imports("cvat", "cvat.xml")),
    "cvat-photos": Reader("cvat.xml", "xml", imports("cvat", "cvat.xml", *PHOTOS)),
    "cvat-video": Reader("video.xml", "xml", imports("cvat", "video.xml", "--skip-broken")),
    "label-studio": Reader("studio.json", "json", imports("label-studio", "studio.json")),
    "studio-photos": Reader("studio.json", "json", imports(
        "label-studio", "studio.json", *PHOTOS, "--skip-broken")),
    "categories": Reader("points.json", "json", imports(
        "csv", "clicks.csv", *PHOTOS, "--categories", "@points.json")),
    "coco": Reader("coco.json", "json", converts("coco", "--instances", "@coco.json", *PHOTOS)),
    "coco-boxes": Reader("boxes.json", "json", converts(
        "coco", "--instances", "@boxes.json", *PHOTOS, "--background", "ground", "--skip-broken")),
    "coco-stuff": Reader("stuff.json", "json", converts(
        "coco", "--instances", "@coco.json", *PHOTOS, "--stuff", "@stuff.json")),
    "voc-list": Reader("VOC2012/ImageSets/Segmentation/train.txt", "text", converts(
        "voc", "--voc", "@VOC2012")),
    "voc-map": Reader("VOC2012/SegmentationObject/2008_000002.png", "png", converts(
        "voc", "--voc", "@VOC2012")),
    "voc-picture": Reader("VOC2012/JPEGImages/2008_000002.jpg", "jpeg", converts(
        "voc", "--voc", "@VOC2012")),
    "cityscapes": Reader("city/gtFine/train/x/y_gtFine_instanceIds.png", "png", converts(
        "cityscapes", "--cityscapes", "@city")),
    "ade20k": Reader("ade/annotations_instance/training/x.png", "png", converts(
        "ade20k", "--ade20k", "@ade")),
    "ade20k-names": Reader("ade/objectInfo150.txt", "text", converts("ade20k", "--ade20k", "@ade")),
    "sbd": Reader("inst/x.mat", "bytes", lambda f: read_instances(f, "x", SIZE, 20)),
    "sbd-packed": Reader("inst/y.mat", "matlab", lambda f: read_instances(f, "y", SIZE, 20)),
    "ids": Reader("panoptic/a.png", "png", lambda f: read_ids(f / "panoptic/a.png", 5, 8)),
    "indices": Reader("indices.png", "png", lambda f: read_indices(f / "indices.png", *SIZE)),
    "wide-indices": Reader(
        "wide.png", "png", lambda f: read_wide_indices(f / "wide.png", *SIZE)),
    **{f"picture-{kind.lower()}": Reader(
        name := f"picture.{kind.lower()}",
        {"PNG": "png", "JPEG": "jpeg", "TIFF": "tiff"}.get(kind, "picture"),
        lambda f, name=name: look(f / name)) for kind in KINDS},
    **{f"picture-{name}": Reader(name, "tiff", lambda f, name=name: look(f / name))
       for name in ("wide.tiff", "float.tiff")},
    "picture-wide.png": Reader("wide.png", "png", lambda f: look(f / "wide.png")),
    "label": Reader("photos/a.png", "png", labels("--points", "@points.json")),
    "label-points": Reader("points.json", "json", labels("--points", "@points.json")),
    "label-edges": Reader("edges/a.png", "png", labels(
        "--points", "@points.json", "--edges", "@edges", "--skip-broken")),
    "safetensors": Reader(
        "tensors.safetensors", "safetensors", lambda f: load_tensors(f / "tensors.safetensors")),
    "published": Reader("published.pth", "zip", lambda f: read_state(f / "published.pth")),
    "recipe": Reader("run.yaml", "yaml", lambda f: load_config(f / "run.yaml")),
    "override": Reader("override.txt", "yaml", lambda f: load_config("shapes_tiny", [
        (f / "override.txt").read_bytes().decode("utf-8", "replace")])),
    "network": Reader(
        "network/config.json", "json", lambda f: _read_config(f / "network/config.json")),
    "runs": Reader("results/runs/1-of-1.json", "json", lambda f: run_records(
        ResultFolder(f / "results"))),
    "gather": Reader("results/runs/1-of-1.json", "json", GATHER, within=True),
    "record": Reader("results/records/a.json", "json", GATHER, within=True),
    "result": Reader("result.json", "json", lambda f: check_result(f / "result.json")),
    "mark": Reader("made/.point2mask.json", "json", claim, within=True),
    "page-marks": Reader(
        "requests/marks.json", "json", ask("PUT", "/api/images/0/marks", "requests/marks.json")),
    "page-status": Reader(
        "requests/status.json", "json", ask("PUT", "/api/images/0/status", "requests/status.json")),
    "page-category": Reader(
        "requests/category.json", "json", ask("POST", "/api/categories", "requests/category.json")),
    "page-change": Reader(
        "requests/category.json", "json", ask("PUT", "/api/categories/3",
        "requests/category.json")),
}  # fmt: skip
