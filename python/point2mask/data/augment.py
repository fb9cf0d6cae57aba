"""Resizing, flips and crops of images with their clicks.

Clicks are pixels: integers (x, y), moved by the rule of pixel centres, x -> (x + 1/2) s - 1/2,
rounded and kept inside the image. Where the truth is known a click does not leave its segment: of
the pixels whose source lies in the segment it takes the nearest to that place.

Stated areas are scaled with the image. How much of a target a crop leaves nobody states: it is
taken for a square of that area about its clicks.
"""

import random
from dataclasses import dataclass, replace
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from point2mask.ranges import Checked, Length, Range, Share

VOID = -1
LEAST_SHARE = 0.5  # of a stated area in a crop: what is left of less is not worth a guess
Side = Annotated[int, Range(1, 2**15)]  # pixels


@dataclass(frozen=True, kw_only=True)
class AugmentConfig(Checked):
    """Training images: a random short side, a flip, a crop. The defaults are published for VOC."""

    short_sides: Annotated[tuple[Side, ...], Length(1, 1000)] = (600,)  # one is drawn
    max_side: Side = 1333  # the longer side is never made larger
    flip: Share = 0.5  # probability of a mirrored image
    crop: tuple[Side, Side] | None = None  # height and width of a random window, or none
    test_short_side: Side = 600  # for images that are predicted


@dataclass(frozen=True)
class Sample:
    """One image and its K targets, which have P clicks together.

    Attributes:
        image: uint8 ``[3, H, W]``, RGB.
        xy: int64 ``[P, 2]``, the pixel (x, y) of every click.
        target: int64 ``[P]``, whose click it is.
        category: int64 ``[K]``, channel of the semantic map.
        truth: int32 ``[H, W]``, the target of every pixel, -1 = void; None where unknown.
        area: float64 ``[K]``, pixels of a target as somebody states them, NaN where nobody does;
            None where nobody states any.
    """

    image: Tensor
    xy: Tensor
    target: Tensor
    category: Tensor
    truth: Tensor | None = None
    area: Tensor | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.image.shape[-2], self.image.shape[-1]


def augment(sample: Sample, config: AugmentConfig, generator: random.Random) -> Sample:
    """A random variant of a sample; every choice is drawn from ``generator``."""
    short = config.short_sides[int(generator.random() * len(config.short_sides))]
    mirrored = generator.random() < config.flip
    top, left = generator.random(), generator.random()
    sample = resize(sample, target_size(sample.size, short, config.max_side))
    if mirrored:
        sample = flip(sample)
    if config.crop is not None:
        height, width = (min(a, b) for a, b in zip(config.crop, sample.size, strict=True))
        window = (
            int(top * (sample.size[0] - height + 1)),
            int(left * (sample.size[1] - width + 1)),
        )
        sample = crop(sample, *window, height, width)
    return sample


def target_size(size: tuple[int, int], short: int, longest: int) -> tuple[int, int]:
    """Height and width of the same shape with a given short side, the long one within a limit.

    >>> target_size((480, 640), 240, 1333), target_size((480, 640), 480, 320)
    ((240, 320), (240, 320))
    """
    scale = min(short / min(size), longest / max(size))
    return max(1, int(size[0] * scale + 0.5)), max(1, int(size[1] * scale + 0.5))


def resize_image(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear with antialiasing, uint8 ``[3, H, W]`` to another height and width."""
    from torchvision.transforms.v2 import functional

    if image.shape[-2:] == size:
        return image
    # torch 2.14 fails to make one pixel of bytes.
    pixels = image.float() if size == (1, 1) else image
    resized: Tensor = functional.resize_image(pixels, list(size), antialias=True)
    return resized.round().to(image.dtype) if size == (1, 1) else resized


def resize(sample: Sample, size: tuple[int, int]) -> Sample:
    """The sample at another height and width; truth by the nearest pixel."""
    if sample.size == size:
        return sample
    place = torch.empty(sample.xy.shape, dtype=torch.float64)
    for axis, (new, old) in enumerate(zip(size[::-1], sample.size[::-1], strict=True)):
        place[:, axis] = (sample.xy[:, axis] + 0.5) * (new / old) - 0.5
    limit = torch.tensor([size[1] - 1, size[0] - 1])
    xy = torch.minimum((place + 0.5).floor().long().clamp_min(0), limit)
    truth = sample.truth
    if truth is not None:
        xy = _stay_inside(xy, place, sample.target, truth, size)
        rows, columns = (_sources(n, m) for n, m in zip(size, sample.size, strict=True))
        truth = truth[rows][:, columns]
    area = sample.area
    if area is not None:
        area = area * (size[0] * size[1] / (sample.size[0] * sample.size[1]))
    return replace(sample, image=resize_image(sample.image, size), xy=xy, truth=truth, area=area)


def flip(sample: Sample) -> Sample:
    """The sample mirrored left to right."""
    from torchvision.transforms.v2 import functional

    xy = sample.xy.clone()
    xy[:, 0] = sample.size[1] - 1 - xy[:, 0]
    return replace(
        sample,
        image=functional.horizontal_flip_image(sample.image),
        xy=xy,
        truth=None if sample.truth is None else sample.truth.flip(1),
    )


def crop(sample: Sample, top: int, left: int, height: int, width: int) -> Sample:
    """A window of the sample. Targets without a click in it go, and their pixels become void.

    A stated area becomes the part in the window of a square about the target's clicks, and unknown
    where that is less than half of it.
    """
    from torchvision.transforms.v2 import functional

    xy = sample.xy - torch.tensor([left, top])
    inside = ((xy >= 0) & (xy < torch.tensor([width, height]))).all(1)
    xy, target = xy[inside], sample.target[inside]
    kept, target = target.unique(return_inverse=True)
    truth = sample.truth
    if truth is not None:
        lookup = torch.full((len(sample.category) + 1,), VOID, dtype=truth.dtype)  # last: void
        lookup[kept] = torch.arange(len(kept), dtype=truth.dtype)
        truth = lookup[truth[top : top + height, left : left + width].long()]
    image = functional.crop_image(sample.image, top, left, height, width)
    area = sample.area
    if area is not None:
        area = (area * _shares_inside(sample, area, top, left, height, width))[kept]
    return Sample(image, xy, target, sample.category[kept], truth, area)


def _sources(new: int, old: int) -> Tensor:
    """The source pixel of every pixel along an axis: the one under its centre, in integers."""
    return (2 * torch.arange(new) + 1) * old // (2 * new)


def _shares_inside(
    sample: Sample, area: Tensor, top: int, left: int, height: int, width: int
) -> Tensor:
    """Of what lies in the image of a square about every target's clicks, the share in a window.

    Float64 ``[K]``; NaN for less than half, and where the area is.
    """
    clicks = torch.zeros(len(area), 3, dtype=area.dtype)
    clicks.index_add_(0, sample.target, F.pad(sample.xy + 0.5, (0, 1), value=1.0).to(area.dtype))
    centre, half = clicks[:, :2] / clicks[:, 2:], area.sqrt()[:, None] / 2

    def inside(start: tuple[int, int], size: tuple[int, int]) -> Tensor:
        """Pixels of the squares in a window of ``size (height, width)``."""
        first = torch.tensor(start[::-1])
        low = torch.maximum(centre - half, first)
        high = torch.minimum(centre + half, first + torch.tensor(size[::-1]))
        return (high - low).clamp(min=0).prod(1)

    share = inside((top, left), (height, width)) / inside((0, 0), sample.size)
    return torch.where(share < LEAST_SHARE, torch.nan, share)


def _stay_inside(
    xy: Tensor, place: Tensor, target: Tensor, truth: Tensor, size: tuple[int, int]
) -> Tensor:
    """Moves clicks whose pixel's source is not their target's to the nearest pixel where it is.

    Equally near pixels: the first in row-major order. A target without such a pixel has not
    survived the resize; its clicks stay.
    """
    rows, columns = (_sources(n, m) for n, m in zip(size, truth.shape, strict=True))
    strays = (truth[rows[xy[:, 1]], columns[xy[:, 0]]] != target).nonzero()[:, 0].tolist()
    if not strays:
        return xy
    xy, resized = xy.clone(), truth[rows][:, columns]
    for stray in strays:
        y, x = (resized == target[stray]).nonzero(as_tuple=True)
        if len(x):
            distance = (x - place[stray, 0]) ** 2 + (y - place[stray, 1]) ** 2
            nearest = distance.argmin()
            xy[stray, 0], xy[stray, 1] = x[nearest], y[nearest]
    return xy
