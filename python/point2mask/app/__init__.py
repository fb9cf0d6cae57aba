"""The annotation page: a local server and one page, clicks in, masks at once, files out."""

from point2mask.app.export import FORMATS
from point2mask.app.masks import Cues, Masks
from point2mask.app.project import Project
from point2mask.app.server import create_app
from point2mask.app.storage import ConflictError
from point2mask.data.point_json import POINTS_NAME

__all__ = [
    "FORMATS",
    "POINTS_NAME",
    "ConflictError",
    "Cues",
    "Masks",
    "Project",
    "create_app",
]
