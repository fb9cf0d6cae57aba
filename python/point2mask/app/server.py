"""The server of the annotation page: routes, the page's own files, errors as one line."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from point2mask.app import routes
from point2mask.app.guard import Guard
from point2mask.app.jobs import ExportJob
from point2mask.app.masks import Masks
from point2mask.app.project import Project
from point2mask.app.storage import ConflictError
from point2mask.app.training import TrainingJob
from point2mask.data.errors import DataError

STATIC = Path(__file__).parent / "static"


def create_app(project: Project, masks: Masks, out: Path, host: str = "127.0.0.1") -> FastAPI:
    """The application.

    Args:
        project: the folder's labels.
        masks: of the same folder.
        out: gets the exports.
        host: the address that it is served at; see :class:`~point2mask.app.guard.Guard`.
    """
    # Without the pages that describe the interface: they fetch scripts from elsewhere.
    training = TrainingJob(out, partial(_use, masks))
    app = FastAPI(
        title="point2mask annotate",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        lifespan=partial(_stopping, training),
    )
    app.state.desk = routes.Desk(project, masks, out, ExportJob(), training)
    app.include_router(routes.router)
    app.add_api_route("/", _page, response_model=None)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_exception_handler(DataError, _refuse)
    app.add_exception_handler(OSError, _fail)
    app.add_exception_handler(RequestValidationError, _misunderstand)
    app.add_exception_handler(HTTPException, _miss)
    app.add_middleware(Guard, host=host)
    return app


@asynccontextmanager
async def _stopping(training: TrainingJob, _: FastAPI) -> AsyncIterator[None]:
    """A run ends with the server that shows it."""
    yield
    training.stop()


def _use(masks: Masks, run: Path) -> None:
    """The network of a run that is complete becomes the cue ``checkpoint``."""
    from point2mask.hub import load_predictor
    from point2mask.label.network import TrainedNetwork

    masks.use_network(TrainedNetwork(load_predictor(run)))


def _page() -> FileResponse:
    return FileResponse(STATIC / "index.html")


# Every error is {"error": one line}.


def _refuse(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": str(error)}, 409 if isinstance(error, ConflictError) else 422)


def _fail(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, OSError)
    text = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    return JSONResponse({"error": text}, 500)


def _misunderstand(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(step) for step in first["loc"])
    return JSONResponse({"error": f"request: {place}: {first['msg']}"}, 422)


def _miss(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": str(error.detail)}, error.status_code)
