"""The averages of a quality as plain values, for JSON and for tables."""

import math

from point2mask.evaluation.mask_quality import MaskQuality
from point2mask.evaluation.panoptic_quality import CategoryQuality, PanopticQuality

GROUPS = ("all", "things", "stuff")
Figures = dict[str, float | None]


def figures(quality: PanopticQuality | MaskQuality) -> dict[str, Figures]:
    """The averages of every group of :data:`GROUPS`, in [0, 1]; None where there is none.

    >>> from point2mask.evaluation import PanopticStatistics
    >>> figures(PanopticStatistics.zero({}).quality())["things"]
    {'pq': None, 'sq': None, 'rq': None, 'categories': 0}
    """
    return {group: _finite(getattr(quality, group)._asdict()) for group in GROUPS}


def category_figures(quality: CategoryQuality) -> Figures:
    """The figures of one category, as :func:`figures` has them."""
    return _finite(quality._asdict())


def _finite(values: Figures) -> Figures:
    return {
        key: None if value is None or math.isnan(value) else value for key, value in values.items()
    }
