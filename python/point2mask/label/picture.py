"""A picture at working resolution, and what assigners derive from it whatever the clicks are."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from point2mask.label.edges import built_in_edges, lab_picture, normalized
from point2mask.label.size import WorkingSize, working_size

Derived = TypeVar("Derived")


@dataclass(frozen=True, eq=False)
class Picture:
    """The colours and edges of h x w pixels, and the unit of lengths in them.

    Clicks move while a picture stays: what :meth:`once` is asked for is computed a single time.
    """

    lab: NDArray[np.float32]  # [h, w, 3]
    edge: NDArray[np.float32]  # [h, w], not negative, about 1 on strong edges
    unit: float  # pixels that one of an ordinary picture has
    _derived: dict[object, object] = field(default_factory=dict, repr=False)

    @property
    def shape(self) -> tuple[int, int]:
        height, width = self.edge.shape
        return height, width

    @property
    def size(self) -> WorkingSize:
        return WorkingSize(self.shape, self.unit)

    def once(self, derive: Callable[["Picture"], Derived]) -> Derived:
        """``derive(self)``, kept."""
        if derive not in self._derived:
            self._derived[derive] = derive(self)
        return cast(Derived, self._derived[derive])

    def reduced(self, max_side: int) -> "Picture":
        """The picture with its longer side reduced to ``max_side``; itself if it is small enough.

        Kept too, so that what is derived from the small picture is.
        """
        shape, unit = working_size(self.shape, max_side)
        if shape == self.shape:
            return self
        if shape not in self._derived:
            channels = [resized(channel, shape) for channel in np.moveaxis(self.lab, 2, 0)]
            self._derived[shape] = Picture(np.stack(channels, 2), resized(self.edge, shape), unit)
        return cast(Picture, self._derived[shape])


def make_picture(
    image: NDArray[np.uint8], edges: NDArray[np.floating] | None, size: WorkingSize
) -> Picture:
    """A picture at the size that is worked at; ``edges`` are averaged with built-in ones.

    Args:
        image: ``uint8 [H, W, 3]``, RGB.
        edges: ``[h, w]`` >= 0 of any size and scale.
        size: no larger than the image.
    """
    shape = size.shape
    channels = [resized(channel, shape) for channel in np.moveaxis(image, 2, 0)]
    lab = lab_picture(np.stack(channels, 2))
    edge = built_in_edges(lab, size.unit)
    if edges is not None:
        edge = (edge + normalized(np.maximum(resized(edges, shape), 0))) * np.float32(0.5)
    return Picture(lab, edge, size.unit)


def resized(values: NDArray[np.generic], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Values ``[H, W]`` at another size: means over boxes, or linear interpolation to enlarge."""
    from PIL import Image

    given: NDArray[np.float32] = np.asarray(values, np.float32)
    if given.shape == shape:
        return given
    larger = shape[0] > given.shape[0] or shape[1] > given.shape[1]
    method = Image.Resampling.BILINEAR if larger else Image.Resampling.BOX
    return np.asarray(Image.fromarray(given).resize((shape[1], shape[0]), method))
