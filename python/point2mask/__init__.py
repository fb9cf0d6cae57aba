"""Point2Mask: panoptic masks from points.

After ``import torch``, ``import point2mask`` registers the operators ``torch.ops.point2mask.*``.
Without torch it costs nothing: its parts load on first use, and those that need no torch
(``data``, ``engine``, ``evaluation``, ``label``, ``visualize``) do not import it.
"""

import os
import sys
from importlib import import_module
from typing import Any

# MKL, which multiplies for torch on x86-64, has equal bits for equal numbers of threads only where
# it is told so before its first product; else they may depend on where in memory a result lies.
os.environ.setdefault("MKL_CBWR", "AUTO")

_PARTS = (
    "data",
    "engine",
    "evaluation",
    "hub",
    "label",
    "losses",
    "models",
    "ops",
    "predict",
    "pseudo_masks",
    "recipes",
    "rounds",
    "train",
    "trained",
    "visualize",
)
__all__ = ["__version__", *_PARTS]
__version__: str  # looked up when it is asked for


def __getattr__(name: str) -> Any:
    if name in _PARTS:
        return import_module(f"point2mask.{name}")
    if name == "__version__":
        from importlib.metadata import version

        return version("point2mask")
    raise AttributeError(f"module 'point2mask' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__


if "torch" in sys.modules:
    import_module("point2mask.ops")
