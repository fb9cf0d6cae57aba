"""Point2Mask: panoptic masks from points.

Submodules load on first use, so that ``import point2mask`` costs nothing and ``point2mask._core``
(the engine for NumPy arrays) works without torch.
"""

from importlib import import_module
from importlib.metadata import version
from types import ModuleType

__version__ = version("point2mask")
_SUBMODULES = ("data", "evaluation", "label", "models", "ops", "pseudo_masks", "visualize")
__all__ = ["__version__"]


def __getattr__(name: str) -> ModuleType:
    if name in _SUBMODULES:
        return import_module(f"point2mask.{name}")
    raise AttributeError(f"module 'point2mask' has no attribute {name!r}")
