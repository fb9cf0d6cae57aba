"""What the page asks of the server: JSON over HTTP, a picture is spoken of by its number."""

import io
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Body, Depends, Request
from fastapi.responses import Response

from point2mask.app.export import FORMATS, export
from point2mask.app.jobs import ExportJob
from point2mask.app.masks import BUILT_IN, Masks, packed
from point2mask.app.project import Clicks, ConflictError, Project
from point2mask.data.files import Fields, Place, resolve_inside
from point2mask.data.png import read_rgb
from point2mask.data.points import target_to_json, targets_from_json
from point2mask.data.records import categories_to_json
from point2mask.label import ASSIGNERS, DEFAULT_ASSIGNER

MAX_REVISION = 2**53
Json = dict[str, object]


@dataclass(frozen=True)
class Desk:
    """What the routes work on: one folder, its masks, and where its exports go."""

    project: Project
    masks: Masks
    out: Path
    job: ExportJob


def _desk(request: Request) -> Desk:
    desk = request.app.state.desk
    assert isinstance(desk, Desk)
    return desk


def _fields(body: Annotated[Json, Body()]) -> Fields:
    return Fields(body, Place("request"))


At = Annotated[Desk, Depends(_desk)]
Asked = Annotated[Fields, Depends(_fields)]
router = APIRouter(prefix="/api")


@router.get("/state")
def read_state(desk: At) -> Json:
    project, masks = desk.project, desk.masks
    return {
        "folder": str(project.folder),
        "file": str(project.path),
        "out": str(desk.out),
        "images": [
            {"name": name, "targets": count}
            for name, count in zip(project.names, project.counts(), strict=True)
        ],
        "outside": len(project.outside),
        "strangers": project.strangers,
        "categories": categories_to_json(project.categories),
        "cues": masks.cues.names,
        "assigners": list(ASSIGNERS),
        "formats": list(FORMATS),
    }


@router.get("/images/{index}")
def read_clicks(desk: At, index: int) -> Json:
    return _clicks_json(desk.project.clicks(index))


@router.get("/images/{index}/picture")
def read_picture(desk: At, index: int) -> Response:
    from PIL import Image

    record = desk.project.clicks(index).record
    path = resolve_inside(desk.project.folder, record.file_name)
    pixels = read_rgb(path, (record.height, record.width))
    # Encoded anew: a browser would turn the file by its EXIF orientation, and clicks with it.
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="JPEG", quality=95)
    return Response(file.getvalue(), media_type="image/jpeg")


@router.get("/images/{index}/masks")
def read_masks(
    desk: At, index: int, revision: int, cue: str = BUILT_IN, assigner: str = DEFAULT_ASSIGNER
) -> Response:
    def wanted() -> bool:
        return desk.project.clicks(index).revision == revision

    clicks, categories = desk.project.clicks(index), desk.project.categories
    if clicks.revision != revision:
        raise ConflictError("the clicks have changed since")
    ids = desk.masks.segment_map(clicks.record, clicks.targets, categories, cue, assigner, wanted)
    return Response(packed(ids), media_type="application/octet-stream")


@router.post("/images/{index}/warm")
def warm(desk: At, index: int, cue: str = BUILT_IN, assigner: str = DEFAULT_ASSIGNER) -> Json:
    desk.masks.warm(desk.project.clicks(index).record, cue, assigner)
    return {}


@router.put("/images/{index}/targets")
def change(desk: At, index: int, asked: Asked) -> Json:
    targets = list(targets_from_json(asked, desk.project.categories))
    return _clicks_json(desk.project.change(index, _revision(asked), targets))


@router.post("/images/{index}/undo")
def undo(desk: At, index: int, asked: Asked) -> Json:
    return _clicks_json(desk.project.undo(index, _revision(asked)))


@router.post("/images/{index}/redo")
def redo(desk: At, index: int, asked: Asked) -> Json:
    return _clicks_json(desk.project.redo(index, _revision(asked)))


@router.post("/categories")
def add_category(desk: At, asked: Asked) -> list[Json]:
    desk.project.add_category(asked.text("name"), asked.flag("isthing"))
    return categories_to_json(desk.project.categories)


@router.put("/categories/{identity}")
def change_category(desk: At, identity: int, asked: Asked) -> list[Json]:
    desk.project.change_category(identity, asked.text("name"), asked.color("color"))
    return categories_to_json(desk.project.categories)


@router.delete("/categories/{identity}")
def remove_category(desk: At, identity: int) -> list[Json]:
    desk.project.remove_category(identity)
    return categories_to_json(desk.project.categories)


@router.post("/export")
def start_export(desk: At, asked: Asked) -> Json:
    name = asked.text("format")
    labels = desk.project.labels()
    make = partial(
        desk.masks.segment_map,
        categories=labels.categories,
        cue=asked.text("cue"),
        assigner=asked.text("assigner"),
    )
    work = partial(export, name, labels, desk.project.folder, desk.out, make)
    return asdict(desk.job.start(name, work))


@router.get("/export")
def export_status(desk: At) -> Json:
    return asdict(desk.job.status)


def _clicks_json(clicks: Clicks) -> Json:
    return {
        "name": clicks.record.file_name,
        "width": clicks.record.width,
        "height": clicks.record.height,
        "revision": clicks.revision,
        "segments_info": [target_to_json(target) for target in clicks.targets],
        "undo": len(clicks.past),
        "redo": len(clicks.future),
    }


def _revision(fields: Fields) -> int:
    return fields.integer("revision", 0, MAX_REVISION)
