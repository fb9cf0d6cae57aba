"""Clicks on one picture to the target of every pixel."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from numbers import Real
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from point2mask.data import DataError, PointTarget
from point2mask.data.marks import NO_MARKS, NOBODY, Marks, check_marks
from point2mask.data.strokes import draw_strokes
from point2mask.label.mask_costs import HIGHEST
from point2mask.label.paths import shortest_path, transport
from point2mask.label.picture import Picture, make_picture
from point2mask.label.regions import merge, watershed
from point2mask.label.scene import Scene, enlarged, make_scene
from point2mask.label.size import Clicks, WorkingSize, working_size

if TYPE_CHECKING:
    from point2mask.label.prompts import PromptableNetwork, PromptedPicture

Assigner = Callable[[Scene], NDArray[np.int32]]  # the target [h, w] of every pixel
AssignerName = Literal["merge", "watershed", "shortest_path", "transport"]

PICTURE_ASSIGNERS: dict[AssignerName, Assigner] = {
    "merge": merge,
    "watershed": watershed,
    "shortest_path": shortest_path,
    "transport": transport,
}
DEFAULT_ASSIGNER: AssignerName = "merge"
REST_CATEGORY = -1  # of clicks on what belongs to no target


def label_image(
    image: NDArray[np.uint8],
    targets: Sequence[PointTarget | Clicks],
    assigner: AssignerName = DEFAULT_ASSIGNER,
    edges: NDArray[np.floating] | None = None,
    max_side: int | None = None,
    is_thing: Sequence[bool] | None = None,
    marks: Marks = NO_MARKS,
    prompts: "PromptableNetwork | None" = None,
) -> NDArray[np.int32]:
    """Panoptic masks from clicks, without a network that was trained for them.

    Args:
        image: ``uint8 [H, W, 3]``, RGB.
        targets: K targets, each a sequence of clicks (x, y) in pixels, or a
            :class:`~point2mask.data.PointTarget`; targets without a click get no pixel. Areas are
            looked at by ``merge`` and ``transport``.
        assigner: one of :data:`PICTURE_ASSIGNERS`.
        edges: edge strength ``[h, w]`` >= 0 of any size and scale, of a learned detector say, to be
            averaged with the built-in one.
        max_side: pixels of the longer side to work at, to which larger pictures are reduced; by
            default it follows their area and the spacing of clicks, see
            :mod:`point2mask.label.size`.
        is_thing: for every target whether its category is a thing; by default all are. Things are
            taken to lie near their clicks, stuff is not.
        marks: clicks on what belongs to no target, which compete for pixels like those of stuff,
            and corrections by hand, which are written over all else.
        prompts: a :class:`~point2mask.label.prompts.PromptableNetwork` that is asked with the
            clicks of every target; its mask scores become a part of the cost by which all pixels
            are shared out.

    Returns:
        ``int32 [H, W]``, the index of every pixel's target, -1 for none; -1 everywhere if there is
        no click. The pixels of the clicks belong to their targets, unless they were corrected by
        hand. Deterministic.

    Raises:
        ValueError: an array of another shape or dtype, a click that is not finite or outside the
            picture, clicks of two targets in one pixel, a stroke of another target, an area that
            is not finite and positive, edges that are negative or not finite in float32, or an
            unknown assigner.

    Two halves of a picture, a click on each:

    >>> image = np.zeros((20, 40, 3), np.uint8)
    >>> image[:, 20:] = 200
    >>> labels = label_image(image, [[(5, 10)], [(30, 10)]])
    >>> labels[0, ::5].tolist()
    [0, 0, 0, 0, 1, 1, 1, 1]
    """
    return PreparedImage(image, edges, max_side, prompts).label(targets, assigner, is_thing, marks)


class PreparedImage:
    """An image whose clicks change: what does not depend on them is computed once.

    Not to be used by two threads at a time.
    """

    def __init__(
        self,
        image: NDArray[np.uint8],
        edges: NDArray[np.floating] | None = None,
        max_side: int | None = None,
        prompts: "PromptableNetwork | None" = None,
    ) -> None:
        """Arguments and errors as for :func:`label_image`; both arrays must stay as they are."""
        _check_image(image, edges, max_side)
        self.shape = image.shape[:2]
        self._max_side, self._prompts = max_side, prompts
        self._make: Callable[[WorkingSize], _Made] | None = partial(_make, image, edges, prompts)
        self._made: _Made | None = None

    def size(self, targets: Sequence[PointTarget]) -> WorkingSize:
        """At which masks are made of these clicks."""
        # A promptable network has a mask for every target at its own size.
        clicks = () if self._prompts else [target.points for target in targets if target.points]
        return working_size(self.shape, self._max_side, clicks)

    def _at(self, size: WorkingSize) -> "_Made":
        """Made when first asked for; the image at its own size is kept while it may be needed."""
        if self._made is None or self._made.picture.size != size:
            assert self._make is not None
            self._made = self._make(size)
            if self._max_side is not None:
                self._make = None
        return self._made

    def label(
        self,
        targets: Sequence[PointTarget | Clicks],
        assigner: AssignerName = DEFAULT_ASSIGNER,
        is_thing: Sequence[bool] | None = None,
        marks: Marks = NO_MARKS,
    ) -> NDArray[np.int32]:
        """What :func:`label_image` returns, to the same bits."""
        given = [_as_target(index, target) for index, target in enumerate(targets)]
        labels = enlarged(self._assign(given, assigner, is_thing, marks), self.shape)
        for value, points in _clicks(given, marks):
            for x, y in points:
                labels[int(y), int(x)] = value
        draw_strokes(labels, marks.strokes, _values(given))
        return labels

    def label_small(
        self,
        targets: Sequence[PointTarget],
        assigner: AssignerName = DEFAULT_ASSIGNER,
        is_thing: Sequence[bool] | None = None,
        marks: Marks = NO_MARKS,
    ) -> NDArray[np.int32]:
        """The same at the size that is worked at, which is quicker for large pictures to show."""
        labels = self._assign(targets, assigner, is_thing, marks)
        draw_strokes(labels, marks.strokes, _values(targets), self.shape)
        return labels

    def _assign(
        self,
        targets: Sequence[PointTarget],
        assigner: AssignerName,
        is_thing: Sequence[bool] | None,
        marks: Marks,
    ) -> NDArray[np.int32]:
        """The target of every pixel at working resolution, -1 for none, before the strokes."""
        things = [True] * len(targets) if is_thing is None else list(is_thing)
        if assigner not in PICTURE_ASSIGNERS:
            raise ValueError(
                f"assigner must be one of {', '.join(PICTURE_ASSIGNERS)}, got {assigner!r}"
            )
        if len(things) != len(targets):
            raise ValueError(f"is_thing must have {len(targets)} entries, got {len(things)}")
        _check_targets(targets, *self.shape)
        _check_marks(targets, marks, *self.shape)
        clicked = [index for index, target in enumerate(targets) if target.points]
        size = self.size(targets)
        if not clicked:
            return np.full(size.shape, -1, np.int32)
        made = self._at(size)
        chosen = [targets[index] for index in clicked]
        kinds = [things[index] for index in clicked]
        if marks.rest:  # a target like stuff, of a category of its own, that nobody hears of
            chosen.append(PointTarget(0, REST_CATEGORY, marks.rest))
            kinds.append(False)
        scene = make_scene(made.picture, self.shape, chosen, kinds)
        if made.prompted is not None:
            clicks = [target.points for target in chosen[: len(clicked)]]
            costs = made.prompted.costs(clicks, kinds[: len(clicked)], marks.rest)
            # What belongs to nobody is no one thing that could be asked for.
            nobody = np.full((len(chosen) - len(clicked), *scene.shape), HIGHEST, np.float32)
            scene = replace(scene, mask_cost=np.concatenate([costs, nobody]))
        return np.array([*clicked, -1], np.int32)[PICTURE_ASSIGNERS[assigner](scene)]


@dataclass(frozen=True)
class _Made:
    """What an image gives whatever the clicks are."""

    picture: Picture
    prompted: "PromptedPicture | None"


def _make(
    image: NDArray[np.uint8],
    edges: NDArray[np.floating] | None,
    prompts: "PromptableNetwork | None",
    size: WorkingSize,
) -> _Made:
    picture = make_picture(image, edges, size)
    return _Made(picture, None if prompts is None else prompts.prepare(image, picture.shape))


def _clicks(
    targets: Sequence[PointTarget], marks: Marks
) -> Iterator[tuple[int, Sequence[tuple[float, float]]]]:
    for index, target in enumerate(targets):
        yield index, target.points
    yield -1, marks.rest


def _values(targets: Sequence[PointTarget]) -> dict[int, int]:
    """What a map of indices says for every segment id."""
    return {NOBODY: -1, **{target.id: index for index, target in enumerate(targets)}}


def _check_image(
    image: NDArray[np.uint8], edges: NDArray[np.floating] | None, max_side: int | None
) -> None:
    if not isinstance(image, np.ndarray):
        raise ValueError(f"image must be a NumPy array uint8 [H, W, 3], got {_kind(image)}")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"image must be uint8 [H, W, 3], got {image.dtype} {list(image.shape)}")
    if max_side is not None and max_side < 1:
        raise ValueError(f"max_side must be at least 1, got {max_side}")
    if edges is not None:
        _check_edges(edges)


def _check_edges(edges: NDArray[np.floating]) -> None:
    if not isinstance(edges, np.ndarray):
        raise ValueError(f"edges must be a NumPy array [h, w], got {_kind(edges)}")
    if edges.ndim != 2 or 0 in edges.shape or edges.dtype.kind not in "biuf":
        raise ValueError(
            f"edges must be real numbers [h, w], got {edges.dtype} {list(edges.shape)}"
        )
    low, high = edges.min(), edges.max()  # NaN if there is one
    if not (low >= 0 and high <= np.finfo(np.float32).max):
        raise ValueError(
            f"edges must be finite in float32 and not negative, got values from {low} to {high}"
        )


def _check_targets(targets: Sequence[PointTarget], height: int, width: int) -> None:
    owner: dict[tuple[int, int], int] = {}
    for index, target in enumerate(targets):
        if target.area is not None and not (_is_real(target.area) and 0 < target.area < math.inf):
            raise ValueError(
                f"area must be a finite number of pixels > 0 or None, got {target.area!r} of "
                f"target {target.id}"
            )
        for point in target.points:
            if not _is_point(point):
                raise ValueError(f"points must be (x, y), got {point!r} of target {target.id}")
            x, y = point
            if not (0 <= x < width and 0 <= y < height):
                raise ValueError(
                    f"points must lie inside {width} x {height} pixels, got ({x}, {y}) of target "
                    f"{target.id}"
                )
            pixel = int(x), int(y)
            if owner.setdefault(pixel, index) != index:
                raise ValueError(f"points of two targets must not share a pixel, got {pixel}")


def _as_target(index: int, target: PointTarget | Clicks) -> PointTarget:
    """A target that is given by its clicks alone gets its number as its id."""
    if isinstance(target, PointTarget):
        return target
    if not isinstance(target, Sequence | np.ndarray) or not all(map(_is_point, target)):
        raise ValueError(
            f"targets must be PointTargets or lists of clicks [(x, y), ...], got {target!r} at "
            f"index {index}"
        )
    return PointTarget(index + 1, 0, tuple((x, y) for x, y in target))


def _check_marks(targets: Sequence[PointTarget], marks: Marks, height: int, width: int) -> None:
    pixels = {pixel for target in targets for pixel in target.pixels}
    try:
        check_marks(marks, (height, width), _values(targets), pixels, "marks")
    except DataError as error:
        raise ValueError(str(error)) from error


def _is_point(value: object) -> bool:
    return (
        isinstance(value, Sequence | np.ndarray) and len(value) == 2 and all(map(_is_real, value))
    )


def _is_real(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _kind(value: object) -> str:
    return f"a {type(value).__name__}"
