"""The server of the annotation page: JSON over HTTP, a picture is spoken of by its number."""

import io
from dataclasses import asdict
from functools import partial
from pathlib import Path

from fastapi import Body, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from point2mask.app.export import FORMATS, export
from point2mask.app.guard import Guard
from point2mask.app.jobs import ExportJob
from point2mask.app.masks import BUILT_IN, Masks, runs
from point2mask.app.project import Clicks, ConflictError, Project
from point2mask.data.errors import DataError
from point2mask.data.files import Fields, Place, resolve_inside
from point2mask.data.png import read_rgb
from point2mask.data.points import target_to_json, targets_from_json
from point2mask.data.records import categories_to_json
from point2mask.label import ASSIGNERS, DEFAULT_ASSIGNER

STATIC = Path(__file__).parent / "static"
MAX_REVISION = 2**53
Json = dict[str, object]


def create_app(project: Project, masks: Masks, out: Path, host: str = "127.0.0.1") -> FastAPI:
    """The application.

    Args:
        project: the folder's labels.
        masks: of the same folder.
        out: gets the exports.
        host: the address that it is served at; see :class:`~point2mask.app.guard.Guard`.
    """
    # Without the pages that describe the interface: they fetch scripts from elsewhere.
    app = FastAPI(title="point2mask annotate", openapi_url=None, docs_url=None, redoc_url=None)
    job = ExportJob()

    @app.get("/")
    def page() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    @app.get("/api/state")
    def state() -> Json:
        return {
            "folder": str(project.folder),
            "file": str(project.path),
            "out": str(out),
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

    @app.get("/api/images/{index}")
    def image(index: int) -> Json:
        return _clicks_json(project.clicks(index))

    @app.get("/api/images/{index}/picture")
    def picture(index: int) -> Response:
        from PIL import Image

        record = project.clicks(index).record
        path = resolve_inside(project.folder, record.file_name)
        pixels = read_rgb(path, (record.height, record.width))
        # Encoded anew: a browser would turn the file by its EXIF orientation, and clicks with it.
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, format="JPEG", quality=95)
        return Response(file.getvalue(), media_type="image/jpeg")

    @app.get("/api/images/{index}/masks")
    def segment_map(
        index: int, revision: int, cue: str = BUILT_IN, assigner: str = DEFAULT_ASSIGNER
    ) -> Response:
        def wanted() -> bool:
            return project.clicks(index).revision == revision

        clicks, categories = project.clicks(index), project.categories
        if clicks.revision != revision:
            raise ConflictError("the clicks have changed since")
        ids = masks.segment_map(clicks.record, clicks.targets, categories, cue, assigner, wanted)
        return Response(runs(ids), media_type="application/octet-stream")

    @app.post("/api/images/{index}/warm")
    def warm(index: int, cue: str = BUILT_IN, assigner: str = DEFAULT_ASSIGNER) -> Json:
        masks.warm(project.clicks(index).record, cue, assigner)
        return {}

    @app.put("/api/images/{index}/targets")
    def change(index: int, body: Json = Body()) -> Json:  # noqa: B008
        fields = _fields(body)
        targets = list(targets_from_json(fields, project.categories))
        return _clicks_json(project.change(index, _revision(fields), targets))

    @app.post("/api/images/{index}/undo")
    def undo(index: int, body: Json = Body()) -> Json:  # noqa: B008
        return _clicks_json(project.undo(index, _revision(_fields(body))))

    @app.post("/api/images/{index}/redo")
    def redo(index: int, body: Json = Body()) -> Json:  # noqa: B008
        return _clicks_json(project.redo(index, _revision(_fields(body))))

    @app.post("/api/categories")
    def add_category(body: Json = Body()) -> list[Json]:  # noqa: B008
        fields = _fields(body)
        project.add_category(fields.text("name"), fields.flag("isthing"))
        return categories_to_json(project.categories)

    @app.put("/api/categories/{identity}")
    def change_category(identity: int, body: Json = Body()) -> list[Json]:  # noqa: B008
        fields = _fields(body)
        project.change_category(identity, fields.text("name"), fields.color("color"))
        return categories_to_json(project.categories)

    @app.delete("/api/categories/{identity}")
    def remove_category(identity: int) -> list[Json]:
        project.remove_category(identity)
        return categories_to_json(project.categories)

    @app.post("/api/export")
    def start_export(body: Json = Body()) -> Json:  # noqa: B008
        fields = _fields(body)
        chosen = {
            "format_name": fields.text("format"),
            "cue": fields.text("cue"),
            "assigner": fields.text("assigner"),
        }
        labels = project.labels()
        make = partial(
            masks.segment_map,
            categories=labels.categories,
            cue=chosen["cue"],
            assigner=chosen["assigner"],
        )
        work = partial(export, chosen["format_name"], labels, project.folder, out, make)
        return asdict(job.start(chosen["format_name"], work))

    @app.get("/api/export")
    def export_status() -> Json:
        return asdict(job.status)

    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    _answer_errors(app)
    app.add_middleware(Guard, host=host)
    return app


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


def _fields(body: Json) -> Fields:
    return Fields(body, Place("request"))


def _revision(fields: Fields) -> int:
    return fields.integer("revision", 0, MAX_REVISION)


def _answer_errors(app: FastAPI) -> None:
    """Every error is ``{"error": one line}``."""

    @app.exception_handler(DataError)
    def refuse(_: Request, error: DataError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, 409 if isinstance(error, ConflictError) else 422)

    @app.exception_handler(OSError)
    def fail(_: Request, error: OSError) -> JSONResponse:
        text = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        return JSONResponse({"error": text}, 500)

    @app.exception_handler(RequestValidationError)
    def misunderstand(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"])
        return JSONResponse({"error": f"request: {place}: {first['msg']}"}, 422)

    @app.exception_handler(HTTPException)
    def miss(_: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": str(error.detail)}, error.status_code)
