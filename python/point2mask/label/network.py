"""Masks from clicks with what a trained network knows: the pseudo-masks that it is trained with."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from point2mask.data.augment import resize_image, target_size
from point2mask.data.errors import DataError
from point2mask.data.marks import NO_MARKS, NOBODY, Marks, draw_strokes
from point2mask.data.records import Category
from point2mask.data.targets import PointTarget
from point2mask.data.training import class_channels, thing_channels
from point2mask.label.scene import enlarged
from point2mask.models import NetworkOutput, on_canvas
from point2mask.models.config import STRIDES
from point2mask.models.geometry import cells
from point2mask.predict import Predictor
from point2mask.pseudo_masks import PointBatch
from point2mask.pseudo_masks.batch import Batch
from point2mask.pseudo_masks.grower import Grower, among_clicked


class TrainedNetwork:
    """A network and how it grows masks; categories of clicks are matched with its own by name."""

    def __init__(self, predictor: Predictor, short_side: int | None = None) -> None:
        """
        Args:
            predictor: of :func:`point2mask.hub.load_predictor`; it works on the device that its
                network is on.
            short_side: pixels that pictures are resized to for the network, the longer side at most
                in the proportion of the run; by default as the run's test images.
        """
        self.predictor = predictor
        self.categories = dict(predictor.categories)
        augment = predictor.augmentation
        self.short_side = short_side or augment.test_short_side
        self.max_side = round(augment.max_side * self.short_side / augment.test_short_side)
        self.network = predictor.network
        self.device = next(self.network.parameters()).device  # where pictures are worked on
        self.grower = Grower(predictor.network, predictor.supervision)
        # As in the last step: the first phase, in which transport gives way, is over.
        self.options = predictor.supervision.pseudo_masks
        channels = class_channels(self.categories)
        self.channels = {(c.name, c.isthing): channels[c.id] for c in self.categories.values()}

    def digest(self) -> str:
        """Stands for the weights, for how masks are grown, and for the size of pictures."""
        return f"{self.predictor.digest()} at {self.short_side}"

    def channel_of(self, category: Category) -> int:
        """Its place among the network's classes.

        Raises:
            DataError: the network does not know it.
        """
        channel = self.channels.get((category.name, category.isthing))
        if channel is None:
            kind = "thing" if category.isthing else "stuff"
            raise DataError(
                f"the checkpoint does not know {category.name} ({kind}); it knows "
                f"{', '.join(name for name, _ in self.channels)}"
            )
        return channel

    def prepare(self, image: NDArray[np.uint8]) -> "NetworkMaps":
        """Runs the network on a picture ``uint8 [H, W, 3]``."""
        shape = image.shape[0], image.shape[1]
        size = target_size(shape, self.short_side, self.max_side)
        pixels = resize_image(torch.from_numpy(image).permute(2, 0, 1), size).float() / 255
        batch = Batch(
            images=on_canvas([pixels]),
            image_size=torch.tensor([size]),
            points=PointBatch.from_lists([[]]),
            is_thing=thing_channels(self.categories),
            truth=None,
            names=("picture",),
        ).to(self.device)
        with torch.no_grad():
            images = self.network.normalise(batch.images)
            output = self.network(images, batch.image_size)
        return NetworkMaps(self, shape, size, batch, output)


class NetworkMaps:
    """What the network says of one picture, whatever the clicks are."""

    def __init__(
        self,
        network: TrainedNetwork,
        shape: tuple[int, int],
        size: tuple[int, int],
        batch: Batch,
        output: NetworkOutput,
    ) -> None:
        self.network, self.shape, self.size = network, shape, size
        self.batch, self.output = batch, output
        self.semantic: tuple[frozenset[int], Tensor] | None = None  # and the classes it is of

    def edges(self) -> NDArray[np.float32]:
        """The learned boundary ``[h, w]`` of the picture, in [0, 1], in cells of 8 pixels."""
        rows, columns = (cells(length, STRIDES[0]) for length in self.size)
        return self.output.boundary_logits[0, :rows, :columns].float().sigmoid().cpu().numpy()

    def label(
        self,
        targets: Sequence[PointTarget],
        categories: Mapping[int, Category],
        marks: Marks = NO_MARKS,
    ) -> NDArray[np.int32]:
        """The target ``[H, W]`` of every pixel, -1 where the network is not sure.

        Clicks on what belongs to no target keep their own pixel free, no more: what the network
        grows from clicks it knows by their classes.

        Raises:
            DataError: a category that the network does not know.
        """
        clicks = []
        rows, columns = (new / old for new, old in zip(self.size, self.shape, strict=True))
        for target in targets:
            category = categories[target.category_id]
            channel = self.network.channel_of(category)
            points = [((int(x) + 0.5) * columns, (int(y) + 0.5) * rows) for x, y in target.points]
            clicks.append((channel, points))
        labels = np.full(self.shape, -1, np.int32)
        if clicks:
            batch = replace(self.batch, points=PointBatch.from_lists([clicks]))
            batch = batch.to(self.network.device)
            grower, options = self.network.grower, self.network.options
            clicked = grower.supervision.clicked_classes
            classes = frozenset(channel for channel, _ in clicks) if clicked else frozenset()
            if self.semantic is None or self.semantic[0] != classes:
                output = among_clicked(self.output, batch) if clicked else self.output
                self.semantic = classes, grower.semantic_map(output, batch)
            with torch.no_grad():
                heeded = grower.heed(self.output, batch)
            masks = grower.grow(self.semantic[1], heeded, batch, options)
            panoptic = masks.panoptic[0, : self.size[0], : self.size[1]].cpu().numpy()
            labels = enlarged(panoptic.astype(np.int32), self.shape)
        for index, target in enumerate(targets):
            for x, y in target.pixels:
                labels[y, x] = index
        for point in marks.rest:
            labels[int(point[1]), int(point[0])] = -1
        values = {NOBODY: -1, **{target.id: index for index, target in enumerate(targets)}}
        draw_strokes(labels, marks.strokes, values)
        return labels
