"""MaskDINO (Li et al., CVPR 2023) in place of the paper's network."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from point2mask.bilinear import enlarge
from point2mask.models.backbone import Backbone, mask_shape, run_by_size
from point2mask.models.base import Candidates, Encoded, NetworkOutput, PointNetwork, best_things
from point2mask.models.box_decoder import BoxDecoder, State
from point2mask.models.config import MASK_LEVELS, MASK_STRIDE, STRIDES, MaskDINOConfig
from point2mask.models.decoder import inverse_sigmoid
from point2mask.models.denoising import Denoising
from point2mask.models.encoder import Encoder, flatten_levels
from point2mask.models.geometry import Geometry
from point2mask.models.neck import ChannelMapper
from point2mask.models.query_selection import QuerySelection, boxes_of_masks
from point2mask.models.segment_heads import Predictions, SegmentHeads, draw

WITHIN = 1.0  # the far corner of a cell is its position, as in DETR
TEMPERATURE = 0.06  # of the softmax that sharpens scores before pixels are shared out


@dataclass(frozen=True)
class MaskDINOOutput(NetworkOutput):
    """All that training needs of a batch, but for the noised targets, which depend on the masks."""

    predictions: Predictions  # of the cells chosen, of the queries made of them, of every layer
    states: list[State]  # the queries as every layer is given them


class MaskFeatures(nn.Module):
    """The map at stride 4 whose products with queries are masks."""

    def __init__(self, channels: int, config: MaskDINOConfig) -> None:
        super().__init__()
        width, groups = config.width, config.norm_groups
        self.lateral = nn.Conv2d(channels, width, 1, bias=False)
        self.lateral_norm = nn.GroupNorm(groups, width)
        self.smooth = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.smooth_norm = nn.GroupNorm(groups, width)
        self.output = nn.Conv2d(width, width, 1)
        for convolution in (self.lateral, self.smooth, self.output):
            nn.init.kaiming_uniform_(convolution.weight, a=1)
            if convolution.bias is not None:
                nn.init.zeros_(convolution.bias)

    def forward(self, fine: Tensor, memory: Tensor) -> list[Tensor]:
        """``[B, d, h, w]`` of the backbone's map at stride 4 and the memory at stride 8."""
        own = self.lateral_norm(self.lateral(fine))
        factor = STRIDES[0] // MASK_STRIDE
        joined = own + enlarge(memory, factor)[..., : fine.shape[-2], : fine.shape[-1]]
        return [self.output(self.smooth_norm(self.smooth(joined)).relu())]


class MaskDINONetwork(PointNetwork):
    """Backbone, deformable encoder, queries made of its best cells, and Point2Mask's maps.

    Every query is a segment, a thing or stuff, with a class, a box and a mask.
    """

    config: MaskDINOConfig

    def __init__(self, config: MaskDINOConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config.backbone, (MASK_STRIDE, *STRIDES[:MASK_LEVELS]))
        fine, *coarse = self.backbone.channels
        self.neck = ChannelMapper(coarse, config, bias=True)
        self.level_embedding = nn.Parameter(torch.randn(len(STRIDES), config.width))
        self.encoder = Encoder(config)
        self.mask_features = MaskFeatures(fine, config)
        self.selection = QuerySelection(config)
        self.heads = SegmentHeads(config)
        self.decoder = BoxDecoder(config)
        if config.denoising_queries:
            self.label_embedding = nn.Embedding(config.num_classes, config.width)
        self.add_maps()

    def forward(self, images: Tensor, image_size: Tensor) -> MaskDINOOutput:
        encoded = self.encode(images, image_size)
        return MaskDINOOutput(encoded, *self.maps(encoded), *self.decode(encoded))

    def encode_placed(self, images: Tensor, geometry: Geometry) -> Encoded:
        """Backbone, neck, encoder and the mask features."""

        def levels_of(pixels: Tensor) -> list[Tensor]:
            fine, *coarse = self.backbone(pixels)
            return [fine, *self.neck(coarse)]

        shape = mask_shape(geometry.canvas)
        fine, *levels = run_by_size(levels_of, [images], geometry, (shape, *geometry.shapes))
        features, position = flatten_levels(levels, self.level_embedding, geometry, WITHIN)
        memory = self.encoder(features, position, geometry)
        finest = memory[:, : geometry.lengths[0]].transpose(1, 2).unflatten(2, geometry.shapes[0])
        strides = (MASK_STRIDE, STRIDES[0])
        (drawn,) = run_by_size(self.mask_features, [fine, finest], geometry, [shape], strides)
        return Encoded(memory, position, geometry, drawn)

    def decode(self, encoded: Encoded) -> tuple[Predictions, list[State]]:
        """What the chosen cells say, then the queries before the first layer and after each.

        The queries begin with the content and the boxes of the cells, without their gradient.
        """
        memory, geometry = encoded.memory, encoded.geometry
        selected = self.selection(memory, geometry, self.heads)
        boxes = selected.boxes.sigmoid()
        cells = self.heads.say(selected.content, boxes)
        anchors = boxes.detach()
        if self.config.anchors == "masks":
            drawn = draw(cells.embedding[0].detach(), drawing_features(encoded)) > 0
            tight = boxes_of_masks(drawn, geometry.sizes).to(anchors.dtype)
            anchors = inverse_sigmoid(tight).sigmoid()
        content = selected.content.detach()
        queries, states = self.decoder(content, anchors, memory, geometry, self.heads)
        every = zip(cells, queries, strict=True)
        return Predictions(*(torch.cat(parts) for parts in every)), states

    def decode_denoising(
        self, encoded: Encoded, states: list[State], denoising: Denoising
    ) -> Predictions:
        """What is said of noised targets, before the first layer and after each.

        They see the queries that :meth:`decode` gave to every layer, which see nothing of them.
        """
        label = denoising.label
        content = self.label_embedding(label.clamp(min=0)) * (label >= 0)[..., None]
        anchors = inverse_sigmoid(denoising.boxes).sigmoid()
        predictions, _ = self.decoder(
            content.to(states[0].x.dtype),
            anchors,
            encoded.memory,
            encoded.geometry,
            self.heads,
            denoising.others(states),
        )
        return predictions

    def last_outputs(self, encoded: Encoded) -> dict[str, Tensor]:
        logits, boxes, embedding = (part[-1] for part in self.decode(encoded)[0])
        masks = draw(embedding, drawing_features(encoded))
        return {"class_logits": logits, "boxes": boxes, "masks": masks}

    def candidates(self, encoded: Encoded, max_things: int) -> Candidates:
        logits, _, embedding = (part[-1] for part in self.decode(encoded)[0])
        probability = logits.sigmoid()
        score, label = probability.max(-1)
        score, best = best_things(score, max_things)
        chosen = embedding.gather(1, best[..., None].expand(-1, -1, embedding.shape[-1]))
        return Candidates(
            draw(chosen, drawing_features(encoded)),
            score,
            label.gather(1, best),
            MASK_STRIDE,
            logits=True,
            weight=sharpened(probability).gather(1, best),
        )


def sharpened(probability: Tensor) -> Tensor:
    """How sure queries ``[..., C]`` are of their best class, nearly 1 where another is far."""
    return (probability / TEMPERATURE).softmax(-1).amax(-1)


def drawing_features(encoded: Encoded) -> Tensor:
    """The mask features of what a network of segments has encoded.

    Raises:
        ValueError: it is of another network.
    """
    if encoded.mask_features is None:
        raise ValueError("encoded must be of a network of segments, but has no mask_features")
    return encoded.mask_features
