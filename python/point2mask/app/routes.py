"""What the page asks of the server: JSON over HTTP, a picture is spoken of by its number."""

import secrets
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
import numpy as np
from fastapi import APIRouter, Body, Depends, Header, HTTPException, Request
from fastapi.responses import FileResponse, Response
from msgspec import Meta, Struct
from numpy.typing import NDArray

from point2mask.app.clicks import Clicks
from point2mask.app.export import FORMATS, How, export, zipped
from point2mask.app.jobs import ExportJob
from point2mask.app.masks import BUILT_IN, Masks, packed
from point2mask.app.pictures import encoded, thumbnail
from point2mask.app.project import Project
from point2mask.app.storage import ConflictError
from point2mask.app.training import TrainingJob
from point2mask.data.errors import DataError
from point2mask.data.files import resolve_inside
from point2mask.data.frames import orientation
from point2mask.data.json_files import Color, Flag, Text, convert
from point2mask.data.marks import Marks, Status
from point2mask.data.records import ImageRecord, categories_to_json, check_entries
from point2mask.data.targets import PointTarget, target_to_json
from point2mask.label import DEFAULT_ASSIGNER, PICTURE_ASSIGNERS
from point2mask.progress import Progress

MAX_REVISION = 2**53
Json = dict[str, object]


@dataclass(frozen=True)
class Desk:
    """What the routes work on: one folder, its masks, and where its exports go."""

    project: Project
    masks: Masks
    out: Path
    job: ExportJob
    training: TrainingJob
    start: str = field(default_factory=lambda: secrets.token_hex(8))  # says which start this is


def _desk(request: Request) -> Desk:
    desk = request.app.state.desk
    assert isinstance(desk, Desk)
    return desk


At = Annotated[Desk, Depends(_desk)]


async def _same_start(
    desk: At,
    x_point2mask_start: Annotated[str | None, Header()] = None,
    start: str | None = None,  # of what a page only has an address for, as pictures
) -> None:
    """Refuses pages of an earlier start: numbers and revisions are others now, or the folder is."""
    if any(said not in (None, desk.start) for said in (x_point2mask_start, start)):
        what = "another folder is served now, or the server was started again"
        raise HTTPException(412, f"{what}: load the page again")


class _Step(Struct):
    revision: Annotated[int, Meta(ge=0, le=MAX_REVISION)]


class _Status(_Step):
    status: Status = ""


class _Change(_Step):
    segments_info: list[PointTarget] = msgspec.field(default_factory=list)


class _NewCategory(Struct):
    name: Text
    isthing: Flag


class _SeenCategories(Struct):
    seen: list[Json] | None = None  # what the page shows; not asked about by default


class _ChangedCategory(_SeenCategories, kw_only=True):
    name: Text
    isthing: Flag | None = None
    color: Color | None = None


class _Training(Struct):
    steps: Annotated[int, Meta(ge=8, le=10**6)]


class _Export(Struct):
    format: Text
    cue: Text
    assigner: Text
    images: list[Annotated[int, Meta(ge=0)]] | None = None  # by number; all by default
    zip: Flag = False


Seen = TypeVar("Seen", bound=_SeenCategories)
Asked = Annotated[Json, Body()]
AskedOrNot = Annotated[Json | None, Body()]
router = APIRouter(prefix="/api", dependencies=[Depends(_same_start)])


@router.get("/state")
def read_state(desk: At) -> Json:
    project, masks = desk.project, desk.masks
    return {
        "start": desk.start,
        "folder": str(project.folder),
        "file": str(project.path),
        "out": str(desk.out),
        "images": [
            {"name": name, "targets": count, "status": status}
            for name, count, status in project.overview()
        ],
        "notes": project.notes,
        "categories": _categories_json(project),
        "cues": masks.cues.names,
        "assigners": list(PICTURE_ASSIGNERS),
        "formats": list(FORMATS),
    }


@router.get("/images/{index}")
def read_clicks(desk: At, index: int) -> Json:
    return _clicks_json(desk, desk.project.clicks(index))


@router.get("/images/{index}/picture")
def read_picture(desk: At, index: int) -> Response:
    record = desk.project.clicks(index).record
    path = resolve_inside(desk.project.folder, record.file_name)
    return Response(encoded(path, (record.height, record.width)), media_type="image/jpeg")


@router.get("/images/{index}/thumbnail")
def read_thumbnail(desk: At, index: int) -> Response:
    path = resolve_inside(desk.project.folder, desk.project.name_of(index))
    # The browser may keep it for the hour: scrolling asks again and again.
    return Response(
        thumbnail(path), media_type="image/jpeg", headers={"cache-control": "private, max-age=3600"}
    )


@router.get("/images/{index}/masks")
def read_masks(
    desk: At, index: int, revision: int, cue: str = BUILT_IN, assigner: str = DEFAULT_ASSIGNER
) -> Response:
    """At the size that they are made at, however large the picture is."""

    def wanted() -> bool:
        return desk.project.clicks(index).revision == revision

    clicks, categories = desk.project.clicks(index), desk.project.categories
    if clicks.revision != revision:
        raise ConflictError("the clicks have changed since")
    ids = desk.masks.segment_map(
        clicks.record, clicks.targets, categories, cue, assigner, wanted, clicks.marks, small=True
    )
    return Response(packed(ids), media_type="application/octet-stream")


@router.post("/images/{index}/warm")
def warm(desk: At, index: int, cue: str = BUILT_IN, assigner: str = DEFAULT_ASSIGNER) -> Json:
    desk.masks.warm(desk.project.clicks(index).record, cue, assigner)
    return {}


@router.post("/images/{index}/proposals")
def propose(desk: At, index: int) -> list[Json]:
    """Targets of one click for what the network finds; nothing is changed."""
    clicks, categories = desk.project.clicks(index), desk.project.categories
    proposed = desk.masks.propose(clicks.record, clicks.targets, categories, clicks.marks)
    return [target_to_json(target) for target in proposed]


@router.put("/images/{index}/marks")
def change(desk: At, index: int, asked: Asked) -> Json:
    wanted = convert(asked, _Change, "request")
    check_entries(wanted.segments_info, desk.project.categories, "request")
    marks = convert(asked, Marks, "request")
    changed = desk.project.change(index, wanted.revision, wanted.segments_info, marks)
    return _clicks_json(desk, changed)


@router.put("/images/{index}/status")
def set_status(desk: At, index: int, asked: Asked) -> Json:
    wanted = convert(asked, _Status, "request")
    return _clicks_json(desk, desk.project.set_status(index, wanted.revision, wanted.status))


@router.post("/images/{index}/undo")
def undo(desk: At, index: int, asked: Asked) -> Json:
    wanted = convert(asked, _Step, "request")
    return _clicks_json(desk, desk.project.undo(index, wanted.revision))


@router.post("/images/{index}/redo")
def redo(desk: At, index: int, asked: Asked) -> Json:
    wanted = convert(asked, _Step, "request")
    return _clicks_json(desk, desk.project.redo(index, wanted.revision))


@router.get("/categories")
def read_categories(desk: At) -> list[Json]:
    return _categories_json(desk.project)


@router.post("/categories")
def add_category(desk: At, asked: Asked) -> list[Json]:
    wanted = convert(asked, _NewCategory, "request")
    desk.project.add_category(wanted.name, bool(wanted.isthing))
    return _categories_json(desk.project)


@router.put("/categories/{identity}")
def change_category(desk: At, identity: int, asked: Asked) -> list[Json]:
    wanted = _seen(desk, asked, _ChangedCategory)
    isthing = None if wanted.isthing is None else bool(wanted.isthing)
    desk.project.change_category(identity, wanted.name, wanted.color, isthing)
    return _categories_json(desk.project)


@router.delete("/categories/{identity}")
def remove_category(desk: At, identity: int) -> list[Json]:
    desk.project.remove_category(identity)
    return _categories_json(desk.project)


@router.post("/categories/undo")
def undo_categories(desk: At, asked: AskedOrNot = None) -> list[Json]:
    _seen(desk, asked or {}, _SeenCategories)
    desk.project.undo_categories()
    return _categories_json(desk.project)


@router.post("/categories/redo")
def redo_categories(desk: At, asked: AskedOrNot = None) -> list[Json]:
    _seen(desk, asked or {}, _SeenCategories)
    desk.project.redo_categories()
    return _categories_json(desk.project)


@router.post("/export")
def start_export(desk: At, asked: Asked) -> Json:
    wanted = convert(asked, _Export, "request")
    name, how = wanted.format, How(wanted.cue, wanted.assigner)
    if wanted.images and max(wanted.images) >= len(desk.project.names):
        raise DataError(f"request: images: expected numbers of pictures, got {max(wanted.images)}")
    labels, masks = desk.project.labels(wanted.images), desk.masks.as_now()

    def segment_map(
        record: ImageRecord, targets: list[PointTarget], marks: Marks
    ) -> NDArray[np.int32]:
        return masks.segment_map(
            record, targets, labels.categories, how.cue, how.assigner, marks=marks
        )

    def to(out: Path, progress: Progress) -> Path:
        return export(name, labels, desk.project.folder, out, segment_map, how, progress)

    def to_zip(progress: Progress) -> Path:
        return zipped(to(desk.job.scratch(), progress))

    work = to_zip if wanted.zip else partial(to, desk.out)
    return asdict(desk.job.start(name, work))


@router.get("/export")
def export_status(desk: At) -> Json:
    status = desk.job.status
    return {**asdict(status), "zip": status.path.endswith(".zip")}


@router.get("/export/zip")
def export_zip(desk: At) -> FileResponse:
    status = desk.job.status
    if status.state != "done" or not status.path.endswith(".zip"):
        raise DataError("there is no zip to load: export one first")
    name = f"{desk.project.folder.resolve().name}_{status.format}.zip"
    return FileResponse(status.path, media_type="application/zip", filename=name)


@router.post("/training")
def start_training(desk: At, asked: Asked) -> Json:
    wanted = convert(asked, _Training, "request")
    project = desk.project
    return asdict(desk.training.start(project.labels(), project.folder, wanted.steps))


@router.get("/training")
def training_status(desk: At) -> Json:
    return {**asdict(desk.training.status), "cues": desk.masks.cues.names}


@router.delete("/training")
def stop_training(desk: At) -> Json:
    desk.training.stop()
    return asdict(desk.training.status)


@router.get("/training/pictures/{number}")
def training_picture(desk: At, number: int) -> FileResponse:
    return FileResponse(desk.training.picture(number), media_type="image/png")


def _clicks_json(desk: Desk, clicks: Clicks) -> Json:
    record = clicks.record
    return {
        "name": record.file_name,
        "width": record.width,
        "height": record.height,
        "orientation": orientation(resolve_inside(desk.project.folder, record.file_name)),
        "revision": clicks.revision,
        "segments_info": [target_to_json(target) for target in clicks.targets],
        "rest": clicks.marks.rest,
        "strokes": [msgspec.to_builtins(stroke) for stroke in clicks.marks.strokes],
        "status": clicks.marks.status,
        "category_counts": desk.project.category_counts(),
        "undo": len(clicks.past),
        "redo": len(clicks.future),
    }


def _categories_json(project: Project) -> list[Json]:
    counts = project.category_counts()
    return [
        {**entry, "targets": counts[category.id]}
        for entry, category in zip(
            categories_to_json(project.categories), project.categories.values(), strict=True
        )
    ]


def _seen(desk: Desk, asked: Json, kind: type[Seen]) -> Seen:
    """What is asked of the categories that the page shows: another window may have changed them."""
    wanted = convert(asked, kind, "request")
    if wanted.seen is not None and wanted.seen != categories_to_json(desk.project.categories):
        raise ConflictError("the categories were changed in another window")
    return wanted
