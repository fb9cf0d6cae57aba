"""Masks from clicks with what a trained network knows.

They are grown as the pseudo-masks that it is trained with, and mended: :mod:`.connected`,
:mod:`.outlines` and, where it is asked for, :mod:`.redraw`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from point2mask.data.augment import resize_image, target_size
from point2mask.data.errors import DataError
from point2mask.data.marks import NO_MARKS, NOBODY, Marks
from point2mask.data.records import Category, Segment
from point2mask.data.strokes import draw_strokes
from point2mask.data.targets import PointTarget, stated_areas
from point2mask.data.training import class_channels, thing_channels
from point2mask.label.connected import keep_connected
from point2mask.label.outlines import edge_strength, move_to_edges
from point2mask.label.redraw import draw_all, redraw, shared_map
from point2mask.label.scene import enlarged
from point2mask.models import NetworkOutput, on_canvas
from point2mask.models.config import STRIDES
from point2mask.models.geometry import cells
from point2mask.models.precision import mixed
from point2mask.predict import Predictor
from point2mask.pseudo_masks import PointBatch
from point2mask.pseudo_masks.batch import Batch
from point2mask.pseudo_masks.grower import Grower, among_clicked
from point2mask.pseudo_masks.points import likeliest_stuff


class TrainedNetwork:
    """A network and how it grows masks; categories of clicks are matched with its own by name."""

    def __init__(
        self, predictor: Predictor, short_side: int | None = None, redraw: bool = False
    ) -> None:
        """
        Args:
            predictor: of :func:`point2mask.hub.load_predictor`; it works on the device that its
                network is on.
            short_side: pixels that pictures are resized to for the network, the longer side at most
                in the proportion of the run; by default as the run's test images.
            redraw: whether what the network draws without clicks has a say, see
                :mod:`point2mask.label.redraw`.
        """
        if not predictor.network.config.semantic_layers:
            raise DataError(
                "the network of the checkpoint only finds segments: it has no semantic map and no "
                "boundaries, from which masks are grown; predict takes it, and train as "
                "network.weights"
            )
        self.predictor, self.redraw = predictor, redraw
        self.categories = dict(predictor.categories)
        augment = predictor.augmentation
        self.short_side = short_side or augment.test_short_side
        self.max_side = round(augment.max_side * self.short_side / augment.test_short_side)
        self.network = predictor.network
        self.device = predictor.device  # where pictures are worked on
        self.grower = Grower(predictor.network, predictor.supervision)
        # As in the last step: the first phase, in which transport gives way, is over.
        self.options = predictor.supervision.pseudo_masks
        channels = class_channels(self.categories)
        self.channels = {(c.name, c.isthing): channels[c.id] for c in self.categories.values()}

    def digest(self) -> str:
        """Stands for the weights, for how masks are grown, and for the size of pictures."""
        drawn = ", redrawn" if self.redraw else ""
        return f"{self.predictor.digest()} at {self.short_side}{drawn}"

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

    def find(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.int32], list[Segment]]:
        """What the network finds without clicks: segments ``[H, W]``, 0 for none."""
        return self.predictor.predict(image)

    def prepare(self, image: NDArray[np.uint8]) -> "NetworkMaps":
        """Runs the network on a picture ``uint8 [H, W, 3]``."""
        return self.prepare_batch([image], ["picture"])

    def prepare_batch(
        self, images: Sequence[NDArray[np.uint8]], names: Sequence[str]
    ) -> "NetworkMaps":
        """The same with several pictures at once, whose names errors say.

        Padding has no influence.
        """
        shapes = [(image.shape[0], image.shape[1]) for image in images]
        sizes = [target_size(shape, self.short_side, self.max_side) for shape in shapes]
        pixels = [
            resize_image(torch.from_numpy(image).permute(2, 0, 1), size).float() / 255
            for image, size in zip(images, sizes, strict=True)
        ]
        batch = Batch(
            images=on_canvas(pixels),
            image_size=torch.tensor(sizes),
            points=PointBatch.from_lists([[] for _ in images]),
            is_thing=thing_channels(self.categories),
            truth=None,
            names=tuple(names),
        ).to(self.device)
        with torch.no_grad(), mixed(self.predictor.precision, self.device):
            normal = self.network.normalise(batch.images)
            output = self.network(normal, batch.image_size)
        return NetworkMaps(self, shapes, sizes, batch, output)


Clicked = tuple[Sequence[PointTarget], Marks]
ChannelClicks = list[tuple[int, list[tuple[float, float]]]]  # channel and points of every target


class NetworkMaps:
    """What the network says of some pictures, whatever the clicks are."""

    def __init__(
        self,
        network: TrainedNetwork,
        shapes: Sequence[tuple[int, int]],
        sizes: Sequence[tuple[int, int]],
        batch: Batch,
        output: NetworkOutput,
    ) -> None:
        self.network, self.shapes, self.sizes = network, shapes, sizes
        self.batch, self.output = batch, output
        # And the classes of every picture that it is of.
        self.semantic: tuple[list[frozenset[int]], Tensor] | None = None
        self._edges: dict[int, NDArray[np.float32]] = {}

    def edges(self) -> list[NDArray[np.float32]]:
        """The learned boundary ``[h, w]`` of every picture, in [0, 1], in cells of 8 pixels."""
        logits = self.output.boundary_logits.float()
        return [
            own[: cells(height, STRIDES[0]), : cells(width, STRIDES[0])].sigmoid().cpu().numpy()
            for own, (height, width) in zip(logits, self.sizes, strict=True)
        ]

    def label(
        self,
        targets: Sequence[PointTarget],
        categories: Mapping[int, Category],
        marks: Marks = NO_MARKS,
    ) -> NDArray[np.int32]:
        """The target ``[H, W]`` of every pixel of a single picture; see :meth:`label_batch`."""
        (labels,) = self.label_batch([(targets, marks)], categories)
        return labels

    def label_batch(
        self, pictures: Sequence[Clicked], categories: Mapping[int, Category]
    ) -> list[NDArray[np.int32]]:
        """The target ``[H, W]`` of every pixel, -1 where the network is not sure.

        Clicks on what belongs to no target keep their own pixel free, no more: what the network
        grows from clicks it knows by their classes.

        Args:
            pictures: targets and marks of every picture.
            categories: of the targets, by id.

        Raises:
            DataError: a category that the network does not know, or too many strokes.
        """
        clicks = [
            self._clicks(number, targets, categories)
            for number, (targets, _) in enumerate(pictures)
        ]
        areas = [self._areas(number, targets) for number, (targets, _) in enumerate(pictures)]
        crowds = [[k for k, t in enumerate(targets) if t.iscrowd] for targets, _ in pictures]
        grown = self._grow(clicks, areas, crowds) if any(clicks) else None
        result = []
        for number, (targets, marks) in enumerate(pictures):
            labels = np.full(self.shapes[number], -1, np.int32)
            if grown is not None and targets:
                height, width = self.sizes[number]
                own = move_to_edges(grown[number, :height, :width], self._edge_strength(number))
                labels = enlarged(own, self.shapes[number])
            for index, target in enumerate(targets):
                for x, y in target.pixels:
                    labels[y, x] = index
            for point in marks.rest:
                labels[int(point[1]), int(point[0])] = -1
            values = {NOBODY: -1, **{target.id: index for index, target in enumerate(targets)}}
            try:
                draw_strokes(labels, marks.strokes, values)
            except DataError as error:
                raise DataError(f"{self.batch.names[number]}: {error}") from error
            result.append(labels)
        return result

    def _clicks(
        self, number: int, targets: Sequence[PointTarget], categories: Mapping[int, Category]
    ) -> ChannelClicks:
        """The clicks on a picture as the network sees it."""
        sides = zip(self.sizes[number], self.shapes[number], strict=True)
        rows, columns = (new / old for new, old in sides)
        return [
            (
                self.network.channel_of(categories[target.category_id]),
                [((int(x) + 0.5) * columns, (int(y) + 0.5) * rows) for x, y in target.points],
            )
            for target in targets
        ]

    def _areas(self, number: int, targets: Sequence[PointTarget]) -> list[float] | None:
        """The stated areas on a picture as the network sees it, if there are any."""
        scale = math.prod(self.sizes[number]) / math.prod(self.shapes[number])
        return stated_areas(targets, scale)

    def _grow(
        self,
        clicks: list[ChannelClicks],
        areas: list[list[float] | None],
        crowds: list[list[int]],
    ) -> NDArray[np.int32]:
        """The targets ``[B, H, W]`` of pictures as the network sees them."""
        points = PointBatch.from_lists(clicks, areas)
        batch = replace(self.batch, points=points).to(self.network.device)
        grower, options = self.network.grower, self.network.options
        clicked = grower.supervision.clicked_classes
        classes = [frozenset(channel for channel, _ in own if clicked) for own in clicks]
        output = among_clicked(self.output, batch) if clicked else self.output
        if self.semantic is None or self.semantic[0] != classes:
            self.semantic = classes, grower.semantic_map(output, batch)
        semantic, drawn = self.semantic[1], None
        with torch.no_grad(), mixed(self.network.predictor.precision, self.network.device):
            output = grower.heed(output, batch)
            if self.network.redraw:
                most = self.network.predictor.merge.max_things
                drawn = draw_all(self.network.network, output, batch.points, most)
        if drawn is not None:
            semantic = shared_map(semantic, drawn)
        grown = grower.grow(semantic, output, batch, options).panoptic
        stuff = likeliest_stuff(semantic, batch.points, batch.is_thing, options.confidence)
        if drawn is not None:
            grown = redraw(grown, stuff, drawn, batch.points, crowds, batch.is_thing)
        return keep_connected(grown, stuff, batch.points, crowds, batch.is_thing)

    def _edge_strength(self, number: int) -> NDArray[np.float32]:
        """Of the pixels of a picture as the network sees it."""
        if number not in self._edges:
            height, width = self.sizes[number]
            self._edges[number] = edge_strength(self.batch.images[number, :, :height, :width])
        return self._edges[number]
