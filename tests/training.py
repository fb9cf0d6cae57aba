"""Small batches of rectangles on noise, for the tests of losses and training."""

from dataclasses import replace

import torch
from networks import tiny

from point2mask.models import Geometry
from point2mask.pseudo_masks import PointBatch
from point2mask.pseudo_masks.batch import Batch

NUM_THINGS, NUM_STUFF = tiny().num_things, tiny().num_stuff
IS_THING = torch.arange(NUM_THINGS + NUM_STUFF) < NUM_THINGS
# (category, click, rectangle y0, y1, x0, x1) of every target; stuff fills what is left.
SCENE = [
    (0, (30.0, 30.0), (10, 50, 10, 50)),
    (1, (90.0, 50.0), (30, 75, 70, 110)),
    (0, (20.0, 66.0), (58, 78, 8, 40)),
    (NUM_THINGS, (60.0, 5.0), None),
]
SIZES, CANVAS = [(96, 120), (80, 128)], (96, 128)


def make_batch(
    scenes=(SCENE, SCENE), sizes=SIZES, canvas=CANVAS, dtype=torch.float64, fill=0.0
) -> Batch:
    """A batch; an image depends on its size and scene alone, the padding is ``fill``."""
    images = torch.full((len(sizes), 3, *canvas), fill, dtype=dtype)
    truth = torch.full((len(sizes), *canvas), -1, dtype=torch.int32)
    for b, ((h, w), scene) in enumerate(zip(sizes, scenes, strict=True)):
        generator = torch.Generator().manual_seed(h * 1000 + w)
        picture, labels = images[b, :, :h, :w], truth[b, :h, :w]
        picture[:] = 0.3 * torch.rand(3, h, w, generator=generator, dtype=dtype)
        for k, (_, _, box) in sorted(enumerate(scene), key=lambda item: item[1][2] is not None):
            rows, columns = (
                (slice(None),) * 2 if box is None else (slice(*box[:2]), slice(*box[2:]))
            )
            labels[rows, columns] = k
            if box is not None:
                picture[k % 3, rows, columns] += 0.6
    points = [[(category, [xy]) for category, xy, _ in scene] for scene in scenes]
    names = tuple(f"image{b}" for b in range(len(sizes)))
    return Batch(images, torch.tensor(sizes), PointBatch.from_lists(points), IS_THING, truth, names)


def take(batch: Batch, b: int) -> Batch:
    """One image of a batch, without padding."""
    h, w = batch.image_size[b].tolist()
    return replace(
        batch,
        images=batch.images[b : b + 1, :, :h, :w],
        image_size=batch.image_size[b : b + 1],
        points=batch.points.of([b]),
        truth=None if batch.truth is None else batch.truth[b : b + 1, :h, :w],
        names=batch.names[b : b + 1],
    )


def geometry(sizes=SIZES, canvas=CANVAS) -> Geometry:
    images = torch.zeros(len(sizes), 3, *canvas, dtype=torch.float64)
    return Geometry.of(torch.tensor(sizes), images)


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)
